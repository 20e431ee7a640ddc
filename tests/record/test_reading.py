"""Readings of parts of one corpus add to that of the whole, and what cannot be added is refused."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.reading import SiteReading, distributions_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.fitness import weight

NAME = "layers.0.qkv_in"
ONE = SchemeSums(tokens=1, entries=4, signal=8.0, error=1.0, token_db=((1300, 1),))
TWO = SchemeSums(tokens=2, entries=8, signal=9.0, error=0.5, token_db=((1400, 2),))


def reading(scheme: str = "W8A8", sums: SchemeSums = ONE, amax: float | None = None, **changes: Any) -> SiteReading:
    held = records.holding(
        records.reading([1.0, -4.0], [2.0, 8.0], NAME),
        schemes={scheme: sums},
        channels=None if amax is None else Channels({"a": np.array([amax], np.float32)}),
    )
    return replace(held, **changes)


def test_what_schemes_do_and_the_maxima_of_channels_add() -> None:
    joined = distributions_of(reading(amax=2.0) + reading(sums=TWO, amax=3.0))
    assert joined.schemes == {"W8A8": ONE + TWO}
    assert joined.channels == Channels({"a": np.array([3.0], np.float32)})


@pytest.mark.parametrize(("one", "other"), [(2.0, None), (None, 2.0)])
def test_channels_that_one_part_saw_are_kept(one: float | None, other: float | None) -> None:
    joined = distributions_of(reading(amax=one) + reading(amax=other))
    assert joined.channels == Channels({"a": np.array([2.0], np.float32)})
    assert distributions_of(reading() + reading()).channels is None


@pytest.mark.parametrize(
    ("scheme", "refused"), [("W8A8", False), ("FP8_DYNAMIC", False), ("W8A8_STATIC", True), ("NVFP4", True)]
)
def test_parts_quantized_with_scales_of_other_calibration_samples_are_refused(scheme: str, refused: bool) -> None:
    one, other = reading(scheme, amax=2.0), reading(scheme, amax=3.0)
    assert distributions_of(one + one).schemes == {scheme: ONE + ONE}
    if not refused:
        assert distributions_of(one + other).schemes == {scheme: ONE + ONE}
        return
    with pytest.raises(InputError) as caught:
        one + other
    assert str(caught.value) == (
        f"readings of {NAME} were quantized with scales of different calibration samples and do not merge\n"
        "  measure parts without static schemes and NVFP4, or all of the corpus at once"
    )


@pytest.mark.parametrize(
    "other",
    [
        reading("FP8_DYNAMIC"),
        reading(weights={"q": {"W8A8": weight(30.0)}}),
        replace(records.holding(reading(), schemes={})),
    ],
    ids=["scheme", "weights", "none"],
)
def test_parts_under_other_schemes_are_refused(other: SiteReading) -> None:
    for one, two in ((reading(), other), (other, reading())):
        with pytest.raises(InputError) as caught:
            one + two
        assert str(caught.value) == (
            f"readings of {NAME} differ in the schemes they were measured under and do not merge"
        )


def test_schemes_in_another_order_are_the_same() -> None:
    both = {"W8A8": ONE, "FP8_DYNAMIC": TWO}
    one, other = (records.holding(reading(), schemes=dict(order)) for order in permutations(both.items()))
    assert distributions_of(one + other).schemes == {"W8A8": ONE + ONE, "FP8_DYNAMIC": TWO + TWO}


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [((1, 0, 5), (2, 0, 7), (3, 0, 12)), ((1, 2), None, None), (None, (1, 2), None), (None, None, None), ((), (), ())],
)
def test_tokens_of_experts_add_where_both_parts_counted_them(
    one: tuple[int, ...] | None, other: tuple[int, ...] | None, joined: tuple[int, ...] | None
) -> None:
    found = replace(reading(), tokens_per_expert=one) + replace(reading(), tokens_per_expert=other)
    assert found.tokens_per_expert == joined


def test_experts_that_no_token_was_given_to_are_named() -> None:
    assert reading(tokens_per_expert=(3, 0, 2, 0)).unreached_experts == (1, 3)
    assert reading(tokens_per_expert=(3, 1)).unreached_experts == reading().unreached_experts == ()


def test_the_massive_activation_test_of_a_part_without_it_is_none_of_the_whole() -> None:
    tested = reading(massive=Massive(tokens=1, entries=2, max_ratio=2000.0))
    assert (tested + tested).massive == Massive(tokens=2, entries=4, max_ratio=2000.0)
    assert (tested + reading()).massive is (reading() + tested).massive is None
    assert tested.is_massive
    assert not reading().is_massive
    assert not reading(massive=Massive(max_ratio=3.0)).is_massive


def test_the_probe_of_the_longest_sample_is_kept_equals_by_name() -> None:
    probes = [Probe(sample=sample, tokens=tokens, changed={}) for sample, tokens in (("b", 9), ("a", 9), ("0", 3))]
    for order in permutations(probes):
        first, *rest = (reading(probe=probe) for probe in order)
        assert sum(rest, first).probe == probes[1]
    assert (reading(probe=probes[0]) + reading()).probe is (reading() + reading(probe=probes[0])).probe is None


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (2.0, 3.0, 3.0),
        (3.0, 2.0, 3.0),
        (2.0, math.inf, math.inf),
        (0.0, 0.0, 0.0),
        (None, 2.0, None),
        (2.0, None, None),
    ],
)
def test_of_text_as_it_is_deployed_the_larger_magnitude_is_kept_where_both_parts_met_it(
    one: float | None, other: float | None, joined: float | None
) -> None:
    assert (reading(as_deployed=one) + reading(as_deployed=other)).as_deployed == joined


@pytest.mark.parametrize(("deployed", "breaks"), [(None, False), (1e30, False), (math.inf, True)])
def test_a_site_breaks_as_deployed_where_either_text_broke_it(deployed: float | None, breaks: bool) -> None:
    assert reading(as_deployed=deployed).breaks_as_deployed is breaks
    broken = replace(records.reading([1.0], [math.nan], NAME), as_deployed=deployed)
    assert broken.breaks_as_deployed is True


def test_paths_of_both_parts_are_kept() -> None:
    assert (reading(shared={"q": "a"}) + reading(shared={"k": "b"})).shared == {"q": "a", "k": "b"}
    assert list((reading(shared={"q": "a"}) + reading(shared={"k": "b"})).shared) == ["k", "q"]


def test_a_site_has_both_splits_where_both_counted_something() -> None:
    assert reading().has_both_splits
    for split in ("calibration", "evaluation"):
        assert not records.holding(reading(), **{split: records.histogram([])}).has_both_splits


def test_a_summary_has_no_distributions_to_give() -> None:
    slim: Record = summary(records.record({"layers.0.hidden": [[1.0, 2.0]], "final_norm": [[1.0, 2.0]]}))
    one = slim["final_norm"]
    assert (one.count, one.nonfinite, one.has_both_splits, one.max_abs) == (4, 0, True, 2.0)
    for read in (lambda: one.calibration, lambda: one.evaluation, lambda: one.histogram):
        with pytest.raises(InputError) as caught:
            read()
        assert str(caught.value) == ("the Record is slim and does not hold histograms\n  measure again without `slim`")
    with pytest.raises(InputError, match="does not hold the channels"):
        distributions_of(one, "the channels")
