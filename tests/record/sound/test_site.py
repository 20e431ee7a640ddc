"""A reading is held to the text that it was taken on, up to the last entry that fits."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_maxact.numbers.histogram import BINS, Histogram
from pytest_maxact.numbers.peaks import NonFinite
from pytest_maxact.record.held import Entries, Summary
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.sound.site import Text
from tests.support import records
from tests.support.sound import CALIBRATION, EVALUATION, TEXT, holds, reading, refusal


@pytest.mark.parametrize("kind", ["hidden", "attn_output", "mlp_output", "gate", "router", "qkv_in"])
def test_what_was_measured_is_sound(kind: str) -> None:
    assert holds(reading(kind))
    assert holds(reading(kind), routed=True)


# How much was counted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wider_entries_are_counted_in_bfloat16(dtype: str) -> None:
    assert holds(replace(reading(), dtype=dtype))
    assert refusal(replace(reading(), dtype="float16")) == "encoding: bfloat16, where float16 is counted in float16"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (replace(TEXT, calibration=2), "calibration: 4 entries, where 2 tokens have 8 in a width of 4"),
        (replace(TEXT, evaluation=1), "evaluation: 8 entries, where 1 token has 4 in a width of 4"),
    ],
)
def test_of_the_residual_stream_every_token_is_one_row(text: Text, said: str) -> None:
    assert refusal(reading(), text) == said


def test_a_site_of_several_parts_has_whole_rows_no_fewer_than_tokens() -> None:
    two = np.tile(EVALUATION, (1, 2))
    parts = reading("attn_output", np.tile(CALIBRATION, (1, 2)), two)
    assert holds(replace(parts, width=4, peaks=tuple(replace(peak, channel=0) for peak in parts.peaks)))
    for width, entries in ((8, EVALUATION), (4, [*two.ravel()[:9]])):
        broken = replace(reading("attn_output"), width=width)
        broken = records.holding(broken, evaluation=records.histogram(entries))
        short = "calibration: 4 entries are not whole rows of 1 token, 8 wide"
        long = "evaluation: 9 entries are not whole rows of 2 tokens, 4 wide"
        assert refusal(broken) == (short if width == 8 else long)


@pytest.mark.parametrize("kind", ["gate", "qkv_in", "o_in", "mlp_in", "down_in"])
def test_experts_are_given_as_many_rows_as_the_router_chose(kind: str) -> None:
    fewer = replace(reading(kind, CALIBRATION, [[8.0, 1.0, 2.0, 0.0]]))
    assert holds(fewer, replace(TEXT, evaluation=2), routed=True)
    assert refusal(fewer, TEXT) == "evaluation: 4 entries are not whole rows of 2 tokens, 4 wide"
    assert refusal(reading("attn_output", CALIBRATION, [[8.0, 1.0, 2.0, 0.0]]), TEXT, routed=True).startswith(
        "evaluation: 4"
    )


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("kind", ["gate", "attn_output", "hidden"])
def test_a_split_without_tokens_has_no_entries(kind: str, routed: bool) -> None:
    text = Text(samples={"s1": 2, "s0": 1}, calibration=0, evaluation=2)
    assert refusal(reading(kind), text, routed).startswith("calibration: 4 entries")
    name = f"layers.0.{kind}"
    one = records.record_of([records.Measured(id="s1", values={name: EVALUATION})])[name]
    assert holds(one, text, routed)


def test_a_site_where_nothing_was_counted_is_none() -> None:
    empty = records.histogram([])
    nothing = replace(records.holding(reading("gate"), calibration=empty, evaluation=empty), peaks=())
    assert refusal(nothing, routed=True) == "splits: no entry was counted"
    assert refusal(nothing, Text(samples={}, calibration=0, evaluation=0)) == "splits: no entry was counted"


@pytest.mark.parametrize(("nonfinite", "count", "sound"), [(4, 4, True), (5, 4, False), (-1, 4, False)])
def test_no_more_entries_are_broken_than_there_are(nonfinite: int, count: int, sound: bool) -> None:
    slim = Summary(
        encoding="bfloat16",
        calibration=Entries(count=count, nonfinite=nonfinite),
        evaluation=Entries(count=8, nonfinite=0),
        schemes=(),
        has_channels=False,
        figures={},
    )
    said = refusal(replace(reading(), held=slim))
    assert said.startswith(f"calibration: {nonfinite} of {count} entries are not finite") != sound


def test_more_entries_than_64_bits_can_count_are_refused() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[[1, 2]] = 1 << 61
    huge = Histogram.from_dense("bfloat16", counts)
    assert refusal(records.holding(reading(), evaluation=huge)) == "counts: more entries than can be counted"
    counts[2] -= 1 << 10
    assert "entries, where" in refusal(records.holding(reading(), evaluation=Histogram.from_dense("bfloat16", counts)))


@pytest.mark.parametrize(
    ("kind", "given", "sound"),
    [("router", (3, 0), True), ("router", (), True), ("router", (0, 4), False), ("gate", (1, 0), False)],
)
def test_experts_are_given_the_tokens_that_there_are_and_by_a_router(
    kind: str, given: tuple[int, ...], sound: bool
) -> None:
    one = replace(reading(kind), tokens_per_expert=given)
    if sound:
        assert holds(one)
    else:
        assert refusal(one) == "expert_tokens: more than there are tokens, or not of a router"


# Where it sat


BROKEN = reading(evaluation=[[2.0, 8.0, 0.5, math.nan], [1.0, 1.0, 1.0, -1.0]])


def placed(**values: Any) -> SiteReading:
    return replace(BROKEN, first_nonfinite=replace(BROKEN.first_nonfinite, **values))  # type: ignore[type-var]


def test_the_place_of_what_is_not_finite_is_told_where_there_is_any() -> None:
    assert holds(BROKEN)
    assert BROKEN.first_nonfinite == NonFinite(sample="s1", position=0, token="t0", channel=3)
    none = replace(BROKEN, first_nonfinite=None)
    assert refusal(none) == "first_nonfinite: none, where 1 entry is not finite"
    assert holds(replace(none, dtype="float32")), "which rounding may have made"
    one = replace(reading(), first_nonfinite=BROKEN.first_nonfinite)
    assert refusal(one) == "first_nonfinite: one, where 0 entries are not finite"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"channel": 4}, "channel: 4 of 4"),
        ({"sample": "s2"}, "sample: no sample s2"),
        ({"sample": "s2", "position": -1}, "sample: no sample s2"),
        ({"sample": "", "position": 0}, "sample: no sample "),
        ({"position": 2}, "position: 2 in a sample of 2 tokens"),
        ({"position": -1}, "position: -1 in a sample of 2 tokens"),
    ],
)
def test_a_place_lies_in_a_sample_and_in_the_width(values: dict[str, Any], said: str) -> None:
    assert refusal(placed(**values)).startswith(f"first_nonfinite.{said}")
    peaks = reading().peaks
    assert peaks[0].sample == "s1"
    assert refusal(replace(reading(), peaks=(replace(peaks[0], **values), *peaks[1:]))).startswith(f"peaks.0.{said}")
    moved: dict[str, Any] = {"sample": "s1", "position": 1, **values}
    assert refusal(replace(reading(), peaks=(*peaks[:3], replace(peaks[3], **moved)))).startswith(f"peaks.3.{said}")


def test_behind_routing_no_place_is_known() -> None:
    assert holds(placed(sample="", position=-1))
    assert holds(placed(position=1))
