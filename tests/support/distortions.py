"""Distortions of stored weights, and what they are of the raw matrices."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights import stored as stored
from pytest_maxact.checkpoint.weights.distortion import weight_distortions
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.settings.settings import Settings
from tests.support.deployed import weights_as_deployed

Errors = dict[str, dict[str, dict[str, WeightDistortion]]]
WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_hidden_layers": 1}
EVERY = tuple(name for name, scheme in SCHEMES.items() if scheme.is_of_linears)


def errors_of(folder: Path, names: Sequence[str] = ("W8A8",), model: nn.Module | None = None) -> Errors:
    """What the files in a folder give, for a model that holds no weights."""
    model = skeleton(locate(Settings(model=str(folder)), weights=False)).body if model is None else model
    return weight_distortions(
        weight_files(folder), model, resolve(model, model.config, True).linears, [SCHEMES[name] for name in names]
    )


def flat(errors: Errors) -> dict[str, dict[str, WeightDistortion]]:
    """By weight alone."""
    return {path: by_scheme for site in errors.values() for path, by_scheme in site.items()}


def saved(folder: Path, model: nn.Module, dtype: torch.dtype = torch.float32) -> Path:
    model.to(dtype).save_pretrained(folder)
    return folder


def edited(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A checkpoint of one file, its tensors changed."""
    file = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def expected(matrices: Sequence[torch.Tensor], name: str, rows: slice = slice(None)) -> dict[str, float]:
    """The figures of matrices [out, in] as compressed-tensors quantizes each; of `rows` of theirs where a file holds
    more than one weight in one.
    """
    totals: list[tuple[float, ...]] = []
    for whole in matrices:
        if SCHEMES[name].cast:
            restored = levels = whole.to(getattr(torch, SCHEMES[name].cast)).to(torch.float64)
            clipped = restored.isinf()
        else:
            deployed = weights_as_deployed(whole, name)
            restored, levels, clipped = deployed.restored, deployed.levels, deployed.clipped
        x, restored, levels, clipped = whole.double()[rows], restored.double()[rows], levels[rows], clipped[rows]
        flushed = (x != 0) & (levels == 0)
        counts = (x.numel(), (x != 0).sum().item(), clipped.sum().item(), flushed.sum().item())
        totals.append((*counts, (x * x).sum().item(), ((x - restored) ** 2).sum().item()))
    entries, nonzero, clipped_all, flushed_all, signal, error = (sum(column) for column in zip(*totals, strict=True))
    return {
        "entries": entries,
        "sqnr_db": db(signal, error),
        "lowest_db": min(db(s, e) for *_, s, e in totals),
        "rel_rmse": math.sqrt(error / signal),
        "clip_rate": clipped_all / entries,
        "flush_to_zero": flushed_all / nonzero,
        "most_flushed": max(flushed / nonzero for _, nonzero, _, flushed, *_ in totals),
    }


def db(signal: float, error: float) -> float:
    return 10.0 * math.log10(signal / error) if error else math.inf


def figures(error: WeightDistortion) -> dict[str, float]:
    assert not error.refused
    names = ("entries", "sqnr_db", "lowest_db", "rel_rmse", "clip_rate", "flush_to_zero", "most_flushed")
    return {name: getattr(error, name) for name in names}


def assert_equal(error: WeightDistortion, wanted: dict[str, float]) -> None:
    assert figures(error) == pytest.approx(wanted, rel=2e-6, abs=1e-12)
