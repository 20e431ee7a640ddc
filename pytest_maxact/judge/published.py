"""The published checkpoints, as context: an M in, where it stands among them out. They are no limits; what they are is
read from thresholds.yaml, the one source of published figures.

Source: result files of "Measuring Maximum Activations in Open Large Language Models", arXiv 2605.15572 (Chen et al.,
May 2026, CC BY 4.0).
"""

import functools
import math
from dataclasses import dataclass

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import family_speaking_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One checkpoint: its family, its shape, its M and the site that carries it."""

    model: str
    model_type: str
    family: str
    layers: int
    hidden_size: int
    max_abs: float
    carrier: str


@functools.cache
def published() -> tuple[Published, ...]:
    """The checkpoints of the shipped limits file whose own figures it states, ascending by M."""
    (shipped,) = load_limits()
    found = [
        Published(
            model=name,
            model_type=family.model_types[0],
            family=called,
            layers=shape.layers,
            hidden_size=shape.hidden_size,
            max_abs=checkpoint.max_abs,
            carrier=checkpoint.carrier,
        )
        for called, family in shipped.document.families.items()
        for shape in family.shapes
        for name, checkpoint in shape.figures_of_checkpoints.items()
    ]
    return tuple(sorted(found, key=lambda one: one.max_abs))


def standing(max_abs: float, model_type: str = "") -> str:
    """Where an M stands, in words: rank among the published, neighbours, and where those of its own family lie."""
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
    return f"larger than {len(below)} of {len(every)} published checkpoints: {between}{_of_family(max_abs, model_type)}"


def _of_family(max_abs: float, model_type: str) -> str:
    """Empty for a family of which nothing was published."""
    family = family_speaking_of(load_limits(), model_type)
    own = [one.max_abs for one in published() if one.family == family]
    if not own:
        return ""
    place = "below" if max_abs < own[0] else "above" if max_abs > own[-1] else "within"
    if len(own) == 1:
        return f"; {'at' if place == 'within' else place} the one of its own family, {family} ({own[0]:g})"
    return f"; {place} the {len(own)} of its own family, {family} ({own[0]:g} to {own[-1]:g})"
