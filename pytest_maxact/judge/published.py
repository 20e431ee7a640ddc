"""The published checkpoints, as context: an M in, where it stands among them out. They are no limits; what they are is
read from thresholds.yaml, the one source of published figures.

Source: result files of "Measuring Maximum Activations in Open Large Language Models", arXiv 2605.15572 (Chen et al.,
May 2026, CC BY 4.0).
"""

import functools
import math
from dataclasses import dataclass

from pytest_maxact.judge.limits.file import load_limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One checkpoint: its shape, its M and the site that carries it."""

    model: str
    model_type: str
    layers: int
    hidden_size: int
    max_abs: float
    carrier: str


@dataclass(frozen=True, slots=True)
class Tier:
    """An observed range of M and who sits there; the paper gives no sharper cut-offs."""

    low: float
    high: float
    members: str


TIERS = (
    Tier(100, 1_000, "Qwen3.5, MoE"),
    Tier(1_664, 2_992, "small Gemma"),
    Tier(3_984, 35_328, "Qwen2.5, Qwen3 dense, Ling"),
    Tier(145_408, 157_696, "gpt-oss-20b, gemma-2-27b"),
    Tier(245_760, 696_320, "Gemma3"),
)
"""The paper's rounded ranges; where its rounding excludes a member, that member's exact figure is the end."""


@functools.cache
def published() -> tuple[Published, ...]:
    """The checkpoints of the shipped limits file whose own figures it states, ascending by M."""
    (shipped,) = load_limits()
    found = [
        Published(
            model=name,
            model_type=family.model_types[0],
            layers=shape.layers,
            hidden_size=shape.hidden_size,
            max_abs=checkpoint.max_abs,
            carrier=checkpoint.carrier,
        )
        for family in shipped.document.families.values()
        for shape in family.shapes
        for name, checkpoint in shape.figures_of_checkpoints.items()
    ]
    return tuple(sorted(found, key=lambda one: one.max_abs))


def standing(max_abs: float) -> str:
    """Where an M stands, in words: rank among the published, neighbours, tier."""
    if not math.isfinite(max_abs):
        return "not comparable with published checkpoints: it has non-finite activations"
    every = published()
    below = [p for p in every if p.max_abs < max_abs]
    equal = [p for p in every if p.max_abs == max_abs]
    above = [p for p in every if p.max_abs > max_abs]
    neighbours = [
        f"above {below[-1].model} ({below[-1].max_abs:g})" if below else "",
        f"equal to {', '.join(p.model for p in equal)}" if equal else "",
        f"below {above[0].model} ({above[0].max_abs:g})" if above else "",
    ]
    between = " and ".join(part for part in neighbours if part)
    tier = next((t for t in TIERS if t.low <= max_abs <= t.high), None)
    range_words = f"; in the range of {tier.members}" if tier else ""
    return f"larger than {len(below)} of {len(every)} published checkpoints: {between}{range_words}"
