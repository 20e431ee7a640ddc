"""The largest entry of every sample: what a plain look at its rows gives, whatever the batch, the dtype or the order of
rows; and what a Record keeps of it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.batch import Batch, collate
from pytest_maxact.measure.observe.maxima import Maxima
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.rowwork import Locate, in_place
from pytest_maxact.measure.readings import readings
from pytest_maxact.record.held import Distributions
from tests.support import tiny
from tests.support.measuring import encoded, observed

LENGTHS = [5, 9, 1, 7]
WIDTH = 6
DTYPES = [torch.bfloat16, torch.float16, torch.float32]


def batch_of(side: str = "right") -> Batch:
    planned = PlannedBatch(split="evaluation", sequences=tuple(encoded(LENGTHS)))
    return collate(planned, torch.device("cpu"), side)


def kept(values: torch.Tensor, batch: Batch, locate: Locate = in_place, calls: int = 1) -> list[list[float]]:
    """What is kept of rows [n, width], seen in several calls; padding is left out where rows are those of the batch."""
    maxima = Maxima(["x"])
    seen = SiteAccumulator("x", massive=False, maxima=maxima)
    if locate is in_place:
        seen.observe(values, batch.padding, locate, "", batch.shape)
    else:
        for offset, part in zip(np.cumsum([0, *map(len, values.chunk(calls))]), values.chunk(calls), strict=False):
            seen.observe(part, None, lambda rows, at=int(offset): locate(rows + at), "", batch.shape)
    seen.commit(batch)
    return maxima.of("x").tolist()


def expected(values: torch.Tensor, batch: Batch, where: Sequence[int]) -> list[list[float]]:
    """Entry by entry: the largest, of equals the earliest token and lowest channel."""
    best: list[Any] = [(0.0, -1, 0, 0.0)] * len(LENGTHS)
    for row, place in enumerate(where):
        sequence, column = divmod(place, batch.ids.shape[1])
        if not batch.mask[sequence, column]:
            continue
        for channel, value in enumerate(values[row].float().tolist()):
            if np.isfinite(value):
                entry = (-abs(value), column - batch.starts[sequence], channel, value)
                best[sequence] = min(best[sequence], entry) if best[sequence][1] >= 0 else entry
    return [[value, position, channel] for _, position, channel, value in best]


def rows(count: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Few distinct numbers, so that there are ties of either sign, and one in twelve that is not finite."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-3, 4, (count, WIDTH), generator=generator).float()
    values[torch.rand(values.shape, generator=generator) < 1 / 12] = float("nan")
    values[torch.rand(values.shape, generator=generator) < 1 / 24] = float("-inf")
    return values.to(dtype)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(4))
def test_rows_of_a_padded_batch_give_the_largest_of_each_of_its_sequences(
    side: str, dtype: torch.dtype, seed: int
) -> None:
    batch = batch_of(side)
    values = rows(batch.rows, dtype, seed)
    values[batch.padding] = 1000.0
    assert kept(values, batch) == expected(values, batch, range(batch.rows))


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_rows_in_another_order_and_in_several_calls_give_the_same(seed: int, calls: int) -> None:
    """As experts are given them: a token several times, in an order of their own."""
    batch = batch_of()
    order = batch.real[torch.randperm(len(batch.real), generator=torch.Generator().manual_seed(seed))]
    order = torch.cat([order, order[:7]])
    values = rows(len(order), torch.bfloat16, seed)
    values[-7:] = values[:7]
    assert kept(values, batch, lambda places: order[places], calls) == expected(values, batch, order.tolist())


def test_a_sample_without_a_finite_entry_has_none_and_hidden_rows_tell_of_no_sample() -> None:
    batch = batch_of()
    broken = torch.full((batch.rows, WIDTH), float("nan"))
    assert kept(broken, batch) == [[0.0, -1.0, 0.0]] * len(LENGTHS)
    hidden = kept(torch.ones(4, WIDTH), batch, lambda places: torch.full_like(places, -1))
    assert np.isnan(hidden).all()


def of_one(model: Any, sequence: Encoded) -> Observer:
    observer = Observer(model, resolve(model, model.config))
    with observer.attached():
        observer.run([PlannedBatch(split="evaluation", sequences=(sequence,))], torch.device("cpu"))
    return observer


def found(observer: Observer) -> dict[str, list[list[float]]]:
    return {name: observer.maxima.of(name).tolist() for name in observer.accumulators}


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_a_pass_keeps_the_peak_of_every_sample_as_a_pass_over_it_alone_finds_it(model_type: str) -> None:
    model: Any = tiny.random_model(model_type)
    sequences = encoded([6, 9, 3, 12, 7])
    alone = [of_one(model, sequence) for sequence in sequences]
    for batch_tokens in (12, 64):
        whole = observed(model, sequences, batch_tokens)
        for name, kept_of in found(whole).items():
            for (value, position, channel), one in zip(kept_of, alone, strict=True):
                peak = one.accumulators[name].peaks[0]
                assert (position, channel) == (peak.position, peak.channel), name
                assert value == pytest.approx(peak.value, rel=1e-4)


def test_none_are_kept_where_they_are_not_asked_for() -> None:
    model: Any = tiny.random_model("qwen3")
    anatomy = resolve(model, model.config)
    observer = Observer(model, anatomy, maxima=False)
    with observer.attached():
        observer.run([PlannedBatch(split="evaluation", sequences=tuple(encoded([6, 3])))], torch.device("cpu"))
    assert observer.maxima.samples == []
    seen = readings(observer, tiny.word_tokenizer())
    assert all(reading.held.maxima is None for reading in seen.values() if isinstance(reading.held, Distributions))
    assert (
        observer.accumulators["embedding"].peaks == observed(model, encoded([6, 3]), 64).accumulators["embedding"].peaks
    )
