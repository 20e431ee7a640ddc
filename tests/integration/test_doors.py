"""Every file that a run can write is to be had by every door that gives a verdict, or it is said here why not."""

import argparse
import inspect
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_maxact.cli.arguments import JUDGING
from pytest_maxact.cli.main import command_line, main
from pytest_maxact.gate.reports import JUNIT, REPORTS
from pytest_maxact.settings.table.keeping import KEEPING
from pytest_maxact.trainer.callback import MaxActCallback
from pytest_maxact.trainer.words import argument
from tests.support.gate_runs import run_gate
from tests.support.waivers import SOON

FILES = {row.setting for row in (*REPORTS, JUNIT)} | {"verdict", "github"}
OF_MEASURING = {"cache", "resume", "save", "slim"}
"""Options about Records, which are no files about a run."""
SHOWN = {"help", "replay", "json", "verbose", "quiet"}
OF_TRAINING = {
    "self", "trainer", "every", "samples", "budget_seconds", "limits", "family", "baseline", "stop_on_breach", "corpus",
    "corpus_tokenizer", "protocol", "max_seq_len", "batch_tokens", "arithmetic",
}  # fmt: skip
OF_FILES = {"verdict": "it is about an artifact, and a model in training is none"}
PYTESTS_OWN = {"junit": "--junitxml"}


def arguments_of(command: str) -> set[str]:
    parser = command_line()
    chosen = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return {action.dest for action in chosen.choices[command]._actions}


@pytest.mark.parametrize(
    ("door", "offers", "by_others"),
    [
        ("pytest", {option.field for option in KEEPING} - OF_MEASURING, PYTESTS_OWN),
        ("maxact judge", arguments_of("judge") - {*JUDGING, *SHOWN}, {}),
        ("the callback", {*inspect.signature(MaxActCallback.__init__).parameters} - OF_TRAINING, OF_FILES),
    ],
)
def test_every_door_offers_every_file(door: str, offers: set[str], by_others: dict[str, str]) -> None:
    assert offers | by_others.keys() == FILES
    assert not offers & by_others.keys()


def test_the_callback_says_each_by_its_argument() -> None:
    own = FILES - OF_FILES.keys()
    assert {argument(name) for name in own} == {f"`{name}`" for name in own}


def told(place: Path) -> tuple[dict[str, str], dict[str, tuple[str, list[str], list[str]]]]:
    """Properties of the suite; by name, where a case belongs, how it ended and what it says of its check."""
    suite = next(ET.parse(place).getroot().iter("testsuite"))
    properties = {str(one.get("name")): str(one.get("value")) for one in suite.findall("properties/property")}
    cases = {
        str(case.get("name")): (
            str(case.get("classname")),
            [end.tag for end in case if end.tag in ("failure", "error", "skipped")],
            (case.findtext("system-out") or "").split("\n"),
        )
        for case in suite.findall("testcase")
    }
    return properties, cases


def test_the_command_writes_the_test_cases_and_properties_that_pytest_writes(
    pytester: pytest.Pytester, saved: Path, tight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiver = f"waive: [{{site: layers.1.hidden, reason: known, owner: me, until: {SOON}}}]\n"
    asked = (f"--maxact-replay={saved}", f"--maxact-limits={tight}")
    for more, end in (("", "failure"), (waiver, "skipped")):
        tight.write_text(f"{tight.read_text()}{more}")
        result = run_gate(pytester, *asked, "--junitxml=pytests.xml")
        place = pytester.path / "ours.xml"
        assert main(["judge", str(saved), "--limits", str(tight), "--junit", str(place)]) == result.ret
        assert f"JUnit file written to {place}" in capsys.readouterr().err
        ours = told(place)
        assert ours == told(pytester.path / "pytests.xml")
        assert {one for _, ended, _ in ours[1].values() for one in ended} == {end}


def test_the_commands_file_replaces_no_file_of_pytests_and_no_other_output(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out.xml"
    place.write_text('<?xml version="1.0"?><testsuites name="pytest tests"/>')
    assert main(["judge", str(saved), "--junit", str(place)]) == 4
    assert "the JUnit file cannot be written to" in capsys.readouterr().err
    assert main(["judge", str(saved), "--junit", str(tmp_path / "a"), "--sarif", str(tmp_path / "a")]) == 4
    assert "--sarif and --junit both write to" in capsys.readouterr().err
