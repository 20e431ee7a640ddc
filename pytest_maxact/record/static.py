"""Static scales of an artifact held against what was measured: its scales and readings in, figures of every scale out.

A scale is held against the exact histogram of what it quantizes. Where a site holds several tensors (shared and routed
experts), or several scales are of one (experts, of which runtimes take the largest), the one that reaches farthest is
held against all of it, which tells the least that is lost; the others by their own largest entries alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

from pytest_maxact.numbers.checked import Count, Figure, FigureAboveZero, Flag
from pytest_maxact.numbers.static import INPUT, StaticScale, at_reach, best_reach
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading

_DOWN = re.compile(r"(?:^|[._])(?:down|w2|fc2|output|out)(?:[._]|$)")
_STACKED = "experts"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldScale:
    """A scale, by the name of its `tensor`, against the `site` that it quantizes: `reach`, the largest magnitude that
    it represents, `least` and `most` of the largest entry met (equal where it is known), text as deployed included.

    `sqnr_db`, `clip_rate` and `flush_to_zero` at that scale, of `best_db` at the scale that `would` do; NaN where they
    cannot be told. `exact`: False where more may be lost. `scales`: so many it stands for.
    """

    tensor: str
    site: str
    layer: Count | None
    number: str
    stated: FigureAboveZero
    reach: FigureAboveZero
    least: FigureAboveZero
    most: FigureAboveZero
    sqnr_db: Figure
    clip_rate: Figure
    flush_to_zero: Figure
    best_db: Figure
    would: Figure
    exact: Flag
    scales: Count

    @property
    def overflow(self) -> float:
        """By what factor the largest entry lies beyond the reach; below 1 where it does not."""
        return self.least / self.reach if self.reach > 0 else inf

    @property
    def spare(self) -> float:
        """By what factor the reach lies beyond the largest entry."""
        return self.reach / self.most if self.most > 0 else inf

    @property
    def loss_db(self) -> float:
        """SQNR lost to the scale that would do; NaN where it cannot be told."""
        return 0.0 if self.sqnr_db >= self.best_db else self.best_db - self.sqnr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """Scales of one tensor: the one that reaches farthest, and how many there are."""

    scale: StaticScale
    part: str
    scales: int


def held_scales(scales: Sequence[StaticScale], sites: Mapping[str, SiteReading]) -> tuple[HeldScale, ...]:
    """Every scale of which the site was read, in the order of depth."""
    found: dict[str, list[tuple[StaticScale, str]]] = {}
    paths = {path: name for name, reading in sites.items() for path in reading.shared}
    for scale in scales:
        place = _input(scale, sites, paths) if scale.part == INPUT else _cached(scale, sites)
        if place is not None:
            found.setdefault(place[0], []).append((scale, place[1]))
    return tuple(
        held
        for name, reading in sites.items()
        if name in found
        for held in _held(reading, list(_units(found[name])))
    )  # fmt: skip


def _input(
    scale: StaticScale, sites: Mapping[str, SiteReading], paths: Mapping[str, str]
) -> tuple[str, str] | None:  # fmt: skip
    """The site of a module's input, and the part of it."""
    steps = scale.module.split(".")
    for start in range(len(steps)):
        if (path := ".".join(steps[start:])) in paths:
            return paths[path], sites[paths[path]].shared[path]
    if scale.expert is None:
        return None
    kind = "down_in" if _DOWN.search(steps[-1]) else "mlp_in"
    for name, reading in sites.items():
        if (reading.site.kind, reading.site.layer) == (kind, scale.layer) and _STACKED in reading.shared.values():
            return name, _STACKED
    return None


def _cached(scale: StaticScale, sites: Mapping[str, SiteReading]) -> tuple[str, str] | None:
    """The site of what attention works with: of one scale of keys and values the larger, of latent attention what is
    kept in their place.
    """
    kinds = {"q": ("q",), "k": ("kv_latent", "k"), "v": ("kv_latent", "v"), "kv": ("kv_latent", "k", "v")}[scale.part]
    own = [sites[name] for kind in kinds if (name := f"layers.{scale.layer}.{kind}") in sites]
    if not own:
        return None
    latent = own[0].site.kind == "kv_latent"
    reading = own[0] if latent else max(own, key=lambda one: one.finite_max)
    return reading.site.name, scale.part


def _units(placed: Sequence[tuple[StaticScale, str]]) -> Iterator[_Unit]:
    groups: dict[tuple[str, str], list[StaticScale]] = {}
    for scale, part in placed:
        own = scale.module.rpartition(".")[2] if scale.expert is not None else scale.tensor
        groups.setdefault((part, own), []).append(scale)
    for (part, _), scales in groups.items():
        yield _Unit(scale=max(scales, key=lambda one: one.reach), part=part, scales=len(scales))


def _held(reading: SiteReading, units: Sequence[_Unit]) -> Iterator[HeldScale]:
    parts = set(reading.shared.values())
    farthest = max(unit.scale.reach for unit in units)
    broken = reading.breaks_as_deployed
    most = inf if broken else max(reading.finite_max, reading.as_deployed or 0.0)
    told: dict[tuple[str, float], tuple[float, float]] = {}
    for unit in units:
        scale, whole = unit.scale, len(parts) < 2
        common = {
            "tensor": scale.tensor, "site": reading.site.name, "layer": reading.site.layer, "number": scale.number,
            "stated": scale.stated, "reach": scale.reach, "most": most, "scales": unit.scales,
            "least": most if whole else inf if broken else _of_part(reading, unit.part),
        }  # fmt: skip
        if broken or not (whole or scale.reach == farthest) or not isfinite(scale.reach):
            yield HeldScale(
                **common, sqnr_db=nan, clip_rate=nan, flush_to_zero=nan, best_db=nan, would=nan, exact=False
            )  # fmt: skip
            continue
        seen = reading.histogram
        key = (scale.number, most)
        if key not in told:
            best = best_reach(seen, scale.number, most)
            told[key] = (best, at_reach(seen, scale.number, best).sqnr_db)
        cost = at_reach(seen, scale.number, scale.reach)
        would, best_db = told[key]
        yield HeldScale(
            **common, sqnr_db=cost.sqnr_db, clip_rate=cost.clip_rate, flush_to_zero=cost.flush_to_zero,
            best_db=best_db, would=scale.of_reach(would), exact=scale.exact and whole and unit.scales == 1,
        )  # fmt: skip


def _of_part(reading: SiteReading, part: str) -> float:
    """The largest entry of one of several tensors of a site, in the calibration split; 0.0 where it is not known."""
    held = reading.held
    amax = held.channels.parts.get(part) if isinstance(held, Distributions) and held.channels else None
    return float(amax.max()) if amax is not None and amax.size else 0.0
