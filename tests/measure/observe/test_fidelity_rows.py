"""Massive rows, rows that do not fit into memory and rows that are not finite."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import InputError
from pytest_maxact.measure.observe import fidelity as fidelity_module
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.massive import massive_rows
from pytest_maxact.measure.observe.sums import Exact, Sums, level_places
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.sums import DB_LOWEST, DB_PER_BIN, SchemeSums
from pytest_maxact.record.reading import SiteReading, distributions_of
from tests.support import records, tiny
from tests.support.deployed import activations_as_deployed
from tests.support.low_bits import model_of
from tests.support.measuring import encoded, memory_limited
from tests.support.plain_sums import (
    LENGTHS,
    NAMES,
    SPLITS,
    Wanted,
    check,
    observed,
    places_of,
    plain,
    sums_of,
    wanted_of,
)


def test_the_sqnr_without_massive_tokens_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # The peak word's up projection makes one channel of what the down projection is given 4 000 times the rest.
    model = model_of("qwen3")
    with torch.no_grad():
        model.embed_tokens.weight[:, tiny.FLAG_CHANNEL] = 0.0
        model.embed_tokens.weight[3] *= 0.01
        model.embed_tokens.weight[3, tiny.FLAG_CHANNEL] = 60.0
        for layer in model.layers:
            layer.self_attn.v_proj.weight.zero_()
            layer.mlp.up_proj.weight[7, tiny.FLAG_CHANNEL] = 900.0
            layer.mlp.gate_proj.weight[7, tiny.FLAG_CHANNEL] = 10.0
    sequences = encoded(LENGTHS)
    peaked = [
        type(sequence)(
            sample=sequence.sample,
            ids=(*sequence.ids[:2], 3, *sequence.ids[3:]) if number in (0, 1, 2, 3, 4) else sequence.ids,
        )
        for number, sequence in enumerate(sequences)
    ]
    observer, seen = observed(model, peaked), plain(model, "qwen3", peaked)
    evaluation = {sample for sample, split in SPLITS.items() if split == "evaluation"}
    planted = sum(3 in sequence.ids for sequence in peaked if sequence.sample.id in evaluation)
    assert planted > 0
    found = observer.fidelity.sums
    for name in NAMES:
        sums = found["layers.0.down_in", name]
        assert sums.tokens - sums.calm_tokens == planted
        check(sums, wanted_of(seen, "layers.0.down_in", name, SPLITS), name, exactly=True)
        calm = Wanted()
        key = ("layers.0.down_in", "mlp.down_proj")
        amax = seen.of(key, {s for s, split in SPLITS.items() if split == "calibration"}).abs().amax()
        rows = seen.of(key, evaluation)
        rows = rows[rows.abs().amax(1) <= 1000 * rows.abs().median(1).values]
        calm.add(rows, activations_as_deployed(rows, name, amax))
        assert sums.calm_sqnr_db == pytest.approx(10 * math.log10(calm.sums["signal"] / calm.sums["error"]), abs=1e-3)
    # A scale per token spares the others; one for the tensor, from a calibration that met the peak, flushes them.
    dynamic, static = (found["layers.0.down_in", name] for name in ("W8A8", "W8A8_STATIC"))
    assert dynamic.calm_sqnr_db > 30 > 10 > static.calm_sqnr_db


@pytest.mark.parametrize(
    ("row", "massive"),
    [
        ([0.1] * 63 + [100.0], False), ([0.1] * 63 + [101.0], True), ([0.2] * 63 + [101.0], False),
        ([0.0] * 32 + [0.5] * 31 + [-150.0], True),
        ([0.0] * 31 + [0.5] * 32 + [-150.0], False), ([0.0] * 64, False),
    ],
)  # fmt: skip
def test_a_row_is_massive_above_a_hundred_and_a_thousand_times_its_median(row: list[float], massive: bool) -> None:
    rows = torch.tensor([[0.3] * 64, row])
    assert massive_rows(rows).tolist() == [False, massive]


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_a_batch_that_did_not_fit_leaves_no_trace_in_sums_and_channels(model_type: str) -> None:
    sequences = encoded(LENGTHS)
    calm, tight = (
        observed(model_of(model_type), sequences),
        observed(memory_limited(model_of(model_type), 20), sequences, batch_tokens=200),
    )
    assert tight.out_of_memory > 0
    found = tight.fidelity.sums
    assert set(found) == set(calm.fidelity.sums)
    for (site, name), sums in found.items():
        check(sums, sums_of(model_type, site, name), name, exactly=False)
    for key, channels in tight.fidelity.channels.items():
        torch.testing.assert_close(channels, calm.fidelity.channels[key], rtol=1e-4, atol=1e-6)


def test_a_corpus_without_an_evaluation_split_has_channels_and_no_sums() -> None:
    sequences = encoded([6, 4])
    observer = observed(model_of("qwen3"), sequences, splits=dict.fromkeys(("s00", "s01"), "calibration"))
    assert observer.fidelity.channels
    assert not observer.fidelity.sums


def test_without_a_calibration_split_no_static_scheme_is_summed() -> None:
    sequences = encoded([6, 4])
    observer = observed(model_of("qwen3"), sequences, splits=dict.fromkeys(("s00", "s01"), "evaluation"))
    assert not observer.fidelity.channels
    assert {name for _, name in observer.fidelity.sums} == {
        name for name in NAMES if not SCHEMES[name].needs_calibration
    }


def sums_over(x: torch.Tensor, name: str, amax: torch.Tensor) -> SchemeSums:
    """The sums of an evaluation batch of rows [n, width], all of them sampled, after a calibration that met `amax`."""
    fidelity = Fidelity([SCHEMES[name]])
    tap = Tap(site=Site(kind="qkv_in", layer=0), module=nn.Identity())
    for split, rows in (("calibration", amax.to(x.dtype).expand(1, x.shape[1])), ("evaluation", x)):
        batch = collate(PlannedBatch(split=split, sequences=tuple(encoded([len(rows)]))), torch.device("cpu"))
        fidelity.observe(tap, rows, batch.sampled, batch)
        fidelity.commit(batch)
    return fidelity.sums["layers.0.qkv_in", name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_sums_over_many_rows_are_added_up_piece_by_piece(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn((50, 128), generator=torch.Generator().manual_seed(1)).to(dtype)
    x[3], x[7, :100], x[9, 4] = 0.0, 0.0, 700.0
    amax, wanted = x.abs().amax() * 0.5, Wanted()
    wanted.add(x, activations_as_deployed(x, name, amax))
    monkeypatch.setattr(fidelity_module, "_PIECE", 7 * 128)
    sums = sums_over(x, name, amax)
    check(sums, wanted, name, exactly=True)


def test_float64_is_quantized_as_float32() -> None:
    x = torch.randn(5, 128, dtype=torch.float64)
    assert sums_over(x, "W8A8", x.abs().amax()) == sums_over(x.float(), "W8A8", x.abs().amax())


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_token_that_is_not_finite_never_passes_for_a_good_one(name: str, broken: float) -> None:
    x = torch.randn((4, 128), generator=torch.Generator().manual_seed(1)).bfloat16()
    amax = x.abs().amax()
    x[2, 17] = broken
    sums = sums_over(x, name, amax)
    assert not sums.sqnr_db >= 0.0
    # Of four tokens one is broken: the worst quarter is its.
    assert not sums.token_quantile_db(0.25) >= 0.0
    assert max(places_of(sums)) < (60 - DB_LOWEST) / DB_PER_BIN


@pytest.mark.parametrize("name", NAMES)
def test_energies_beyond_float32_never_pass_for_a_better_ratio(name: str) -> None:
    x = torch.randn((4, 128), generator=torch.Generator().manual_seed(1))
    plain_size, huge = (sums_over(x * factor, name, x.abs().amax() * factor) for factor in (1.0, 2.0**66))
    assert not huge.sqnr_db > plain_size.sqnr_db + 0.01
    assert not huge.token_quantile_db(0.5) > plain_size.token_quantile_db(0.5) + 2 * DB_PER_BIN


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_entry_has_a_level_that_can_be_counted_on_any_device(name: str, broken: float) -> None:
    """An index from a NaN would be out of bounds, which on a GPU ends the process before the site is named."""
    rows = torch.rand((3, 128))
    rows[1, 7] = broken
    how = SCHEMES[name].activations
    assert how is not None
    sums = Sums(rows.device)
    sums.add(Exact.of(rows), how, torch.tensor(1.0))
    assert sum(count for _, count in sums.read().token_db) == 3
    places = level_places(quantize(rows, how, torch.tensor(1.0)).levels, how).long()
    assert places.min() >= 0
    assert places.max() < 2048


def test_parts_quantized_with_scales_of_their_own_do_not_merge() -> None:
    one, other = (records.reading([[1.0, 2.0]], [[1.0, 2.0]], "layers.0.o_in") for _ in range(2))
    scaled = [Channels({"a": np.array([1.0, peak], np.float32)}) for peak in (2.0, 3.0)]

    def part(reading: SiteReading, channels: Channels, scheme: str) -> SiteReading:
        return records.holding(reading, schemes={scheme: SchemeSums(tokens=1)}, channels=channels)

    for scheme in (name for name in NAMES if SCHEMES[name].needs_calibration):
        with pytest.raises(
            InputError, match="were quantized with scales of different calibration samples and do not merge"
        ):
            part(one, scaled[0], scheme) + part(other, scaled[1], scheme)
    joined = part(one, scaled[0], "W8A8") + part(other, scaled[1], "W8A8")
    assert distributions_of(joined).channels == Channels({"a": np.array([1.0, 3.0], np.float32)})
    assert distributions_of(joined).schemes["W8A8"].tokens == 2
