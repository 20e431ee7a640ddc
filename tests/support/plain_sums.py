"""Sums of schemes and channels, worked out on the host from what plain hooks capture of linear inputs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums
from tests.support.deployed import Deployed, activations_as_deployed
from tests.support.low_bits import model_of
from tests.support.measuring import encoded, loaded

QUANTIZERS = {name: scheme.activations for name, scheme in SCHEMES.items() if scheme.activations is not None}
NAMES = list(QUANTIZERS)
GROUPS = {name: how.group for name, how in QUANTIZERS.items() if how.group}
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
        wanted.add(rows, activations_as_deployed(rows, name, amax))
    return wanted


def level_magnitudes(sums: SchemeSums, name: str) -> set[float]:
    """Numbers of levels as magnitudes: an integer's own, or the upper bits of a float32 without its sign."""
    if QUANTIZERS[name].is_integer:
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
        at_edge = quantity == "clipped" and QUANTIZERS[name].number == "fp8_e4m3"
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


@cache
def seen_of(model_type: str, dtype: torch.dtype = torch.float32) -> Seen:
    """What plain hooks see of an architecture on sequences of `LENGTHS`."""
    return plain(model_of(model_type, dtype), model_type, encoded(LENGTHS))


@cache
def sums_of(model_type: str, site: str, name: str, dtype: torch.dtype = torch.float32) -> Wanted:
    """What is wanted of a site of it under a scheme."""
    return wanted_of(seen_of(model_type, dtype), site, name, SPLITS)
