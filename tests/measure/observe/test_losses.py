"""What INT-8 costs every sample: what the histogram of that sample alone gives under the scales of the calibration
split, whatever the batch, and nothing where other scales were used.
"""

from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.bits import encode
from pytest_maxact.measure.observe.by_sample import SIGNAL
from pytest_maxact.measure.observe.losses import Losses, spans_of
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.rowwork import in_place
from pytest_maxact.measure.observe.state import reduced, restore, state_of
from pytest_maxact.measure.readings import readings
from pytest_maxact.numbers.energies import energies_of
from pytest_maxact.numbers.formats import INT8_POLICIES, clip_threshold, integer_distortion, scaled_integers
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.held import Distributions
from tests.support import tiny
from tests.support.measuring import encoded, observed

LENGTHS = [6, 9, 3, 12, 7, 5, 8]
CPU = torch.device("cpu")


def of_one(model: Any, sequence: Any) -> Observer:
    observer = Observer(model, resolve(model, model.config))
    with observer.attached():
        observer.run([PlannedBatch(split="evaluation", sequences=(sequence,))], CPU)
    return observer


def histogram(observer: Observer, site: str, split: str) -> Histogram:
    seen = observer.accumulators[site]
    return Histogram.from_dense(seen.encoding, seen.dense_counts(split))


@pytest.mark.parametrize("batch_tokens", [1, 30, 64])
def test_every_sample_has_what_its_own_histogram_gives_under_the_scales_of_all(batch_tokens: int) -> None:
    model: Any = tiny.random_model("qwen3")
    sequences = encoded(LENGTHS)
    splits = corpus.assign_splits([one.sample for one in sequences])
    evaluated = [one for one in sequences if splits[one.sample.id] == "evaluation"]
    whole = observed(model, sequences, batch_tokens)
    for site in whole.accumulators:
        calibration = histogram(whole, site, "calibration")
        found = whole.losses.of(site, calibration)
        assert found is not None
        for place, sequence in enumerate(sorted(evaluated, key=lambda one: one.sample.id)):
            own = histogram(of_one(model, sequence), site, "evaluation")
            values, counts = own.finite()
            assert found[SIGNAL][place] == pytest.approx(float((values**2 * counts).sum()), rel=2e-3), site
            for policy in INT8_POLICIES:
                cost = scaled_integers(own, clip_threshold(calibration, policy))
                error = cost.rel_rmse**2 * float((values**2 * counts).sum())
                assert found[policy][place] == pytest.approx(error, rel=2e-2), (site, policy)


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_samples_have_together_what_the_site_has_and_routed_rows_tell_of_none(model_type: str) -> None:
    observer = observed(tiny.random_model(model_type), encoded(LENGTHS), 30)
    told = 0
    for name, reading in readings(observer, tiny.word_tokenizer()).items():
        held = reading.held
        assert isinstance(held, Distributions)
        assert (held.int8 is None) == (name.endswith(".gate") and model_type == "qwen3_moe"), name
        if held.int8 is not None:
            for policy in INT8_POLICIES:
                ratio = energies_of(held.int8.errors[policy]).sum() / energies_of(held.int8.signal).sum()
                cost = integer_distortion(held.calibration, held.evaluation, policy)
                assert ratio == pytest.approx(cost.rel_rmse**2, rel=0.023)
                told += 1
    assert told > 10


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_padding_and_what_is_not_finite_count_for_no_sample(side: str, dtype: torch.dtype) -> None:
    planned = PlannedBatch(split="evaluation", sequences=tuple(encoded([5, 9, 1])))
    batch = collate(planned, CPU, side)
    values = torch.randn(batch.rows, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    values[batch.padding] = 1000.0
    values[batch.real[2], 3] = torch.nan
    calibration = Histogram.from_values("bfloat16" if dtype != torch.float16 else "float16", np.array([2.0]))
    encoded_values = encode(values)
    counts, found = Losses(["x"]).counted(
        "x", encoded_values.encoding, encoded_values.bits, spans_of(batch, False, False),
        torch.from_numpy(calibration.dense()),
    )  # fmt: skip
    assert counts.sum() == len(batch.real) * 6
    for place, (sequence, start) in enumerate(zip(planned.sequences, batch.starts, strict=True)):
        first = place * batch.shape[1] + start
        own = (
            values[first : first + len(sequence)].bfloat16()
            if dtype == torch.float32
            else values[first:][: len(sequence)]
        )
        exact = own.double().numpy()[np.isfinite(own.double().numpy())]
        error = exact - np.clip(np.rint(exact / (2 / 127)), -127, 127) * (2 / 127)
        assert found[:, place] == pytest.approx([(exact**2).sum(), (error**2).sum(), (error**2).sum()])


def test_rows_of_experts_that_are_stripped_of_padding_go_to_their_samples() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([5, 9, 1]))), CPU)
    assert spans_of(batch, False, False) == [(0, 5), (9, 18), (18, 19)]
    assert spans_of(batch, True, False) == [(0, 5), (5, 14), (14, 15)]
    assert spans_of(batch, False, True) == []


def test_nothing_is_told_where_the_scales_were_not_those_of_all_of_calibration() -> None:
    model: Any = tiny.random_model("qwen3")
    sequences = encoded(LENGTHS)
    batches = [PlannedBatch(split=("calibration", "evaluation")[at % 2], sequences=(one,))
               for at, one in enumerate(sequences)]  # fmt: skip
    mixed = Observer(model, resolve(model, model.config))
    with mixed.attached():
        mixed.run(batches, CPU, in_order=True)
    assert mixed.losses.of("final_norm", histogram(mixed, "final_norm", "calibration")) is None
    alone = of_one(model, sequences[0])
    assert alone.losses.of("final_norm", histogram(alone, "final_norm", "calibration")) is None


def test_two_passes_with_scales_of_their_own_tell_nothing_together_and_each_alone_goes_on_as_it_was() -> None:
    model: Any = tiny.random_model("qwen3")
    sequences = encoded(LENGTHS)
    one, other = (observed(model, part, 30) for part in (sequences[:3], sequences[3:]))
    again, both = (Observer(model, resolve(model, model.config)) for _ in range(2))
    restore(again, state_of(one))
    restore(both, reduced([state_of(one), state_of(other)]))
    told = 0
    for site in one.accumulators:
        own, kept = (each.losses.of(site, histogram(each, site, "calibration")) for each in (one, again))
        assert own is not None
        assert kept is not None
        assert all(np.array_equal(own[name], kept[name]) for name in own)
        told += both.losses.of(site, histogram(both, site, "calibration")) is not None
    assert not told


def test_what_a_batch_that_is_left_staged_is_forgotten() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([5, 3]))), CPU)
    losses = Losses(["x"])
    seen = SiteAccumulator("x", False, None, losses)
    seen.counts["calibration"] = torch.from_numpy(Histogram.from_values("bfloat16", np.array([2.0])).dense())
    values = torch.ones(batch.rows, 4, dtype=torch.bfloat16)
    for _ in range(2):
        seen.observe(values, batch.padding, in_place, "", batch.shape, spans_of(batch, False, False))
        staged = seen.rollback()
    seen.take_up(staged)
    seen.commit(batch)
    found = losses.of("x", Histogram.from_values("bfloat16", np.array([2.0])))
    assert found is not None
    assert found[SIGNAL].tolist() == [20.0, 12.0]
