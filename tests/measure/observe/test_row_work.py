"""The work on rows: what may skip it, which entry is the first that is not finite, and what a site refuses."""

import math
from typing import Any

import pytest
import torch

from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe import accumulate
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.batch import Batch, collate
from tests.support.measuring import encoded

BFLOAT16, FLOAT16, FLOAT32 = torch.bfloat16, torch.float16, torch.float32
NAN, INF = float("nan"), float("inf")


def batch_of(*lengths: int, first: int = 0, split: str = "evaluation") -> Batch:
    sequences = encoded([1] * first + list(lengths))[first:]
    return collate(PlannedBatch(split=split, sequences=tuple(sequences)), torch.device("cpu"))  # type: ignore[arg-type]


def give(seen: SiteAccumulator, values: torch.Tensor, batch: Batch, part: str = "") -> None:
    seen.observe(values, batch.padding if batch.padded else None, lambda row: row, part)
    seen.commit(batch)


def first_of(seen: SiteAccumulator) -> tuple[str, int, int] | None:
    found = seen.first_nonfinite
    return None if found is None else (found.sample, found.position, found.channel)


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16, FLOAT32])
@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ([(0, 2), (0, 5), (1, 0)], ("s00", 0, 2)),
        ([(2, 0), (3, 1), (5, 3)], ("s01", 1, 3)),  # rows 2 and 3 are padding
        ([(2, 0), (7, 5)], ("s01", 3, 5)),
        ([(3, 1)], None),
    ],
)
def test_the_first_broken_entry_is_that_of_the_first_row_that_counts(
    dtype: torch.dtype, poison: float, broken: list[tuple[int, int]], expected: tuple[str, int, int] | None
) -> None:
    batch = batch_of(2, 4)
    assert batch.padding.tolist() == [2, 3]
    values = torch.full((8, 6), 0.5, dtype=dtype)
    values[6, 4] = -3.0
    for place in broken:
        values[place] = poison
    seen = SiteAccumulator("x", massive=True)
    give(seen, values, batch)
    assert first_of(seen) == expected
    assert seen.peaks[0].value == -3.0
    assert all(abs(peak.value) == 0.5 for peak in seen.peaks[1:])
    assert len(seen.peaks) == 10


