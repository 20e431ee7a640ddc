"""JUnit's file of a gate: it keeps to the schema that Jenkins reads, tells checks apart by name, and says which
checkpoint was judged by what.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from _pytest.junitxml import bin_xml_escape

from pytest_maxact.plugin.junit import as_output
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import CHECKS, drop_tensor, run_gate
from tests.support.hostile import NAMES
from tests.support.junit import strict

JUNIT = "--junitxml=out.xml"


def suite(pytester: pytest.Pytester) -> ET.Element:
    found = ET.parse(pytester.path / "out.xml").getroot().find("testsuite")
    assert found is not None
    return found


def said(element: ET.Element) -> dict[str, str]:
    held = element.findall("./properties/property")
    names = [one.get("name") for one in held]
    assert len(names) == len(set(names))
    return {str(one.get("name")): str(one.get("value")) for one in held}


def figures(case: ET.Element) -> dict[str, str]:
    """What a test case says of its check, as properties or as lines of its output."""
    lines = [line for line in (case.findtext("system-out") or "").split("\n") if line]
    told = [line.removeprefix("[[PROPERTY|").removesuffix("]]").partition("=") for line in lines]
    return said(case) | {name: value for name, _, value in told}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_it_keeps_to_the_schema_and_says_what_was_judged(
    workers: tuple[str, ...], pytester: pytest.Pytester, saved: Path, tight: Path
) -> None:
    options = (f"--maxact-replay={saved}", f"--maxact-limits={tight}", JUNIT, *workers)
    run_gate(pytester, *options, exit=1, failed=1, passed=CHECKS - 1, subprocess=bool(workers))
    found, provenance = suite(pytester), load(saved).provenance
    strict(ET.parse(pytester.path / "out.xml").getroot())
    cases = found.findall("testcase")
    names = [str(case.get("name")) for case in cases]
    assert len(set(names)) == CHECKS
    assert "layers.1.hidden::max_abs" in names
    assert {str(case.get("classname")).split(".")[0] for case in cases} == {"maxact"}
    breach = figures(next(case for case in cases if case.get("name") == "layers.1.hidden::max_abs"))
    assert float(breach["maxact.value"]) > float(breach["maxact.limit"]) == 1.0
    assert float(breach["maxact.headroom"]) == 1 - float(breach["maxact.value"])
    assert (breach["maxact.layer"], breach["maxact.site"], breach["maxact.metric"]) == (
        "1",
        "layers.1.hidden",
        "max_abs",
    )
    assert breach["maxact.file"] == str(tight)
    assert "layers.1.hidden" in tight.read_text().splitlines()[int(breach["maxact.line"]) - 1]
    properties = said(found)
    assert float(properties.pop("maxact.m")) > 1
    assert str(tight) in properties.pop("maxact.limits").split(", ")
    assert properties == {
        "maxact.verdict": "FAIL",
        "maxact.checks": f"{CHECKS} of {CHECKS} were run",
        "maxact.record": str(saved),
        "maxact.model": provenance.model,
        "maxact.weights_sha256": provenance.weights_sha256,
        "maxact.corpus": provenance.corpus,
        "maxact.corpus_sha256": provenance.corpus_sha256,
        "maxact.protocol": "paper",
    }


def test_checks_that_were_left_out_and_a_run_of_none_are_told(pytester: pytest.Pytester, saved: Path) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, "-k", "embedding", exit=0)
    properties = said(suite(pytester))
    assert (properties["maxact.verdict"], properties["maxact.checks"]) == ("PARTIAL", f"4 of {CHECKS} were run")
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, "-m", "not maxact", exit=5)
    assert said(suite(pytester))["maxact.verdict"] == "none of the checks was run"


def test_a_checkpoint_that_cannot_be_measured_is_named(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model("qwen3", layer=1, value=64.0))
    drop_tensor(folder, "layers.1.mlp.down_proj.weight")
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", JUNIT, "-k", "embedding")
    properties = said(suite(pytester))
    assert (properties["maxact.verdict"], properties["maxact.model"]) == ("FAIL", str(folder))
    case = next(case for case in suite(pytester).findall("testcase") if case.get("name") == "embedding::max_abs")
    told = figures(case)
    assert "maxact.value" not in told
    assert float(told["maxact.limit"]) > 0
    assert told["maxact.file"].endswith("thresholds.yaml")


@pytest.mark.parametrize("family", ["xunit1", "legacy"])
def test_an_older_family_has_the_figures_of_each_check_once_and_what_is_no_number_as_a_word(
    family: str, pytester: pytest.Pytester, saved: Path, tmp_path: Path
) -> None:
    import torch

    model = tiny.planted_model("qwen3", layer=1, value=64.0)
    with torch.no_grad():
        model.get_parameter("layers.1.mlp.down_proj.weight")[tiny.PEAK_CHANNEL, 0] = float("inf")
    folder = tiny.save(tmp_path / "model", model)
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([5, 9, 4, 7], peak=(1, 3)))
    pytester.makeconftest("""
        import json

        def pytest_runtest_logreport(report):
            json.dumps(report.user_properties, allow_nan=False)
        """)
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", JUNIT, "-o", f"junit_family={family}")
    values = {str(case.get("name")): said(case).get("maxact.value") for case in suite(pytester).findall("testcase")}
    assert values["layers.1.hidden::max_abs"] == "inf"
    assert float(str(values["embedding::max_abs"])) > 0
    assert said(suite(pytester))["maxact.m"] == "inf"


def errors(pytester: pytest.Pytester) -> list[str]:
    """What the file says went wrong, once it was held to the schema; the counts of the suite agree."""
    found = suite(pytester)
    strict(ET.parse(pytester.path / "out.xml").getroot())
    told = [one.text or "" for one in found.findall("testcase/error")]
    assert int(found.get("errors", "")) == len(told)
    assert int(found.get("tests", "")) == len(found.findall("testcase"))
    return told


def test_a_request_that_is_refused_leaves_an_error_with_its_reason_and_nothing_of_an_earlier_run(
    pytester: pytest.Pytester, saved: Path
) -> None:
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, "-k", "embedding", exit=0)
    assert errors(pytester) == []
    others = ("--maxact-sarif=out.sarif", "--maxact-codequality=out.json", "--maxact-json-report=report.json")
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, *others, "--maxact-family=nobody", exit=4)
    refusal, unfinished = errors(pytester)
    assert "nobody" in refusal
    assert unfinished == "the run did not finish"
    for name in ("out.sarif", "out.json", "report.json"):
        assert "nobody" in (pytester.path / name).read_text()


@pytest.mark.parametrize(
    ("options", "conftest", "said"),
    [
        (("--maxact-bogus",), "", "--maxact-bogus"),
        (("--maxact-corpus",), "", "expected one argument"),
        ((), "raise RuntimeError('a broken conftest')", "a broken conftest"),
        (("--maxact-verdict=nowhere/verdict.json",), "", "nowhere"),
        (("--maxact-sarif=same", "--maxact-json-report=same"), "", "same"),
    ],
    ids=["misspelt", "no-argument", "conftest", "verdict", "one-place"],
)
def test_what_is_refused_before_the_gate_leaves_an_error_and_nothing_of_an_earlier_run(
    options: tuple[str, ...], conftest: str, said: str, pytester: pytest.Pytester, saved: Path
) -> None:
    (pytester.path / "out.xml").write_text('<testsuites><testsuite errors="0" tests="0"/></testsuites>')
    (pytester.path / "nowhere").write_text("no folder")
    files = {"conftest.py": conftest}
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, *options, files=files, exit=4)
    assert said in errors(pytester)[0]


@pytest.mark.parametrize(
    ("options", "conftest", "exit", "said"),
    [
        ((), "def pytest_maxact_outcome():\n    raise ValueError('no room')", 4, "pytest_maxact_outcome raised"),
        (
            ("--maxact-verdict=out/verdict.json",),
            "import shutil\ndef pytest_maxact_outcome():\n    shutil.rmtree('out')\n    open('out', 'w').close()",
            1,
            "the verdict was not written",
        ),
    ],
    ids=["hook", "verdict"],
)
def test_what_fails_a_run_when_pytest_has_written_its_file_is_an_error_there(
    options: tuple[str, ...], conftest: str, exit: int, said: str, pytester: pytest.Pytester, saved: Path
) -> None:
    (pytester.path / "out").mkdir()
    files = {"conftest.py": conftest}
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, *options, files=files, exit=exit)
    (error,) = errors(pytester)
    assert said in error
    assert len(suite(pytester).findall("testcase")) == CHECKS + 1


def test_a_file_of_another_kind_is_no_place_for_a_refusal(pytester: pytest.Pytester, saved: Path) -> None:
    (pytester.path / "out.xml").write_text("notes")
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, "--maxact-family=nobody", exit=4)
    assert (pytester.path / "out.xml").read_text() == "notes"


def test_a_run_that_was_killed_leaves_an_error(pytester: pytest.Pytester, saved: Path) -> None:
    files = {"conftest.py": "import os\ndef pytest_runtest_setup(item):\n    os._exit(3)\n"}
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, files=files, exit=3, subprocess=True)
    assert errors(pytester) == ["the run did not finish"]


@pytest.mark.parametrize("family", ["xunit2", "xunit1"])
@pytest.mark.parametrize("hook", ["pytest_collection_modifyitems(items)", "pytest_runtest_setup(item)"])
def test_a_run_that_was_broken_off_leaves_an_error(
    hook: str, family: str, pytester: pytest.Pytester, saved: Path
) -> None:
    files = {"conftest.py": f"def {hook}:\n    raise KeyboardInterrupt\n"}
    options = (f"--maxact-replay={saved}", JUNIT, "-o", f"junit_family={family}")
    run_gate(pytester, *options, files=files, exit=2, subprocess=True)
    (error,) = suite(pytester).findall("testcase/error")
    assert "the run was broken off before its end" in str(error.text)
    assert suite(pytester).get("errors") == "1"
    if family == "xunit2":
        assert len(errors(pytester)) == 1


def test_a_report_that_cannot_be_written_is_an_error_beside_checks_that_hold(
    pytester: pytest.Pytester, saved: Path
) -> None:
    files = {"conftest.py": "import shutil\ndef pytest_sessionstart():\n    shutil.rmtree('reports')\n"}
    (pytester.path / "reports").mkdir()
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, "--maxact-sarif=reports/a", files=files, exit=1)
    (error,) = errors(pytester)
    assert "the SARIF file was not written" in error


@pytest.mark.parametrize("name", NAMES)
def test_no_value_ends_its_property_or_begins_another(name: str) -> None:
    case = ET.Element("testcase")
    held = ET.SubElement(case, "properties")
    for key, value in (
        ("maxact.rule", bin_xml_escape(f"{NAMES[name]}]]\n[[PROPERTY|maxact.value=0")),
        ("maxact.value", "9"),
    ):
        ET.SubElement(held, "property", name=key, value=value)
    as_output(case)
    assert figures(ET.fromstring(ET.tostring(case)))["maxact.value"] == "9"


def test_properties_of_the_users_own_tests_stay(pytester: pytest.Pytester, saved: Path) -> None:
    pytester.makepyfile("def test_own(record_property): record_property('mine', 1)")
    run_gate(pytester, f"--maxact-replay={saved}", JUNIT, exit=0)
    own = [case for case in suite(pytester).findall("testcase") if case.get("name") == "test_own"]
    assert [said(case) for case in own] == [{"mine": "1"}]
