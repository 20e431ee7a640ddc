"""Static scales of an artifact held against what was measured: its scales and readings in, figures of every scale out.

A scale is held against the exact histogram of what it quantizes. Where a site holds several tensors (shared and routed
experts), or several scales are of one (experts, of which runtimes take the largest), the one that reaches farthest is
held against all of it, which tells the least that is lost; the others by their own largest entries alone. Of
projections that runtimes fuse the largest number is held, which is the one that they are served with.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, isnan, nan

from pytest_maxact.numbers.checked import LATER, Count, Figure, FigureAboveZero, Flag
from pytest_maxact.numbers.formats import FP8_MAX
from pytest_maxact.numbers.sites import ATTENTION_KINDS, Site
from pytest_maxact.numbers.static import CACHE, INPUT, StaticScale, at_reach, best_reach, fair_db, top_of
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.low_bits import LowBits
from pytest_maxact.record.reading import SiteReading

_DOWN = re.compile(r"(?:^|[._])(?:down|w2|fc2|output|out)(?:[._]|$)")
_STACKED = "experts"
_HALF_A_STEP = 16 / FP8_MAX
"""Of E4M3 at its largest number, relative to it."""
_BY_CHANCE = 1.0
"""Decibels; where no more is lost, nobody asks by what chance."""
_FUSED = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "qkv"), **dict.fromkeys(("gate_proj", "up_proj"), "gate_up"),
    **dict.fromkeys(("w1", "w3"), "w13"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldScale:
    """A scale, by the name of its `tensor`, against the `site` that it quantizes: `reach`, the largest magnitude that
    it represents, `least` and `most` of the largest entry met (equal where it is known), text as deployed included. Of
    scales a head `reach` is the farthest, and `least` what the head that exceeds its own most would be under that.

    `sqnr_db`, `clip_rate` and `flush_to_zero` at that scale, of `best_db` at the scale that `would` do; NaN where they
    cannot be told. `fair_db`: what would do as well but for chance, None where `best_db` stands for it. `exact`: False
    where more may be lost. `scales`: so many it stands for.
    """

    tensor: str
    site: str
    layer: Count | None
    number: str
    stated: FigureAboveZero
    reach: FigureAboveZero
    least: FigureAboveZero
    most: FigureAboveZero
    scales: Count = 1
    sqnr_db: Figure = nan
    clip_rate: Figure = nan
    flush_to_zero: Figure = nan
    best_db: Figure = nan
    would: Figure = nan
    exact: Flag = False
    fair_db: Figure | None = field(default=None, metadata=LATER)

    @property
    def is_told(self) -> bool:
        """Whether it is known what the scale costs, and not its reach alone."""
        return not isnan(self.best_db)

    @property
    def overflow(self) -> float:
        """By what factor the largest entry lies beyond the reach; below 1 where it does not."""
        return self.least / self.reach if self.reach > 0 else inf

    @property
    def is_short(self) -> bool:
        """Whether the largest entry is cut by more than rounding next to the largest number may change it."""
        half_a_step = 0.5 / top_of(self.number) if self.number.startswith("int") else _HALF_A_STEP
        return self.overflow > 1 + half_a_step

    @property
    def spare(self) -> float:
        """By what factor the reach lies beyond the largest entry; 1 of a cache's scale of exactly 1.0, which stands
        where none was calibrated.
        """
        if self.stated == 1.0 and self.site.rpartition(".")[2] in ATTENTION_KINDS:
            return 1.0
        return self.reach / self.most if self.most > 0 else inf

    @property
    def would_db(self) -> float:
        """SQNR at the scale that would do, as far as that is no chance; NaN where it cannot be told."""
        return self.best_db if self.fair_db is None else min(self.best_db, self.fair_db)

    @property
    def loss_db(self) -> float:
        """SQNR lost to the scale that would do; NaN where it cannot be told."""
        return 0.0 if self.sqnr_db >= self.would_db else self.would_db - self.sqnr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """Scales of one tensor: of experts the one that reaches farthest, of projections that a runtime fuses the largest
    number, which is what runs (`exact`), and how many there are.
    """

    scale: StaticScale
    part: str
    scales: int
    exact: bool


def are_held(calls: Collection[str], sites: Iterable[Site]) -> bool:
    """Whether static scales that a runtime is told to use, of inputs or of the cache, are of sites that are read."""
    seen = list(sites)
    return (INPUT in calls and any(site.is_linear_input for site in seen)) or (
        CACHE in calls and any(site.is_of_attention for site in seen)
    )


def held_of(low_bits: LowBits | None, sites: Mapping[str, SiteReading]) -> tuple[HeldScale, ...] | None:
    """Of an artifact that says `low_bits`; None where nothing is to be held."""
    if low_bits is None or not are_held(low_bits.calls, (reading.site for reading in sites.values())):
        return None
    return held_scales(low_bits.static, sites)


def unheld(
    low_bits: LowBits | None, sites: Mapping[str, SiteReading], held: Collection[HeldScale]
) -> tuple[str, ...]:  # fmt: skip
    """Of `input` and `cache`, what static scales are called for and sites of it were read, and not one was held."""
    seen = [reading.site for reading in sites.values()]
    found = [sites[one.site].site for one in held if one.site in sites]
    calls = [call for call in (low_bits.calls if low_bits else ()) if are_held([call], seen)]
    return tuple(
        call for call in calls if not any(site.is_linear_input if call == INPUT else site.is_cached for site in found)
    )  # fmt: skip


def unplaced(low_bits: LowBits | None, sites: Mapping[str, SiteReading]) -> tuple[str, ...]:
    """Names of the scales that are of nothing that was read, though sites of their kind, input or cache, were."""
    if low_bits is None:
        return ()
    seen = [reading.site for reading in sites.values()]
    read = [scale for scale in low_bits.static if are_held([INPUT if scale.part == INPUT else CACHE], seen)]
    paths = _paths(sites)
    lacking = [scale for scale in read if _place(scale, sites, paths) is None]
    return tuple(scale.tensor for scale in lacking if scale.apart or not _of_latent(scale, sites))


def held_scales(scales: Sequence[StaticScale], sites: Mapping[str, SiteReading]) -> tuple[HeldScale, ...]:
    """Every scale of which the site was read, in the order of depth."""
    found: dict[str, list[tuple[StaticScale, str]]] = {}
    paths = _paths(sites)
    for scale in scales:
        place = _place(scale, sites, paths)
        if place is not None:
            found.setdefault(place[0], []).append((scale, place[1]))
    return tuple(
        held
        for name, reading in sites.items()
        if name in found
        for held in _held(reading, list(_units(found[name])))
    )  # fmt: skip


def _paths(sites: Mapping[str, SiteReading]) -> dict[str, str]:
    """The site of every linear layer, by its path."""
    return {path: name for name, reading in sites.items() for path in reading.shared}


def _place(
    scale: StaticScale, sites: Mapping[str, SiteReading], paths: Mapping[str, str]
) -> tuple[str, str] | None:  # fmt: skip
    """The site that a scale is of, and the part of it; None where that was not read."""
    if scale.apart:
        return None
    return _input(scale, sites, paths) if scale.part == INPUT else _cached(scale, sites)


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
    kept in their place, for which runtimes read the scale of keys alone.
    """
    if _of_latent(scale, sites):
        return None
    kinds = {"q": ("q",), "k": ("kv_latent", "k"), "v": ("v",), "kv": ("kv_latent", "k", "v")}[scale.part]
    own = [sites[name] for kind in kinds if (name := f"layers.{scale.layer}.{kind}") in sites]
    if not own:
        return None
    latent = own[0].site.kind == "kv_latent"
    reading = own[0] if latent else max(own, key=lambda one: one.finite_max)
    return reading.site.name, scale.part


