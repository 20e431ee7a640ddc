"""The verdict file of a run, and `maxact verify`: what a release rests on, whatever pytest was made to return."""

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.judge.statement.schema import DETAILS
from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.gate_runs import CHECKS, RELATIVE, run_gate
from tests.support.measuring import record_of

VERDICT = "--maxact-verdict=verdict.json"


def told(pytester: pytest.Pytester) -> Any:
    return json.loads((pytester.path / "verdict.json").read_text())


def verdict(pytester: pytest.Pytester) -> str:
    statement = told(pytester)["predicate"]
    passed = statement["verificationResult"] == "PASSED"
    assert passed == (statement[DETAILS]["verdict"] == "PASS")
    return str(statement[DETAILS]["verdict"])


@pytest.fixture
def passed(pytester: pytest.Pytester, saved: Path) -> Path:
    """The verdict of a run that passed."""
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, exit=0, says=["verdict PASS written to verdict.json"])
    return pytester.path / "verdict.json"


@pytest.fixture
def artifact(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of what was judged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "artifact"))


def test_a_verdict_names_what_was_judged_and_every_check(
    passed: Path, pytester: pytest.Pytester, checkpoint: Path
) -> None:
    statement = told(pytester)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {one["name"] for one in statement["subject"]}
    details = statement["predicate"][DETAILS]
    (judged,) = details["checkpoints"]
    assert len(judged["checks"]) == CHECKS
    assert {check["outcome"] for check in judged["checks"]} == {"held"}
    assert verdict(pytester) == "PASS"
    assert main(["verify", str(passed), str(checkpoint)]) == 0


def test_a_breach_is_a_verdict_too(pytester: pytest.Pytester, saved: Path, tight: Path, checkpoint: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-limits={tight}", VERDICT, exit=1)
    assert verdict(pytester) == "FAIL"
    assert main(["verify", str(pytester.path / "verdict.json"), str(checkpoint)]) == 1


@pytest.mark.parametrize(
    "body",
    [
        "def pytest_collection_modifyitems(items): items[:] = []",
        "import os\ndef pytest_sessionfinish(): os._exit(0)",
        "import os\ndef pytest_runtest_setup(): os._exit(0)",
        "def pytest_cmdline_main(config): return 0",
        "import pytest\ndef pytest_runtest_setup(): pytest.exit('enough', returncode=0)",
        "def pytest_runtest_setup(item): raise KeyboardInterrupt",
        "def pytest_collection_finish(): raise RuntimeError('of the user')",
    ],
)
def test_a_run_that_breaks_leaves_no_earlier_pass(
    body: str, passed: Path, pytester: pytest.Pytester, saved: Path, checkpoint: Path
) -> None:
    pytester.makeconftest(body)
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, subprocess="_exit" in body or "Interrupt" in body)
    if "cmdline_main" in body:
        return  # nothing was begun, and its exit status is not 0
    assert verdict(pytester) in ("NONE", "FAIL")
    assert main(["verify", str(passed), str(checkpoint)]) == 1


@pytest.mark.parametrize("options", [["--maxact-replay=gone"], ["--maxact-model=gone"], ["--maxact-max-samples=3"]])
def test_a_request_that_is_wrong_leaves_no_earlier_pass(
    options: list[str], passed: Path, pytester: pytest.Pytester
) -> None:
    run_gate(pytester, *options, VERDICT, exit=4)
    assert verdict(pytester) == "NONE"


def test_to_look_at_what_would_run_writes_nothing(passed: Path, pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, "--co", exit=0)
    assert verdict(pytester) == "PASS"


def test_a_file_of_another_kind_stays(pytester: pytest.Pytester, saved: Path) -> None:
    (pytester.path / "verdict.json").write_text('{"mine": 1}')
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, refuses="the verdict cannot be written to")
    assert (pytester.path / "verdict.json").read_text() == '{"mine": 1}'


def test_part_of_the_checks_is_no_pass(pytester: pytest.Pytester, saved: Path, checkpoint: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, "-k", "embedding", exit=0)
    assert verdict(pytester) == "PARTIAL"
    assert told(pytester)["predicate"]["verificationResult"] == "FAILED"
    outcomes = [check["outcome"] for check in told(pytester)["predicate"][DETAILS]["checkpoints"][0]["checks"]]
    assert outcomes.count("deselected") == CHECKS - 4
    assert main(["verify", str(pytester.path / "verdict.json"), str(checkpoint)]) == 1


