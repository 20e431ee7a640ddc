"""The files that a run writes about itself: their places are looked at before anything is measured, they are there
whatever became of the run, and one that cannot be written fails it and costs no other.
"""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.gate.reports import REPORTS, ReportFiles
from tests.support import tiny
from tests.support.gate_runs import CHECKS, drop_tensor, run_gate
from tools.write_schema import REPORT

JSON = "--maxact-json-report=out.json"


def held(path: Path) -> Any:
    """The report in a file, which the published schema holds for."""
    document = json.loads(path.read_text(encoding="utf-8"))
    form = json.loads(REPORT.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(form).validate(document)
    return document


def test_a_breach_is_told_with_its_value_limit_and_line(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    run_gate(
        pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", JSON, exit=1, says=["JSON report written"]
    )
    told = held(pytester.path / "out.json")
    assert (told["finished"], told["verdict"], told["counts"]["failed"]) == (True, "FAIL", 1)
    (one,) = told["checkpoints"]
    (breach,) = [check for check in one["checks"] if check["outcome"] == "does not hold"]
    assert len(one["checks"]) == CHECKS
    assert breach["check"] == "maxact::layers.1.hidden::max_abs"
    assert breach["value"] > breach["limit"] > 0 > breach["headroom"]
    assert (breach["layer"], breach["file"]) == (1, str(tight))
    assert "layers.1.hidden" in tight.read_text().splitlines()[breach["line"] - 1]
    assert abs(breach["peak"]["value"]) == breach["value"] < one["m"]["value"]


@pytest.mark.parametrize("broken", [False, True])
def test_it_is_written_where_nothing_could_be_measured(
    broken: bool, pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model("qwen3", layer=1, value=64.0))
    drop_tensor(folder, "layers.1.mlp.down_proj.weight")
    if broken:
        pytester.makeconftest("def pytest_runtest_setup(): raise KeyboardInterrupt")
    options = (f"--maxact-model={folder}", f"--maxact-corpus={corpus}", JSON)
    run_gate(pytester, *options, subprocess=broken, exit=2 if broken else 1)
    told = held(pytester.path / "out.json")
    assert (told["finished"], told["verdict"]) == (True, "FAIL")
    (one,) = told["checkpoints"]
    assert one["measured"] is None
    assert {check["outcome"] for check in one["checks"]} == {"not run" if broken else "could not be judged"}
    assert ("broken off" if broken else "down_proj") in " ".join(told["faults"])


def test_under_xdist_the_process_that_was_started_writes(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", JSON, "-n", "2", subprocess=True, exit=0)
    told = held(pytester.path / "out.json")
    assert told["verdict"] == "PASS"
    assert {check["outcome"] for check in told["checkpoints"][0]["checks"]} == {"held"}


@pytest.mark.parametrize(
    ("options", "exit"), [(["--maxact-replay=gone"], 4), (["--maxact-model=gone"], 4), (["--maxact-horizon=3"], 4)]
)
def test_a_request_that_is_wrong_leaves_no_earlier_report(
    options: list[str], exit: int, pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", JSON, exit=0)
    assert held(pytester.path / "out.json")["verdict"] == "PASS"
    run_gate(pytester, *options, JSON, exit=exit)
    told = held(pytester.path / "out.json")
    assert (told["verdict"], told["finished"]) == ("NONE", False)
    reason, unfinished = told["faults"]
    assert (options[0].split("=")[1] in reason or "horizon" in reason, unfinished) == (True, "the run did not finish")


def test_a_place_of_another_kind_is_refused_before_anything_is_judged(pytester: pytest.Pytester, saved: Path) -> None:
    for row in REPORTS:
        place = pytester.path / "mine"
        place.write_text('{"mine": 1}')
        option = f"--maxact-{row.setting.replace('_', '-')}"
        run_gate(
            pytester, f"--maxact-replay={saved}", f"{option}=mine", refuses=f"{row.kind.called} cannot be written to"
        )
        assert place.read_text() == '{"mine": 1}'
        run_gate(pytester, f"--maxact-replay={saved}", f"{option}=none/deep", refuses="there is no folder")


def test_a_page_and_a_report_at_one_place_are_refused_by_the_command_too(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "one"
    for command in (["report", str(saved), "-o"], ["judge", str(saved), "--html"]):
        assert main([*command, str(place), "--json-report", str(place)]) == 4
        assert "both write to" in capsys.readouterr().err
    assert not place.exists()


@pytest.mark.parametrize("other", ["--maxact-card=./out.json", "--maxact-verdict=out.json", "--junitxml=out.json"])
def test_two_outputs_at_one_place_are_refused_and_no_report_is_written(
    other: str, pytester: pytest.Pytester, saved: Path
) -> None:
    refused = run_gate(pytester, f"--maxact-replay={saved}", JSON, other, refuses="both write to")
    assert all(option in refused.stderr.str() for option in ("--maxact-json-report", other.partition("=")[0]))
    place = pytester.path / "out.json"
    if other.startswith("--junitxml"):  # whose file tells of the refusal
        told = [one.tag for case in ET.parse(place).getroot().iter("testcase") for one in case]
        assert set(told) == {"error"}
    else:
        assert not place.exists()


def test_to_look_at_what_would_run_writes_nothing(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", JSON, "--co", exit=0)
    assert not (pytester.path / "out.json").exists()


def test_it_goes_where_the_run_was_started_wherever_tests_go(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.mkdir("elsewhere")
    pytester.makepyfile("import os\ndef test_own(): os.chdir('elsewhere')")
    run_gate(pytester, f"--maxact-replay={saved}", JSON, "test_it_goes_where_the_run_was_started_wherever_tests_go.py")
    assert held(pytester.path / "out.json")["verdict"] == "PASS"


def test_one_that_cannot_be_written_fails_the_run_and_the_others_say_so(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makeconftest("""
        from pathlib import Path

        def pytest_collection_finish():
            Path("out.json").unlink()
            Path("out.json").mkdir()
        """)
    options = (f"--maxact-replay={saved}", JSON, "--maxact-verdict=verdict.json", "--junitxml=out.xml")
    run_gate(pytester, *options, exit=1, says=["FAIL: the JSON report was not written to"])
    assert "the JSON report was not written" in (pytester.path / "verdict.json").read_text()
    assert 'name="maxact.verdict" value="FAIL"' in (pytester.path / "out.xml").read_text()


def test_the_command_writes_the_same(
    pytester: pytest.Pytester, saved: Path, tight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", JSON, exit=1)
    by_pytest = held(pytester.path / "out.json")
    os.chdir(pytester.path)
    assert main(["judge", str(saved), "--limits", str(tight), "--json-report", "judged.json"]) == 1
    assert "JSON report written to" in capsys.readouterr().err
    assert held(pytester.path / "judged.json") == by_pytest


def test_the_command_prints_what_it_writes_and_what_could_not_be_written(
    saved: Path, tight: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = tmp_path / "judged.json"
    assert main(["judge", str(saved), "--limits", str(tight), "--json", "--json-report", str(written)]) == 1
    assert capsys.readouterr().out == written.read_text(encoding="utf-8")
    assert held(written)["verdict"] == "FAIL"

    def spoil(files: ReportFiles) -> None:
        written.unlink()
        written.mkdir()

    monkeypatch.setattr(ReportFiles, "begun", spoil)
    assert main(["judge", str(saved), "--json", "--json-report", str(written)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "FAIL"
    assert "the JSON report was not written" in told["faults"][0]
