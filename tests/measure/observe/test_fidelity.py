"""What a pass sums up of schemes and channels, against sums over what plain hooks capture, one unpadded sample at a
time.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from pytest_maxact import corpus
from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.errors import InputError
from pytest_maxact.measure.observe import fidelity as fidelity_module
from pytest_maxact.measure.observe import observer as observer_module
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.fidelity import Fidelity, Sums, _Exact, level_places, massive_rows
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums
from pytest_maxact.record.reading import SiteReading
from tests.support import records, tiny
from tests.support.deployed import Deployed, by_compressed_tensors
from tests.support.low_bits import model_of
from tests.support.measuring import encoded, loaded, memory_limited

NAMES = [name for name, scheme in SCHEMES.items() if scheme.activations is not None]
GROUPS = {"FP8_BLOCK": 128, "MXFP8": 32, "MXFP4": 32, "NVFP4": 16}
LENGTHS = [9, 17, 5, 12, 9, 3, 14]
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")

_ATTENTION: dict[str, tuple[str, ...]] = {"qkv_in": ("self_attn.q_proj",), "o_in": ("self_attn.o_proj",)}
_DENSE: dict[str, tuple[str, ...]] = {"mlp_in": ("mlp.gate_proj",), "down_in": ("mlp.down_proj",)}
_EXPERTS: dict[str, tuple[str, ...]] = {"mlp_in": ("mlp.experts",), "down_in": ("mlp.experts",)}
READ: dict[str, dict[str, tuple[str, ...]]] = {
    "qwen3": _ATTENTION | _DENSE,
    "qwen3_moe": _ATTENTION | _EXPERTS,
    "mixtral": _ATTENTION | _EXPERTS,
    "gpt_oss": _ATTENTION | _EXPERTS,
    "deepseek_v3": {
        "qkv_in": ("self_attn.q_a_proj", "self_attn.q_b_proj", "self_attn.kv_b_proj"),
        "o_in": ("self_attn.o_proj",),
        "mlp_in": ("mlp.gate_proj", "mlp.experts"),
        "down_in": ("mlp.down_proj", "mlp.experts", "mlp.shared_experts.down_proj"),
    },
}
"""By kind, one module per distinct tensor: the first that is given it."""


def observed(
    model: Any,
    sequences: Sequence[Encoded],
    batch_tokens: int = 1,
    names: Sequence[str] = tuple(NAMES),
    splits: dict[str, str] | None = None,
) -> Observer:
    anatomy = resolve(model, model.config, True)
    if splits is None:
        return observe(loaded(model), anatomy, list(sequences), batch_tokens, schemes=[SCHEMES[name] for name in names])
    observer = Observer(decoder_of(model), anatomy, [SCHEMES[name] for name in names])
    with observer.attached():
        observer.run(corpus.plan_batches(sequences, splits, batch_tokens), torch.device("cpu"))
    observer.finish()
    return observer


@dataclass
class Seen:
    """Tensors given to linear layers, by site and part: rows of one sample [rows, width], and the position of each row
    in it.
    """

    rows: dict[tuple[str, str], list[tuple[str, torch.Tensor, torch.Tensor]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def of(self, key: tuple[str, str], samples: set[str], chosen: set[tuple[str, int]] | None = None) -> torch.Tensor:
        """All rows of some samples, or of some of their tokens."""
        parts = []
        for sample, rows, positions in self.rows[key]:
            if sample in samples:
                keep = [
                    i for i, position in enumerate(positions.tolist()) if chosen is None or (sample, position) in chosen
                ]
                parts.append(rows[keep])
        return torch.cat(parts)


def down_inputs(
    experts: Any, states: torch.Tensor, chosen: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What the last projection of each expert is given, worked out expert by expert: rows and their tokens."""
    for number in range(len(experts.down_proj)):
        _, token = torch.where(chosen.T.eq(number))
        if not len(token):
            continue
        given = states[token]
        # gpt_oss: columns interleaved, clamped at 7, a sigmoid of slope 1.702
        if hasattr(experts, "gate_up_proj_bias"):
            both = given @ experts.gate_up_proj[number] + experts.gate_up_proj_bias[number]
            gate, up = both[..., ::2].clamp(max=7.0), both[..., 1::2].clamp(-7.0, 7.0)
            yield (up + 1) * (gate * torch.sigmoid(gate * 1.702)), token
        else:
            gate, up = linear(given, experts.gate_up_proj[number]).chunk(2, dim=-1)
            yield torch.nn.functional.silu(gate) * up, token


