"""`maxact explain`: within the terminal, as JSON, as a list, and a bad request where nobody knows the name."""

import json

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.judge.explain.lookup import every
from pytest_maxact.settings.options import OPTIONS


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_without_a_name_it_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    assert {entry.name for entry in every()} <= {line.split("  ")[0] for line in lines}
    assert max(map(len, lines)) <= 80


def test_of_a_check_it_tells_site_metric_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(capsys, "maxact::layers.2.down_in::W8A8_STATIC.flush_to_zero")
    heads = ["down_in (site)", "<SCHEME>.<quantity> (metric)", "W8A8_STATIC (scheme)", "flush_to_zero (quantity)"]
    assert [line for line in text.splitlines() if line in heads] == heads
    assert text.index("flush_to_zero (quantity)") < text.index("what to do\n- ")
    assert max(map(len, text.splitlines())) <= 80


def test_it_names_the_options_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, "growth").split())
    assert "against each --baseline" in text
    assert "--maxact" not in text
    assert {f"--{option.name}" for option in OPTIONS} >= {"--baseline"}


def test_for_a_program_it_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = json.loads(printed(capsys, "shift", "--json"))
    assert (found["name"], found["group"]) == ("shift", "metric")
    assert {"what", "unit", "measured", "breach", "todo"} < found.keys()
    assert all({"cause", "do"} == answer.keys() for answer in found["todo"])
    assert len(json.loads(printed(capsys, "--json"))) == len(list(every()))


def test_an_unknown_name_is_a_bad_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "hiden"]) == 4
    assert "did you mean hidden?" in capsys.readouterr().err
