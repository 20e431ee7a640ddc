"""M among the published checkpoints: an M in, all of them in order, with the tiers that were observed, out."""

from dataclasses import dataclass

from pytest_maxact.judge.figures.published import published_checkpoints
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One checkpoint: its M, inf where an entry is not finite, and the site that carries it. `own`: the model itself;
    `akin`: a published one of its family.
    """

    model: str
    max_abs: float
    carrier: str
    own: bool
    akin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A range of M in which published checkpoints lie, and which those are."""

    low: float
    high: float
    of: str


TIERS = (
    Tier(low=100, high=1000, of="Qwen3.5, MoE"),
    Tier(low=1600, high=3000, of="small Gemma"),
    Tier(low=3_984, high=35_328, of="Qwen2.5, Qwen3 dense, Ling"),
    Tier(low=145_408, high=157_696, of="gpt-oss-20b, gemma-2-27b"),
    Tier(low=245_760, high=696_320, of="Gemma3"),
)
"""As the paper has them: ranges that were observed, not bounds."""


def ranked(record: Record, name: str, family: str) -> tuple[Ranked, ...]:
    """Ascending; what is not finite comes last."""
    own = Ranked(
        model=name,
        max_abs=record.carrier.max_abs,
        carrier=record.carrier.site.name,
        own=True,
        akin=False,
    )
    others = [
        Ranked(model=one.name, max_abs=one.max_abs, carrier=one.carrier, own=False, akin=one.family == family)
        for one in published_checkpoints()
    ]
    return tuple(sorted((*others, own), key=lambda one: (one.max_abs, one.own)))
