"""The text around a token stands in a file once for each place, and of no place at which nothing sat."""

from dataclasses import replace

import pytest

from pytest_maxact.numbers.peaks import AROUND_KEPT, Around
from pytest_maxact.record.document import document_of, record_of, tensors_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.schema import stored
from pytest_maxact.record.sound.record import require_sound
from tests.support import records
from tests.support.sampled import having_around

TEXT = Around(before="over the ", after=" and ran", begins=True)
SITES = ("layers.0.hidden", "layers.1.hidden")


def told(around: Around | None = TEXT) -> Record:
    record = records.record({name: [[4.0, 2.0]] for name in SITES})
    return having_around(record, around) if around else record


def test_it_stands_there_once_for_all_entries_of_a_place() -> None:
    document = document_of(told())
    assert document["around"] == {
        sample: {"0": {"before": "over the ", "after": " and ran", "begins": True}} for sample in ("s0", "s1")
    }
    assert all("around" not in peak for site in document["sites"] for peak in site["peaks"])
    assert record_of(stored(document), tensors_of(told())) == told()


def test_a_record_without_it_says_nothing_of_it() -> None:
    assert "around" not in document_of(told(None))


def test_the_text_of_a_place_at_which_nothing_sat_is_refused() -> None:
    document = document_of(told())
    document["around"]["s1"]["7"] = document["around"]["s1"]["0"]
    with pytest.raises(ValueError, match="around: no entry sat at 7 of s1"):
        record_of(stored(document), tensors_of(told()))


def test_more_text_than_is_kept_is_refused() -> None:
    require_sound(told(replace(TEXT, before="x" * AROUND_KEPT)))
    with pytest.raises(ValueError, match="around: more than 40 characters beside token 0"):
        require_sound(told(replace(TEXT, after="x" * (AROUND_KEPT + 1))))
