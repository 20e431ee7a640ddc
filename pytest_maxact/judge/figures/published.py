"""Published checkpoints layer by layer, as plain data: what a model's own figures are drawn among, and the paper's
plots redrawn from. They are no limits.

`published.json`, written by tools/write_published.py, holds them: result files of "Measuring Maximum Activations in
Open Large Language Models", arXiv 2605.15572 (Chen et al., May 2026, CC BY 4.0).
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import family_speaking_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheckpoint:
    """One checkpoint. `maxima`: by site kind, in the order of layers; of the residual stream `massive_ratios`, the
    largest ratio of an entry to its token's median, None where no entry counted, and the tokens that meet the
    massive-activation criterion.
    """

    name: str
    series: str
    family: str
    layers: int
    hidden_size: int
    moe: bool
    max_abs: float
    carrier: str
    maxima: Mapping[str, tuple[float, ...]]
    massive_ratios: tuple[float | None, ...]
    massive_tokens: tuple[int, ...]

    @property
    def stream(self) -> tuple[float, ...]:
        """The residual maxima: the embedding, then after every layer."""
        return (*self.maxima["embedding"], *self.maxima["hidden"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedInt8:
    """The paper's INT-8 check of one checkpoint's carrier under one policy."""

    model: str
    site: str
    policy: str
    threshold: float
    sqnr_db: float
    rel_rmse: float
    clip_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSubsets:
    """M of subsets of one size."""

    model: str
    samples: int
    max_abs: tuple[float, ...]


@functools.cache
def published_checkpoints() -> tuple[PublishedCheckpoint, ...]:
    """By name."""
    limits = load_limits()
    return tuple(
        PublishedCheckpoint(
            name=name,
            series=one["series"],
            family=family_speaking_of(limits, one["model_type"]) or one["model_type"],
            layers=one["layers"],
            hidden_size=one["hidden_size"],
            moe=one["moe"],
            max_abs=one["max_abs"],
            carrier=one["carrier"],
            maxima={kind: tuple(values) for kind, values in one["maxima"].items()},
            massive_ratios=tuple(one["massive_ratios"]),
            massive_tokens=tuple(one["massive_tokens"]),
        )
        for name, one in _stored()["checkpoints"].items()
    )


def published_int8() -> tuple[PublishedInt8, ...]:
    return tuple(PublishedInt8(**row) for row in _stored()["int8"])


def published_subsets() -> tuple[PublishedSubsets, ...]:
    return tuple(PublishedSubsets(**{**row, "max_abs": tuple(row["max_abs"])}) for row in _stored()["bootstrap"])


@functools.cache
def _stored() -> Mapping[str, Any]:
    text = files("pytest_maxact.judge.figures").joinpath("published.json").read_text(encoding="utf-8")
    stored: Mapping[str, Any] = json.loads(text)
    return stored