def _of_latent(scale: StaticScale, sites: Mapping[str, SiteReading]) -> bool:
    """Whether it is of values where latent attention keeps none, which no runtime reads."""
    return scale.part == "v" and f"layers.{scale.layer}.kv_latent" in sites


def _units(placed: Sequence[tuple[StaticScale, str]]) -> Iterator[_Unit]:
    groups: dict[tuple[str, str, str], list[StaticScale]] = {}
    for scale, part in placed:
        parent, _, last = scale.module.rpartition(".")
        fused = _FUSED.get(last)
        own = fused or last if scale.expert is not None else f"{parent}.{fused}" if fused else scale.tensor
        groups.setdefault((part, own, scale.number), []).append(scale)
    for (part, _, _), scales in groups.items():
        experts = scales[0].expert is not None
        worth = [one.reach if experts else one.stated for one in scales]
        largest = max(range(len(scales)), key=lambda place: (isnan(worth[place]), worth[place]))
        exact = scales[largest].exact and (len(scales) == 1 or not experts)
        yield _Unit(scale=scales[largest], part=part, scales=len(scales), exact=exact)


def _held(reading: SiteReading, units: Sequence[_Unit]) -> Iterator[HeldScale]:
    parts = set(reading.shared.values())
    farthest = max(unit.scale.reach for unit in units)
    broken = reading.breaks_as_deployed
    most = inf if broken else max(reading.finite_max, reading.as_deployed or 0.0)
    told: dict[str, tuple[float, float]] = {}
    for unit in units:
        scale, whole = unit.scale, len(parts) < 2
        found = HeldScale(
            tensor=scale.tensor, site=reading.site.name, layer=reading.site.layer, number=scale.number,
            stated=scale.stated, reach=scale.reach, most=most, scales=unit.scales,
            least=max(most if whole or broken else _of_part(reading, unit.part), _of_heads(reading, scale)),
        )  # fmt: skip
        if broken or not (whole or scale.reach == farthest) or not isfinite(scale.reach):
            yield found
            continue
        seen = reading.histogram
        if scale.number not in told:
            best = best_reach(seen, scale.number, most)
            told[scale.number] = (best, at_reach(seen, scale.number, best).sqnr_db)
        cost = at_reach(seen, scale.number, scale.reach)
        would, best_db = told[scale.number]
        yield replace(
            found, sqnr_db=cost.sqnr_db, clip_rate=cost.clip_rate, flush_to_zero=cost.flush_to_zero,
            best_db=best_db, would=scale.of_reach(would), exact=unit.exact and whole,
            fair_db=fair_db(seen, scale.number, most, scale.reach) if best_db - cost.sqnr_db > _BY_CHANCE else None,
        )  # fmt: skip


def _of_heads(reading: SiteReading, scale: StaticScale) -> float:
    """Of scales a head, the largest entry of each against its own reach, times the farthest; 0.0 for none."""
    held, count = reading.held, len(scale.by_head)
    if not count or count != reading.heads or not isinstance(held, Distributions):
        return 0.0
    amax = [
        part for one in (held.channels, held.evaluated) if one for part in one.parts.values() if not part.size % count
    ]
    own = [max((float(part.reshape(count, -1)[head].max()) for part in amax), default=0.0) for head in range(count)]
    beyond = (entry / reach if reach > 0 else inf for entry, reach in zip(own, scale.by_head, strict=True) if entry > 0)
    return scale.reach * max(beyond, default=0.0)


def _of_part(reading: SiteReading, part: str) -> float:
    """The largest entry of one of several tensors of a site, in the calibration split; 0.0 where it is not known."""
    held = reading.held
    amax = held.channels.parts.get(part) if isinstance(held, Distributions) and held.channels else None
    return float(amax.max()) if amax is not None and amax.size else 0.0
