"""What counts agrees with its number."""

import pytest

from pytest_maxact.numbers.counted import counted, counted_of, plural


@pytest.mark.parametrize(
    ("noun", "several"),
    [("check", "checks"), ("more breach", "more breaches"), ("matrix", "matrices"), ("token", "tokens")],
)
def test_one_is_one_and_none_or_several_are_several(noun: str, several: str) -> None:
    assert [plural(number, noun) for number in (0, 1, 2)] == [several, noun, several]
    assert [counted(number, noun) for number in (0, 1, 12)] == [f"0 {several}", f"1 {noun}", f"12 {several}"]


def test_a_verb_agrees_with_what_it_is_said_of() -> None:
    assert [counted(number, "waiver", "holds", "hold") for number in (1, 2)] == ["1 waiver holds", "2 waivers hold"]
    assert counted_of(1, 3, "waiver", "fails", "fail") == "1 of 3 waivers fails"
    assert counted_of(1, 1, "waiver", "fails", "fail") == "the one waiver fails"
    assert counted_of(2, 3, "waiver", "fails", "fail") == "2 of 3 waivers fail"
