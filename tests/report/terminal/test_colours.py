"""Colours of reports: those that every terminal has, legible on light and dark, and never alone in saying a thing."""

import re

import pytest

from pytest_maxact.cli.main import main
from tests.support.paths import RECORDS

CODES = re.compile("\x1b\\[([0-9;]*)m")
LEGIBLE = {"0", "1", "2", "31", "32", "33", "1;31"}
"""Of the first eight, as none, and bold or dim; yellow is not bold, which many terminals show as the bright one, that
is not seen on white.
"""


@pytest.mark.parametrize("kind", ["deploy", "experts", "nonfinite", "summary"])
@pytest.mark.parametrize(
    "command", [["judge", "-v"], ["judge"], ["show"], ["trust"], ["series"], ["compare"]], ids=" ".join
)
def test_they_are_the_first_eight_and_say_nothing_alone(
    command: list[str], kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    record = str(RECORDS / f"{kind}.safetensors")
    words = [*command, record, *([record] if command == ["compare"] else [])]
    main(words)
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(words)
    coloured = capsys.readouterr().out
    assert {"1"} <= set(CODES.findall(coloured)) <= LEGIBLE
    assert [line.rstrip() for line in CODES.sub("", coloured).splitlines()] == plain.splitlines()