def test_the_first_broken_entry_is_the_first_by_sample_position_and_channel_whatever_came_first() -> None:
    seen = SiteAccumulator("x", massive=False)
    for first, place, expected in (
        (2, (1, 1), ("s02", 1, 1)),
        (3, (0, 0), ("s02", 1, 1)),
        (2, (1, 0), ("s02", 1, 0)),
        (2, (0, 3), ("s02", 0, 3)),
        (1, (2, 3), ("s01", 2, 3)),
    ):
        values = torch.zeros(3, 4, dtype=BFLOAT16)
        values[place] = NAN
        give(seen, values, batch_of(3, first=first))
        assert first_of(seen) == expected


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16])
@pytest.mark.parametrize(
    ("value", "massive", "looked_at"),
    [
        (63.75, True, False),  # below all peaks
        (64.0, False, True),  # equal to the smallest of them: an earlier sample takes its place
        (65.0, False, True),
        (NAN, False, True),
        (INF, False, True),
    ],
)
def test_rows_are_looked_at_where_they_can_change_the_outcome(
    dtype: torch.dtype, value: float, massive: bool, looked_at: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = SiteAccumulator("x", massive=massive)
    give(seen, torch.full((2, 5), -64.0, dtype=dtype), batch_of(2, first=5))
    before = seen.peaks
    calls: list[Any] = []
    real = accumulate.row_work
    monkeypatch.setattr(accumulate, "row_work", lambda *args: calls.append(args) or real(*args))
    values = torch.zeros(2, 5, dtype=dtype)
    values[1, 3] = value
    give(seen, values, batch_of(2))
    assert len(calls) == looked_at
    if value in (64.0, 65.0):
        assert [(p.value, p.sample, p.position, p.channel) for p in seen.peaks] == [
            (value, "s00", 1, 3),
            *((-64.0, "s05", *divmod(place, 5)) for place in range(9)),
        ]
    else:
        assert seen.peaks == before
    assert first_of(seen) == (None if math.isfinite(value) else ("s00", 1, 3))


@pytest.mark.parametrize(("massive", "value", "looked_at"), [(True, 101.0, 1), (True, 99.0, 0), (False, 101.0, 0)])
def test_rows_are_looked_at_for_the_massive_test_where_a_site_has_one(
    massive: bool, value: float, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = SiteAccumulator("x", massive=massive)
    give(seen, torch.full((2, 5), 4096.0, dtype=BFLOAT16), batch_of(2))
    calls: list[Any] = []
    real = accumulate.row_work
    monkeypatch.setattr(accumulate, "row_work", lambda *args: calls.append(args) or real(*args))
    give(seen, torch.full((2, 5), value, dtype=BFLOAT16), batch_of(2, first=1))
    assert len(calls) == looked_at


@pytest.mark.parametrize("padded", [False, True])
def test_peaks_are_the_largest_entries_wherever_their_rows_lie(padded: bool) -> None:
    values = torch.zeros(40, 3, dtype=BFLOAT16)
    values[:, 1] = 1.0
    values[20:40, 2] = torch.arange(40.0, 20.0, -1.0)
    batch = batch_of(36, 40) if padded else batch_of(40)
    seen = SiteAccumulator("x", massive=True)
    give(seen, torch.cat([torch.full((40, 3), 0.5, dtype=BFLOAT16), values]) if padded else values, batch)
    sample = "s01" if padded else "s00"
    assert [(peak.value, peak.sample, peak.position, peak.channel) for peak in seen.peaks] == [
        (40.0 - place, sample, 20 + place, 2) for place in range(10)
    ]
    assert (seen.massive.tokens, seen.massive.max_ratio) == (0, None)


def test_peaks_are_filled_up_with_smaller_ones() -> None:
    seen = SiteAccumulator("x", massive=False)
    for first, value, width in ((0, 5.0, 9), (1, -1.0, 1), (2, 0.5, 1)):
        seen.observe(torch.full((1, width), value, dtype=BFLOAT16), None, lambda row: row, str(first))
        seen.commit(batch_of(1, first=first))
    assert [peak.value for peak in seen.peaks] == [5.0] * 9 + [-1.0]


@pytest.mark.parametrize(
    ("dtype", "value", "tokens"),
    [
        (FLOAT32, 100.1, 1),  # its bin is that of 100
        (FLOAT32, 100.0, 0),
        (BFLOAT16, 100.5, 1),
        (BFLOAT16, 100.0, 0),
        (FLOAT16, 100.0625, 1),
        (FLOAT16, 100.0, 0),
    ],
)
def test_a_massive_entry_below_all_peaks_still_counts(dtype: torch.dtype, value: float, tokens: int) -> None:
    counts = []
    for tests_massive in (True, False):
        seen = SiteAccumulator("x", massive=tests_massive)
        give(seen, torch.full((2, 5), 4096.0, dtype=dtype), batch_of(2))
        before = seen.massive
        values = torch.full((2, 5), 0.01, dtype=dtype)
        values[1, 3] = -value
        give(seen, values, batch_of(2, first=1))
        assert [peak.value for peak in seen.peaks] == [4096.0] * 10
        counts.append((seen.massive.tokens - before.tokens, seen.massive.entries - before.entries))
    assert counts == [(tokens, tokens), (0, 0)]


def test_a_batch_that_is_rolled_back_leaves_nothing_and_parts_are_counted_apart() -> None:
    seen = SiteAccumulator("x", massive=True)
    seen.observe(torch.full((2, 3), NAN, dtype=BFLOAT16), None, lambda row: row, "a")
    assert seen.staged_rows == {"a": 2}
    seen.rollback()
    assert seen.staged_rows == {}
    batch = batch_of(2, split="calibration")
    for part, width, value in (("a", 3, 1.0), ("b", 4, 2.0), ("a", 3, 3.0)):
        seen.observe(torch.full((2, width), value, dtype=BFLOAT16), None, lambda row: row, part)
    assert seen.staged_rows == {"a": 4, "b": 2}
    seen.commit(batch)
    give(seen, torch.full((2, 4), 2.0, dtype=BFLOAT16), batch, "b")
    assert seen.rows == {"a": 4, "b": 4}
    assert seen.widths == {"a": 3, "b": 4}
    counts = seen.dense_counts("calibration")
    assert {int(key): int(counts[key]) for key in counts.nonzero()[0]} == {0x3F80: 6, 0x4000: 16, 0x4040: 6}
    assert (seen.dense_counts("evaluation").sum(), seen.dense_counts("evaluation").dtype) == (0, "int64")
    assert seen.first_nonfinite is None
    assert [(peak.value, peak.part) for peak in seen.peaks[5:7]] == [(3.0, "a"), (2.0, "b")]


def test_a_row_that_routing_hides_has_a_channel_and_no_token() -> None:
    seen = SiteAccumulator("x", massive=False)
    values = torch.zeros(2, 3, dtype=BFLOAT16)
    values[1, 2] = 5.0
    seen.observe(values, None, lambda rows: torch.full_like(rows, -1), "experts")
    seen.commit(batch_of(2))
    peak = seen.peaks[0]
    assert (peak.value, peak.sample, peak.position, peak.token, peak.token_id, peak.channel, peak.part) == (
        5.0, "", -1, "", -1, 2, "experts",
    )  # fmt: skip
    assert len(seen.peaks) == 6


def test_a_peak_holds_the_token_id_behind_it() -> None:
    batch = batch_of(2, 4)
    seen = SiteAccumulator("x", massive=False)
    values = torch.zeros(8, 3, dtype=BFLOAT16)
    values[7, 2] = 5.0
    give(seen, values, batch)
    assert (seen.peaks[0].sample, seen.peaks[0].position) == ("s01", 3)
    assert seen.peaks[0].token_id == batch.plan.sequences[1].ids[3]
    assert (seen.peaks[0].token, seen.peaks[0].part) == ("", "")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int32), "x gave int32 values, which are no activations"),
        (torch.zeros(2, 3, dtype=FLOAT16), "x gave float16 after bfloat16; one site has one dtype"),
        (torch.zeros(2, 4, dtype=BFLOAT16), "x is 4 wide after 3; one site has one width"),
    ],
)
def test_a_site_that_changes_its_kind_of_tensor_is_refused(second: torch.Tensor, message: str) -> None:
    seen = SiteAccumulator("x", massive=False)
    seen.observe(torch.zeros(2, 3, dtype=BFLOAT16), None, lambda row: row, "")
    with pytest.raises(MeasureError) as error:
        seen.observe(second, None, lambda row: row, "")
    assert str(error.value) == f"{message}\n  please report the model_type"


def test_more_entries_at_once_than_can_be_told_apart_are_refused() -> None:
    seen = SiteAccumulator("x", massive=False)
    with pytest.raises(
        MeasureError,
        match=r"^x gave 65536 x 65536 entries at once, more than can be told apart\n  lower `batch_tokens`$",
    ):
        seen.observe(torch.zeros(1, 1, dtype=BFLOAT16).expand(65536, 65536), None, lambda row: row, "")


@pytest.mark.parametrize(
    ("dtype", "encoding"),
    [(BFLOAT16, "bfloat16"), (FLOAT16, "float16"), (FLOAT32, "bfloat16"), (torch.float64, "bfloat16")],
)
def test_a_site_says_its_dtype_and_how_its_entries_are_counted(dtype: torch.dtype, encoding: str) -> None:
    seen = SiteAccumulator("x", massive=True)
    give(seen, torch.full((2, 3), 1.0, dtype=dtype), batch_of(2))
    assert (seen.dtype, seen.encoding) == (str(dtype).removeprefix("torch."), encoding)
    assert int(seen.dense_counts("evaluation")[0x3C00 if encoding == "float16" else 0x3F80]) == 6
    assert seen.peaks[0].value == 1.0
