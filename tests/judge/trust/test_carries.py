"""Who carries the largest entries: by category, place, token and channel, and one alone where nearly all share it."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.judge.trust.carries import Carried, Entries, Held, carried, carried_at, carried_words, place_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.peaks import Peak
from tests.support import records

Entry = tuple[float, int, int, str | None, str]


def entry(
    value: float, position: int = 0, channel: int = 5, token: str | None = "The", category: str = "math"
) -> Entry:
    return value, position, channel, token, category


def told(*entries: Entry) -> Carried:
    values, positions, channels, tokens, categories = zip(*entries, strict=True)
    found = carried(
        Entries(
            magnitudes=np.abs(np.array(values)), positions=positions, channels=channels, tokens=tokens,
            categories=categories,
        )
    )  # fmt: skip
    assert found
    return found


@pytest.mark.parametrize(
    ("position", "token", "place"),
    [
        (0, "The", "first"), (0, "<s>", "BOS"), (3, "<|im_start|>", "BOS"), (3, ".", "delimiter"),
        (3, "\n\n", "delimiter"), (3, " ,\n", "delimiter"), (3, "。", "delimiter"), (0, "\n", "first"),
        (3, "word", "other"), (3, "x.", "other"), (3, "", "other"),
        (3, None, "other"), (0, None, "first"), (4, "+", "other"),
    ],
)  # fmt: skip
def test_a_position_has_a_class(position: int, token: str | None, place: str) -> None:
    assert place_of(position, token) == place


def test_the_largest_is_told_by_each() -> None:
    found = told(entry(-9.0, 0), entry(5.0, 3, 6, ".", "code"), entry(7.0, 2, 6, "a", "code"), entry(2.0, 1, 5, None))
    assert found.by_category == {"math": Held(largest=9.0, entries=2), "code": Held(largest=7.0, entries=2)}
    assert {name: one.largest for name, one in found.by_place.items()} == {"first": 9.0, "other": 7.0, "delimiter": 5.0}
    assert {name: one.largest for name, one in found.by_token.items()} == {"The": 9.0, "a": 7.0, ".": 5.0}
    assert list(found.by_channel) == [5, 6], "the largest first"
    assert (found.channel, found.position, found.token) == (None, None, None)
    assert carried_words(found) == "no channel, position or token carries nine tenths of 4 samples"


def test_one_carries_them_where_nine_of_ten_share_it_and_the_largest_does() -> None:
    most = [entry(10.0 - i, 0, 507, f"t{i}") for i in range(9)]
    assert told(*most, entry(0.5, 4, 1)).channel == 507
    assert told(*most, entry(0.5, 4, 1)).position == 0
    assert told(*most, entry(0.5, 4, 1)).token is None
    assert told(*most[:8], entry(0.5, 4, 1)).channel is None
    assert told(*most, entry(99.0, 4, 1)).channel is None
    assert carried_words(told(*most)) == "channel 507 holds the maximum of all 9 samples, position 0 that of all"
    assert carried_words(told(*most, entry(0.5, 0, 1))) == (
        "channel 507 holds the maximum of 9 of 10 samples, position 0 that of all"
    )
    assert carried_words(told(*most, entry(0.5, 4, 507))) == (
        "channel 507 holds the maximum of all 10 samples, position 0 that of 9"
    )
    assert carried_words(told(*most[:1])) == (
        "channel 507 holds the maximum of the one sample, position 0 that of 1, token 't0' that of 1"
    )
    nine = [entry(1.0, n, n, ".") for n in range(9)]
    assert told(*nine, entry(0.9, 1, 1, None)).token == "."
    assert told(*nine, entry(1.1, 1, 1, None)).token is None, "that of the largest is not known"


def test_a_record_tells_it_of_its_largest_entries_where_it_keeps_no_samples() -> None:
    record = records.record({"embedding": [[1.0]], "layers.0.hidden": [[4.0]], "layers.1.hidden": [[4.0]]})
    peaks = tuple(
        Peak(value=value, sample=sample, position=2, token=".", token_id=3, channel=0)
        for value, sample in ((4.0, "s0"), (3.0, "s1"))
    )
    reading = replace(record["layers.0.hidden"], peaks=peaks)
    found = carried_at(replace(record, sites={**record.sites, "layers.0.hidden": reading}), "layers.0.hidden", None)
    assert found
    assert (found.channel, found.position, found.token) == (0, 2, ".")
    assert found.by_category["math"].largest == 4.0
    assert carried_words(found) == "channel 0 holds 2 of the 2 largest entries, position 2 2, token '.' 2"
    assert "the 2 largest entries" in carried_words(found)


def test_of_the_maxima_of_samples_their_tokens_are_told_by_id() -> None:
    record = records.record({"layers.0.hidden": [[4.0]], "layers.1.hidden": [[4.0]]})
    samples = tuple((f"s{n}", "code", "evaluation", 5) for n in range(4))
    record = replace(
        record, provenance=replace(record.provenance, samples=samples), token_texts={"7": "\n", "9": "word"}
    )
    maxima = SampleMaxima(
        np.array([-8.0, 2.0, 3.0, 0.0], np.float32), np.array([1, 0, 3, -1], np.int32),
        np.array([2, 2, 2, 0], np.int32), np.array([7, 9, 7, -1], np.int32),
    )  # fmt: skip
    found = carried_at(record, "layers.0.hidden", maxima)
    assert found
    assert (found.entries, found.channel) == (3, 2)
    assert {name: one.largest for name, one in found.by_place.items()} == {"delimiter": 8.0, "first": 2.0}
    assert found.by_token == {"\n": Held(largest=8.0, entries=2), "word": Held(largest=2.0, entries=1)}
    unknown = carried_at(record, "layers.0.hidden", replace(maxima, tokens=None))
    assert unknown
    assert (dict(unknown.by_token), unknown.token) == ({}, None)
