"""Counts, peaks and massive entries of one site are those of direct computation, on the host and the way a device
goes.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.measure.observe import massive
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.bits import count_bits, encode
from pytest_maxact.measure.observe.fused import read_plain
from pytest_maxact.measure.observe.rowwork import Found, findings, row_work
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.histogram import BINS
from tests.support import tiny
from tests.support.measuring import encoded, loaded, observed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_device_path_finds_what_the_cpu_shortcut_finds(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the CPU the rows are always looked at; run here on CPU tensors, it must agree with the shortcut that mostly
    skips them.
    """
    sequences = encoded([6, 9, 3, 12, 6, 9, 3, 12] * 3)
    model: Any = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[7] *= 4000
    model = model.to(dtype)
    lazy = observed(model, sequences, batch_tokens=40)
    monkeypatch.setattr(massive, "massive_on_host", massive.massive_on_device)

    def on_a_device(seen: SiteAccumulator, values: Any, padding: Any, locate: Any, part: str, spans: Any) -> Any:
        counts, work = read_plain(values, padding, seen.tests_massive)
        seen._staged.append((findings(values, work, locate), part))
        return counts, work.row_max

    monkeypatch.setattr(SiteAccumulator, "_on_host", on_a_device)
    eager = observed(model, sequences, batch_tokens=40)
    for name, seen in lazy.accumulators.items():
        assert seen.peaks == eager.accumulators[name].peaks, name
        assert seen.massive == eager.accumulators[name].massive
    assert lazy.accumulators["layers.1.hidden"].massive.tokens > 0


def test_the_massive_activation_test_is_that_of_sun_et_al_by_direct_computation() -> None:
    torch.manual_seed(3)
    values = torch.randn(40, 64)
    values[3, 5], values[3, 9], values[8, 1], values[20, 0], values[30, 2] = 5000.0, -2000.0, 90.0, 400.0, 101.0
    values[30] *= torch.where(torch.arange(64) == 2, 1.0, 0.01)
    padding = torch.tensor([20])
    for dtype in (torch.float32, torch.bfloat16):
        x = values.to(dtype)
        magnitude = x.abs().double()
        median = magnitude.median(dim=1, keepdim=True).values
        passing = (magnitude > 100) & (magnitude > 1000 * median)
        passing[20] = False
        candidates = (magnitude.amax(1) > 100) & (torch.arange(40) != 20)
        found = Found.of(findings(x, row_work(encode(x), padding, True), lambda rows: rows)).massive
        assert (found.tokens, found.entries) == (int(passing.any(1).sum()), int(passing.sum()))
        assert found.max_ratio == pytest.approx((magnitude.amax(1) / median[:, 0])[candidates].max().item())
        assert found.tokens >= 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_counts_are_those_of_numpy_whatever_the_threads_and_the_scatter(dtype: torch.dtype) -> None:
    bits = torch.randn(300, 1024).mul(50).to(dtype).view(torch.int16) & 0x7FFF
    expected = np.bincount(bits.numpy().ravel(), minlength=BINS)
    assert np.array_equal(count_bits(bits).numpy(), expected)
    assert np.array_equal(
        torch.zeros(BINS, dtype=torch.int64)
        .scatter_add_(0, bits.flatten().long(), torch.ones(bits.numel(), dtype=torch.int64))
        .numpy(),
        expected,
    )


def test_equal_peaks_rank_by_sample_position_and_channel() -> None:
    sequences = encoded([4, 4])
    plan = PlannedBatch(split="evaluation", sequences=tuple(sequences))
    batch = collate(plan, torch.device("cpu"))
    values = torch.zeros(8, 6, dtype=torch.bfloat16)
    values[5, 3] = values[2, 4] = -7.0
    values[2, 1] = values[6, 0] = 7.0
    seen = SiteAccumulator("x", massive=False)
    seen.observe(values, None, lambda row: row, "")
    seen.commit(batch)
    assert [(p.value, p.sample, p.position, p.channel) for p in seen.peaks[:4]] == [
        (7.0, "s00", 2, 1), (-7.0, "s00", 2, 4), (-7.0, "s01", 1, 3), (7.0, "s01", 2, 0),
    ]  # fmt: skip


def test_no_rows_at_all_leave_no_trace() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([4]))), torch.device("cpu"))
    seen = SiteAccumulator("x", massive=True)
    seen.observe(torch.zeros(0, 6, dtype=torch.bfloat16), None, lambda row: row, "")
    seen.commit(batch)
    assert seen.peaks == []
    assert seen.dense_counts("evaluation").sum() == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [100, 1 << 17])
def test_counting_over_threads_counts_the_same(threads: int, size: int) -> None:
    bits = torch.randint(0, 1 << 15, (size,), generator=torch.Generator().manual_seed(1)).to(torch.int16)
    expected = np.bincount(bits.numpy(), minlength=1 << 15)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert np.array_equal(count_bits(bits).numpy(), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("broken", [False, True])
def test_the_running_m_is_told_after_every_batch_and_ends_as_that_of_the_whole(broken: bool) -> None:
    model: Any = tiny.random_model("qwen3")
    if broken:
        with torch.no_grad():
            model.embed_tokens.weight[5:] = torch.nan
    told: list[tuple[int, int, float]] = []
    anatomy = resolve(model, model.config)
    seen = observe(loaded(model), anatomy, encoded([6, 9, 3, 12] * 3), 24, lambda *how: told.append(how))
    tokens, totals, largest = zip(*told, strict=True)
    assert len(tokens) > 2
    assert list(tokens) == sorted(tokens)
    assert {tokens[-1]} == set(totals)
    assert list(largest) == sorted(largest)
    peaks = [seen.accumulators[site.name].peaks for site in anatomy.sites if site.counted]
    assert largest[-1] == (math.inf if broken else max(abs(found[0].value) for found in peaks))
