"""Who carries the largest entries: by category, place, token and channel, and one alone where nearly all share it."""

from dataclasses import replace

import pytest

from pytest_maxact.judge.trust.carries import Carried, Entry, carried, carried_at, carried_sentence
from pytest_maxact.numbers.peaks import Peak
from tests.support import records


def entry(
    value: float, position: int = 0, channel: int = 5, token: str | None = "The", category: str = "math"
) -> Entry:
    return Entry(value=value, category=category, position=position, channel=channel, token=token)


def told(*entries: Entry) -> Carried:
    found = carried(entries)
    assert found
    return found


@pytest.mark.parametrize(
    ("position", "token", "place"),
    [
        (0, "The", "first"), (0, "<s>", "BOS"), (3, "<|im_start|>", "BOS"), (3, ".", "delimiter"),
        (3, "\n\n", "delimiter"), (3, " ,\n", "delimiter"), (3, "。", "delimiter"), (0, "\n", "first"),
        (3, "word", "other"), (3, "x.", "other"),
        (3, None, "other"), (0, None, "first"), (4, "+", "other"),
    ],
)  # fmt: skip
def test_a_position_has_a_class(position: int, token: str | None, place: str) -> None:
    assert entry(1.0, position, token=token).place == place


def test_the_largest_is_told_by_each() -> None:
    found = told(entry(-9.0, 0), entry(5.0, 3, 6, ".", "code"), entry(7.0, 2, 6, "a", "code"), entry(2.0, 1, 5, None))
    assert found.by_category == {"math": 9.0, "code": 7.0}
    assert found.by_place == {"first": 9.0, "other": 7.0, "delimiter": 5.0}
    assert found.by_token == {"The": 9.0, "a": 7.0, ".": 5.0}
    assert found.by_channel == {5: 9.0, 6: 7.0}
    assert list(found.by_channel) == [5, 6], "the largest first"
    assert (found.channel, found.position, found.token) == (None, None, None)
    assert carried_sentence(found) == "carried by no one alone; by place: first 9, other 7, delimiter 5"


def test_one_carries_them_where_nine_of_ten_share_it_and_the_largest_does() -> None:
    most = [entry(10.0 - i, 0, 507, f"t{i}") for i in range(9)]
    assert told(*most, entry(0.5, 4, 1)).channel == 507
    assert told(*most, entry(0.5, 4, 1)).position == 0
    assert told(*most, entry(0.5, 4, 1)).token is None
    assert told(*most[:8], entry(0.5, 4, 1)).channel is None
    assert told(*most, entry(99.0, 4, 1)).channel is None
    assert carried_sentence(told(*most)) == "carried by channel 507, token 0 (9 of 9 or more); by place: first 10"


def test_a_record_tells_it_of_its_sites() -> None:
    record = records.record({"embedding": [[1.0]], "layers.0.hidden": [[4.0]], "layers.1.hidden": [[4.0]]})
    peaks = tuple(
        Peak(value=value, sample=sample, position=2, token=".", token_id=3, channel=0)
        for value, sample in ((4.0, "s0"), (3.0, "s1"))
    )
    reading = replace(record["layers.0.hidden"], peaks=peaks)
    found = carried_at(replace(record, sites={**record.sites, "layers.0.hidden": reading}), "layers.0.hidden")
    assert found
    assert (found.channel, found.position, found.token) == (0, 2, ".")
    assert found.by_category == {"math": 4.0}
    assert carried([]) is None