def test_under_xdist_it_is_written_once_and_whole(pytester: pytest.Pytester, saved: Path, checkpoint: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", VERDICT, "-n", "2", subprocess=True, exit=0)
    assert main(["verify", str(pytester.path / "verdict.json"), str(checkpoint)]) == 0


EDITS: dict[str, Callable[[str], str]] = {
    "a figure": lambda text: text.replace('"tokens": 87', '"tokens": 88'),
    "an outcome": lambda text: text.replace('"outcome": "held"', '"outcome": "waived"', 1),
    "a space": lambda text: text + " ",
    "a key": lambda text: text.replace('"subject"', '"more": 1,\n "subject"', 1),
    "a digest": lambda text: text.replace('"sha256": "', '"sha256": "0', 1),
    "a key twice": lambda text: text.replace('"verdict": "PASS"', '"verdict": "FAIL",\n   "verdict": "PASS"'),
    "cut off": lambda text: text[: len(text) // 2],
}


@pytest.mark.parametrize("edit", EDITS)
def test_any_edit_of_the_file_is_found(
    edit: str, passed: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = passed.read_text()
    passed.write_text(EDITS[edit](before))
    assert passed.read_text() != before
    assert main(["verify", str(passed), str(checkpoint)]) == 4
    assert "edited" in capsys.readouterr().err


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": lambda folder: tiny.save(folder, tiny.random_model("qwen3", seed=7)),
    "config": lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text() + " "),
    "template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    "code": lambda folder: (folder / "modeling_own.py").write_text("pass"),
    "more weights": lambda folder: (folder / "consolidated.safetensors").write_bytes(b"\0" * 16),
    "a tokenizer gone": lambda folder: (folder / "tokenizer.json").unlink(),
    "generation": lambda folder: (folder / "generation_config.json").write_text("{}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_artifact_is_not_verified(
    change: str, passed: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(passed), str(artifact)]) == 0
    CHANGES[change](artifact)
    assert main(["verify", str(passed), str(artifact)]) == 1
    assert "it is about another artifact" in capsys.readouterr().out


def test_what_is_no_part_of_the_model_may_lie_beside_it(passed: Path, artifact: Path) -> None:
    for name in ("README.md", "verdict.json", "training_args.bin", "trainer_state.json"):
        (artifact / name).write_text("{}")
    assert main(["verify", str(passed), str(artifact)]) == 0


def test_demands_are_held_against_it(
    passed: Path, saved: Path, checkpoint: Path, tight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verified(*options: object) -> int:
        return main(["verify", str(passed), str(checkpoint), *map(str, options)])

    shipped = json.loads(passed.read_text())["predicate"]["policy"]["uri"]
    assert verified("--limits", shipped, "--max-age", 1, "--min-tokens", 87, "--no-waivers") == 0
    capsys.readouterr()
    for options, words in (
        (("--limits", tight), "it was not judged by"),
        (("--baseline", saved), "it was not compared with"),
        (("--min-tokens", 88), "it rests on 87 tokens, and 88 are demanded"),
    ):
        assert verified(*options) == 1
        assert words in capsys.readouterr().out
    assert verified("--limits", "/no/file") == 4


def test_waivers_are_listed_and_refused_on_demand(
    pytester: pytest.Pytester, saved: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until = date.today() + timedelta(days=30)
    limits = f"""version: 1
extends: builtin
families: {{qwen3: {{layers: {{layers.1.hidden: {{hidden: 1.0}}}}}}}}
waive:
  - {{site: layers.1.hidden, metric: max_abs, reason: known, owner: me, until: {until}}}
"""
    (pytester.path / "limits.yaml").write_text(limits)
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=limits.yaml", VERDICT, exit=0)
    command = ["verify", str(pytester.path / "verdict.json"), str(checkpoint)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"VERIFIED: {CHECKS - 1} of {CHECKS} checks of {checkpoint} hold, 1 is waived, made " in said
    assert f"waived: layers.1.hidden max_abs until {until} by me: known" in said
    assert main([*command, "--no-waivers"]) == 1
    assert main([*command, "--limits", str(pytester.path / "limits.yaml"), "--json"]) == 0


def test_of_a_series_every_checkpoint_is_verified(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        shutil.copytree(checkpoint, tmp_path / f"step-{step}")
    (tmp_path / "step-2" / "generation_config.json").write_text("{}")
    pattern = tmp_path / "step-*"
    run_gate(pytester, f"--maxact-model={pattern}", f"--maxact-corpus={corpus}", VERDICT, exit=0)
    for step in (1, 2):
        capsys.readouterr()
        assert main(["verify", str(pytester.path / "verdict.json"), str(tmp_path / f"step-{step}")]) == 0
        of = f"of 2 checkpoints, {tmp_path / f'step-{step}'} among them, hold, made "
        assert f"VERIFIED: all {2 * CHECKS + RELATIVE} checks {of}" in capsys.readouterr().out
    (tmp_path / "step-2" / "config.json").write_text("{}")
    assert main(["verify", str(pytester.path / "verdict.json"), str(tmp_path / "step-2")]) == 1


def test_a_record_that_does_not_say_what_it_was_measured_from_is_no_pass(
    pytester: pytest.Pytester, saved: Path, checkpoint: Path
) -> None:
    from dataclasses import replace

    record = load(saved)
    save(replace(record, provenance=replace(record.provenance, files=())), pytester.path / "old.safetensors")
    words = "maxact: verdict FAIL written to verdict.json: the Record does not say which files it was measured from"
    run_gate(pytester, "--maxact-replay=old.safetensors", VERDICT, exit=0, says=[words])
    assert verdict(pytester) == "FAIL"
    assert main(["verify", str(pytester.path / "verdict.json"), str(checkpoint)]) == 1


def test_what_was_measured_says_its_files(checkpoint: Path, corpus: Path) -> None:
    names = [name for name, _ in record_of(checkpoint, corpus).provenance.files]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)


def test_a_record_that_is_judged_outside_pytest_has_a_verdict_too(
    saved: Path, tight: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "verdict.json"
    assert main(["judge", str(saved), "--verdict", str(path)]) == 0
    assert f"maxact: verdict PASS written to {path}" in capsys.readouterr().err
    assert main(["verify", str(path), str(checkpoint)]) == 0
    assert main(["judge", str(saved), "--limits", str(tight), "--verdict", str(path)]) == 1
    assert main(["verify", str(path), str(checkpoint)]) == 1
    assert main(["judge", "gone.safetensors", "--verdict", str(path)]) == 4
    assert json.loads(path.read_text())["predicate"][DETAILS]["verdict"] == "NONE"


def test_an_ini_file_names_a_place_that_starts_from_its_folder(
    pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nmaxact_verdict = verdict.json")
    monkeypatch.chdir(pytester.mkdir("below"))
    run_gate(pytester, f"--maxact-replay={saved}", "--rootdir=..", exit=0)
    assert verdict(pytester) == "PASS"
    run_gate(pytester, "--maxact-replay=gone", "--rootdir=..", exit=4)
    assert verdict(pytester) == "NONE"