@torch.inference_mode()
def plain(model: Any, model_type: str, sequences: Sequence[Encoded]) -> Seen:
    seen, sample, handles = Seen(), [""], []

    def note(key: tuple[str, str], rows: torch.Tensor, positions: torch.Tensor) -> None:
        seen.rows[key].append((sample[0], rows.clone(), positions))

    def hook(kind: str, path: str, site: str) -> Any:
        part = "experts" if path == "mlp.experts" else path

        def take(module: nn.Module, args: tuple[Any, ...]) -> None:
            states = args[0].reshape(-1, args[0].shape[-1])
            if kind == "down_in" and part == "experts":
                for rows, token in down_inputs(module, states, args[1]):
                    note((site, part), rows, token)
            else:
                note((site, part), states, torch.arange(len(states)))

        return take

    for index, layer in enumerate(model.layers):
        for kind, paths in READ[model_type].items():
            for path in paths:
                if path in {name for name, _ in layer.named_modules()}:
                    handles.append(
                        layer.get_submodule(path).register_forward_pre_hook(hook(kind, path, f"layers.{index}.{kind}"))
                    )
    for sequence in sequences:
        sample[0] = sequence.sample.id
        model(input_ids=torch.tensor([sequence.ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


# -- sums, worked out on the host
# ----------------------------------------------------------------------------------------------------


@dataclass
class Wanted:
    """Sums over rows in float64; `places` are the bins of single rows, `levels` the magnitudes that occur."""

    tokens: int = 0
    entries: int = 0
    nonzero: int = 0
    clipped: int = 0
    flushed: int = 0
    calm_tokens: int = 0
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    places: list[int] = field(default_factory=list)
    levels: set[float] = field(default_factory=set)

    def add(self, x: torch.Tensor, deployed: Deployed) -> None:
        exact, error = x.double().numpy(), (x.double() - deployed.restored.double()).numpy()
        magnitude = np.sort(np.abs(exact), axis=1)
        calm = ~((magnitude[:, -1] > 100) & (magnitude[:, -1] > 1000 * magnitude[:, (x.shape[1] - 1) // 2]))
        signals, errors = (exact**2).sum(1), (error**2).sum(1)
        self.tokens += len(exact)
        self.entries += exact.size
        self.nonzero += int((exact != 0).sum())
        self.clipped += int(deployed.clipped.sum())
        self.flushed += int(((exact != 0) & (deployed.restored.double().numpy() == 0)).sum())
        self.calm_tokens += int(calm.sum())
        for name, value in {
            "signal": signals,
            "error": errors,
            "signal_abs": np.abs(exact),
            "error_abs": np.abs(error),
            "signal_squares": signals**2,
            "error_squares": errors**2,
            "products": signals * errors,
            "calm_signal": signals[calm],
            "calm_error": errors[calm],
        }.items():
            self.sums[name] += float(value.sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.floor((10 * np.log10(signals / errors) - DB_LOWEST) / DB_PER_BIN).clip(0, DB_BINS - 2)
        places[errors == 0] = DB_BINS - 1
        self.places += places.astype(int).tolist()
        self.levels |= set(deployed.levels.abs().flatten().tolist())


def deployed(x: torch.Tensor, name: str, amax: torch.Tensor) -> Deployed:
    """What a scheme does to rows: by compressed-tensors, and for the scheme without a preset, 127 steps of a
    calibration maximum.
    """
    if name != "W8A8_STATIC":
        return by_compressed_tensors(x, name, "activations", low=-amax, high=amax)
    scaled = x / (amax / 127)
    levels = scaled.float().clamp(-127, 127).round()
    return Deployed(restored=levels.to(x.dtype) * (amax / 127), levels=levels, clipped=scaled.abs() > 127)


def wanted_of(
    seen: Seen, site: str, name: str, splits: dict[str, str], chosen: set[tuple[str, int]] | None = None
) -> Wanted:
    """Sums of a site over all parts whose width the scheme's groups divide, each by its own calibration maximum."""
    calibration, evaluation = (
        {s for s, split in splits.items() if split == wanted} for wanted in ("calibration", "evaluation")
    )
    wanted = Wanted()
    parts = [part for where, part in seen.rows if where == site]
    if any(seen.of((site, part), evaluation, chosen).shape[1] % GROUPS.get(name, 1) for part in parts):
        return wanted
    for part in parts:
        amax, rows = seen.of((site, part), calibration).abs().amax(), seen.of((site, part), evaluation, chosen)
        wanted.add(rows, deployed(rows, name, amax))
    return wanted


def level_magnitudes(sums: SchemeSums, name: str) -> set[float]:
    """Numbers of levels as magnitudes: an integer's own, or the upper bits of a float32 without its sign."""
    if name in ("W8A8", "W8A8_STATIC", "W4A8"):
        return {float(level) for level in sums.levels}
    return set((np.array(sums.levels, np.int64).astype(np.uint32) << 20).view(np.float32).tolist())


def places_of(sums: SchemeSums) -> list[int]:
    return [place for place, count in sums.token_db for _ in range(count)]


def check(sums: SchemeSums, wanted: Wanted, name: str, exactly: bool) -> None:
    for quantity in ("tokens", "entries", "calm_tokens"):
        assert getattr(sums, quantity) == getattr(wanted, quantity), quantity
    # With other shapes the last bits of an entry differ, so that one at the edge of a level may fall on its other side;
    # the edge of the range is where a dynamic FP8 scale puts the largest entry of every group.
    for quantity in ("nonzero", "clipped", "flushed"):
        found, expected = getattr(sums, quantity), getattr(wanted, quantity)
        at_edge = quantity == "clipped" and SCHEMES[name].activations.number == "fp8_e4m3"  # type: ignore[union-attr]
        assert found == expected if exactly else at_edge or abs(found - expected) <= 2, quantity
    for quantity, expected in wanted.sums.items():
        assert getattr(sums, quantity) == pytest.approx(expected, rel=1e-5 if exactly else 1e-4), quantity
    places, expected_places = np.array(places_of(sums)), np.sort(wanted.places)
    assert places.shape == expected_places.shape
    assert np.abs(places - expected_places).max() <= 1
    assert (places != expected_places).sum() <= max(2, 0.02 * len(places))
    differing = level_magnitudes(sums, name) ^ wanted.levels
    assert not differing if exactly else len(differing) <= 2


SPLITS = corpus.assign_splits([sequence.sample for sequence in encoded(LENGTHS)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", READ)
def test_sums_of_every_scheme_are_those_over_the_raw_inputs_of_sequences_that_run_alone(
    model_type: str, dtype: torch.dtype
) -> None:
    model, sequences = model_of(model_type, dtype), encoded(LENGTHS)
    observer, seen = observed(model, sequences), plain(model, model_type, sequences)
    assert observer.padded_tokens == 0
    sites = {where for where, _ in seen.rows}
    assert sites == {f"layers.{layer}.{kind}" for layer in range(3) for kind in READ[model_type]}
    found = observer.fidelity.sums
    for site in sites:
        for name in NAMES:
            wanted = wanted_of(seen, site, name, SPLITS)
            assert ((site, name) in found) == (wanted.tokens > 0)
            if wanted.tokens:
                check(found[site, name], wanted, name, exactly=True)
    assert {where for where, _ in found} == sites


@pytest.mark.parametrize(
    ("model_type", "implementation"),
    [
        ("qwen3", "eager"),
        *((name, how) for name in ("qwen3_moe", "mixtral", "deepseek_v3", "gpt_oss") for how in IMPLEMENTATIONS),
    ],
)
def test_padding_and_the_way_experts_run_change_no_sum(model_type: str, implementation: str) -> None:
    model, sequences = model_of(model_type, implementation=implementation), encoded(LENGTHS)
    observer = observed(model, sequences, batch_tokens=60)
    assert observer.padded_tokens > 0
    seen = plain(model_of(model_type), model_type, sequences)
    assert len(observer.fidelity.sums) >= 12 * (len(NAMES) - 1)
    for (site, name), sums in observer.fidelity.sums.items():
        check(sums, wanted_of(seen, site, name, SPLITS), name, exactly=False)


# -- calibration
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 60])
@pytest.mark.parametrize("model_type", READ)
def test_channels_are_the_largest_of_the_calibration_split_alone(model_type: str, batch_tokens: int) -> None:
    model, sequences = model_of(model_type), encoded(LENGTHS)
    observer, seen = observed(model, sequences, batch_tokens), plain(model, model_type, sequences)
    assert (observer.padded_tokens > 0) == (batch_tokens > 1)
    calibration = {sample for sample, split in SPLITS.items() if split == "calibration"}
    assert set(observer.fidelity.channels) == set(seen.rows)
    for key, channels in observer.fidelity.channels.items():
        wanted = seen.of(key, calibration).abs().amax(0)
        torch.testing.assert_close(channels, wanted, rtol=1e-4, atol=1e-6)
        everything = seen.of(key, set(SPLITS)).abs().amax(0)
        assert (everything > wanted * 1.01).any()


def test_a_static_scale_is_the_calibration_maximum_whatever_the_evaluation_split_holds() -> None:
    model, sequences = model_of("qwen3"), encoded(LENGTHS)
    observer, seen = observed(model, sequences, names=["FP8", "W8A8_STATIC"]), plain(model, "qwen3", sequences)
    calibration, evaluation = (
        {s for s, split in SPLITS.items() if split == wanted} for wanted in ("calibration", "evaluation")
    )
    beyond = 0
    for (site, name), sums in observer.fidelity.sums.items():
        [key] = [key for key in seen.rows if key[0] == site]
        relative = seen.of(key, evaluation).abs() / seen.of(key, calibration).abs().amax()
        # An entry equal to the maximum may be rounded beyond it when it is divided by its scale.
        assert (relative > 1 + 1e-6).sum() <= sums.clipped <= (relative > 1 - 1e-6).sum(), name
        beyond += sums.clipped
    assert beyond > 0


# -- sampling
# ----------------------------------------------------------------------------------------------------


LONG = [30, 23, 38, 21, 27, 44, 12, 29, 31, 26, 34, 40]


def sampled(
    monkeypatch: pytest.MonkeyPatch, model: Any, sequences: Sequence[Encoded], batch_tokens: int, most: int, site: str
) -> tuple[Observer, torch.Tensor]:
    """A pass that samples about `most` tokens, and the rows that it sampled at a site."""
    rows: list[torch.Tensor] = []
    original = Fidelity.observe

    def watched(self: Fidelity, tap: Any, values: torch.Tensor, chosen: torch.Tensor, batch: Any) -> None:
        if tap.site.name == site and batch.plan.split == "evaluation" and batch.plan.sequences:
            rows.append(values[chosen].clone())
        original(self, tap, values, chosen, batch)

    with monkeypatch.context() as patch:
        patch.setattr(observer_module, "SAMPLED_TOKENS", most)
        patch.setattr(fidelity_module.Fidelity, "observe", watched)
        observer = observed(model, sequences, batch_tokens)
    return observer, torch.cat(rows)


def whose(rows: torch.Tensor, seen: Seen, key: tuple[str, str], samples: set[str]) -> set[tuple[str, int]]:
    """Sample and position of rows, by the captured row of these samples that each is nearest to."""
    places = [
        (sample, int(position))
        for sample, _, positions in seen.rows[key]
        if sample in samples
        for position in positions
    ]
    every = seen.of(key, samples)
    distance, nearest = torch.cdist(rows.double(), every.double(), compute_mode="donot_use_mm_for_euclid_dist").min(
        dim=1
    )
    assert (distance < 1e-3 * every.norm(dim=1).mean()).all()
    return {places[int(index)] for index in nearest}


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_the_same_tokens_are_sampled_however_the_corpus_is_batched(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sequences = model_of(model_type), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    lengths = {
        sequence.sample.id: len(sequence) for sequence in sequences if splits[sequence.sample.id] == "evaluation"
    }
    stride = -(-sum(lengths.values()) // 60)
    seen = plain(model, model_type, sequences)
    key = next(key for key in seen.rows if key[0] == "layers.1.mlp_in")
    picked = []
    for batch_tokens in (1, 70, 150):
        observer, rows = sampled(monkeypatch, model, sequences, batch_tokens, 60, key[0])
        assert observer.stride == stride > 1
        tokens = whose(rows, seen, key, set(lengths))
        assert len(tokens) == len(rows)
        picked.append(tokens)
        for (site, name), sums in observer.fidelity.sums.items():
            check(sums, wanted_of(seen, site, name, splits, tokens), name, exactly=False)
    assert picked[0] == picked[1] == picked[2]
    per_sample = {sample: sorted(position for s, position in picked[0] if s == sample) for sample in lengths}
    for sample, positions in per_sample.items():
        assert len(positions) in (lengths[sample] // stride, -(-lengths[sample] // stride))
    assert len({positions[0] for positions in per_sample.values() if positions}) > 1
    assert len(picked[0]) == pytest.approx(sum(lengths.values()) / stride, rel=0.1)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_pairs_that_are_sampled_inside_experts_are_those_of_the_sampled_tokens(
    implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sequences = model_of("gpt_oss", implementation=implementation), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    seen = plain(model_of("gpt_oss"), "gpt_oss", sequences)
    observer, rows = sampled(monkeypatch, model, sequences, 150, 60, "layers.2.mlp_in")
    tokens = whose(
        rows,
        seen,
        ("layers.2.mlp_in", "experts"),
        {sample for sample, split in splits.items() if split == "evaluation"},
    )
    assert observer.padded_tokens > 0
    for layer in range(3):
        for name in NAMES:
            site = f"layers.{layer}.down_in"
            wanted = wanted_of(seen, site, name, splits, tokens)
            assert ((site, name) in observer.fidelity.sums) == (wanted.tokens > 0)
            if wanted.tokens:
                assert wanted.tokens == 2 * len(tokens)
                check(observer.fidelity.sums[site, name], wanted, name, exactly=False)


def test_the_sqnr_of_a_sample_lies_within_four_standard_errors_of_that_of_all_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, sequences = model_of("qwen3"), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    everything = observed(model, sequences, 200)
    sample, _ = sampled(monkeypatch, model, sequences, 200, 120, "layers.0.qkv_in")
    tokens = sum(len(sequence) for sequence in sequences if splits[sequence.sample.id] == "evaluation")
    assert everything.stride == 1 < sample.stride
    assert set(sample.fidelity.sums) == set(everything.fidelity.sums)
    for key, sums in sample.fidelity.sums.items():
        # one clipped entry may be most of their error, and a small sample lacks it
        if key[1] in ("FP8", "W8A8_STATIC"):
            continue
        full, error = everything.fidelity.sums[key], sums.sqnr_error_db(tokens)
        assert full.tokens == tokens
        assert full.sqnr_error_db(tokens) == 0.0
        assert 0.0 < error < 1.5
        assert abs(sums.sqnr_db - full.sqnr_db) <= 4 * error, key


# -- massive tokens, memory, broken numbers
# --------------------------------------------------------------------------------------------


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
    for name in NAMES:
        sums = observer.fidelity.sums["layers.0.down_in", name]
        assert sums.tokens - sums.calm_tokens == planted
        check(sums, wanted_of(seen, "layers.0.down_in", name, SPLITS), name, exactly=True)
        calm = Wanted()
        key = ("layers.0.down_in", "mlp.down_proj")
        amax = seen.of(key, {s for s, split in SPLITS.items() if split == "calibration"}).abs().amax()
        rows = seen.of(key, evaluation)
        rows = rows[rows.abs().amax(1) <= 1000 * rows.abs().median(1).values]
        calm.add(rows, deployed(rows, name, amax))
        assert sums.calm_sqnr_db == pytest.approx(10 * math.log10(calm.sums["signal"] / calm.sums["error"]), abs=1e-3)
    # A scale per token spares the others; one for the tensor, from a calibration that met the peak, flushes them.
    dynamic, static = (observer.fidelity.sums["layers.0.down_in", name] for name in ("W8A8", "W8A8_STATIC"))
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
    seen = plain(model_of(model_type), model_type, sequences)
    assert tight.out_of_memory > 0
    assert set(tight.fidelity.sums) == set(calm.fidelity.sums)
    for (site, name), sums in tight.fidelity.sums.items():
        check(sums, wanted_of(seen, site, name, SPLITS), name, exactly=False)
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
    assert {name for _, name in observer.fidelity.sums} == set(NAMES) - {"FP8", "W8A8_STATIC", "NVFP4"}


def sums_over(x: torch.Tensor, name: str, amax: torch.Tensor) -> SchemeSums:
    """The sums of an evaluation batch of rows [n, width], all of them sampled, after a calibration that met `amax`."""
    fidelity = Fidelity([SCHEMES[name]])
    tap = Tap(site=Site(kind="qkv_in", layer=0), module=nn.Identity())
    for split, rows in (("calibration", amax.to(x.dtype).expand(1, x.shape[1])), ("evaluation", x)):
        batch = collate(PlannedBatch(split=split, sequences=tuple(encoded([len(rows)]))), torch.device("cpu"))
        fidelity.observe(tap, rows, batch.sampled, batch)
        fidelity.commit()
    return fidelity.sums["layers.0.qkv_in", name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_sums_over_many_rows_are_added_up_piece_by_piece(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn((50, 128), generator=torch.Generator().manual_seed(1)).to(dtype)
    x[3], x[7, :100], x[9, 4] = 0.0, 0.0, 700.0
    amax, wanted = x.abs().amax() * 0.5, Wanted()
    wanted.add(x, deployed(x, name, amax))
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
    sums.add(_Exact.of(rows), how, torch.tensor(1.0))
    assert sum(count for _, count in sums.read().token_db) == 3
    places = level_places(quantize(rows, how, torch.tensor(1.0)).levels, how).long()
    assert places.min() >= 0
    assert places.max() < 2048


def test_parts_quantized_with_scales_of_their_own_do_not_merge() -> None:
    one, other = (records.reading([[1.0, 2.0]], [[1.0, 2.0]], "layers.0.o_in") for _ in range(2))
    scaled = [Channels({"a": np.array([1.0, peak], np.float32)}) for peak in (2.0, 3.0)]

    def part(reading: SiteReading, channels: Channels, scheme: str) -> SiteReading:
        return replace(reading, schemes={scheme: SchemeSums(tokens=1)}, channels=channels)

    for scheme in ("FP8", "W8A8_STATIC", "NVFP4"):
        with pytest.raises(
            InputError, match="were quantized with scales of different calibration samples and do not merge"
        ):
            part(one, scaled[0], scheme) + part(other, scaled[1], scheme)
    joined = part(one, scaled[0], "W8A8") + part(other, scaled[1], "W8A8")
    assert joined.channels == Channels({"a": np.array([1.0, 3.0], np.float32)})
    assert joined.schemes["W8A8"].tokens == 2
