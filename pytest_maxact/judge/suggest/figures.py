"""Which figures of a shape are due, and with which headroom: a view of the file and its evidence in, numbers out.

Guards what a person stated: under `new` no limit that is stated is due; under `all` only figures of this shape are.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace

from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.schema.terms import INT8
from pytest_maxact.judge.suggest.evidence import margin
from pytest_maxact.judge.suggest.ground import Ground
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.record.metrics.metric import INT8_SQNR, MAX_ABS

_SQNR_CHECK = f"{CARRIER}::{INT8_SQNR}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is to be set of one shape: figures by kind, by pattern or exact name, of INT-8, and the headrooms that this
    takes, of those that change. `notes`: what stays as it is though evidence speaks about it; `held_back`: whether
    figures that were due were left out.
    """

    limits: Mapping[str, float]
    layer_limits: Mapping[str, Mapping[str, float]]
    sqnr_db: float | None
    headroom: Mapping[str, float]
    notes: tuple[str, ...]
    held_back: bool = False

    def __bool__(self) -> bool:
        return bool(self.limits or self.layer_limits or self.sqnr_db is not None)

    def without(self, keys: Set[str]) -> "Figures":
        """What is left without some kinds, or without INT-8."""
        patterns = {
            pattern: {kind: figure for kind, figure in by_kind.items() if kind not in keys}
            for pattern, by_kind in self.layer_limits.items()
        }
        return replace(
            self,
            limits={kind: figure for kind, figure in self.limits.items() if kind not in keys},
            layer_limits={pattern: by_kind for pattern, by_kind in patterns.items() if by_kind},
            sqnr_db=None if INT8 in keys else self.sqnr_db,
            headroom={key: headroom for key, headroom in self.headroom.items() if key not in keys},
            held_back=True,
        )


def figures_due(ground: Ground) -> Figures:
    """What is due for one shape."""
    groups: dict[str, list[list[str]]] = {}
    limits: dict[str, float] = {}
    layer_limits: dict[str, dict[str, float]] = {}
    for pattern, kind, names in _targets(ground):
        if (figure := ground.evidence.figure(names)) is None:
            continue
        groups.setdefault(kind, []).append(names)
        if pattern is None:
            limits[kind] = figure
        else:
            layer_limits.setdefault(pattern, {})[kind] = figure
    sqnr_db, note = _sqnr_figure(ground)
    spreads = {kind: max(map(ground.evidence.spread, found)) for kind, found in groups.items()}
    if sqnr_db is not None:
        spreads[INT8] = ground.evidence.sqnr_spread
    return Figures(
        limits=limits,
        layer_limits=layer_limits,
        sqnr_db=sqnr_db,
        headroom=_margins(ground, spreads),
        notes=(*(_family_notes(ground) if ground.everything else ()), *([note] if note else ())),
    )


def _targets(ground: Ground) -> Iterator[tuple[str | None, str, list[str]]]:
    """What a figure is due for: a pattern or exact name (None for the kind as such), a site kind, and the sites
    that it holds there.
    """
    for kind in ground.kinds:
        sites = ground.evidence.of_kind(kind)
        due = sites if ground.everything else [name for name in sites if ground.is_open(f"{name}::{MAX_ABS}")]
        if due == sites:
            yield None, kind, sites
        for name in due if ground.per_layer or due != sites else ():
            if not _family_pattern(ground, name, kind):
                yield name, kind, [name]
    patterns = ground.shape.layer_limits if ground.shape and ground.everything else {}
    for pattern, figures in patterns.items():
        for stated in figures:
            if matched := [name for name in ground.evidence.of_kind(stated) if fnmatch.fnmatchcase(name, pattern)]:
                yield pattern, stated, matched


def _family_pattern(ground: Ground, name: str, kind: str) -> str | None:
    """The pattern of the family, of all its shapes, that limits a site; an exact name of this shape would override
    it.
    """
    of_shape = ground.shape.layer_limits if ground.shape else {}
    matching = (
        pattern for pattern, figures in ground.family.layers.items() if kind in figures and pattern not in of_shape
    )
    return next((pattern for pattern in matching if fnmatch.fnmatchcase(name, pattern)), None)


def _family_notes(ground: Ground) -> Iterator[str]:
    """Patterns of the family that hold at sites of this shape, and stay."""
    found = (_family_pattern(ground, site.name, site.kind) for site in ground.evidence.sites)
    held = [pattern for pattern in found if pattern]
    for pattern in dict.fromkeys(held):
        yield (
            f"families.{ground.name}.layers {pattern!r} stays as it is, and holds at {held.count(pattern)} of the sites"
        )


def _sqnr_figure(ground: Ground) -> tuple[float | None, str]:
    """The figure of INT-8 that is due, and why there is none, where there is something to say."""
    figure, shape = ground.evidence.sqnr_figure, ground.shape
    if figure is None:
        return None, f"INT-8: {ground.evidence.checkpoints[0]} has no finite SQNR, so no limit on it"
    if not ground.everything and not ground.is_open(_SQNR_CHECK):
        return None, ""
    if shape and shape.int8:
        bounds = [rule.min_sqnr_db for rule in shape.int8 if (rule.site, rule.policy) == (CARRIER, "max_abs")]
        if bounds and bounds[0] is not None:
            return None, (
                f"INT-8: min_sqnr_db {bounds[0]:g} of shape {shape.name} is a bound, no figure, and stays as it is"
            )
    elif ground.family.int8:
        return None, f"INT-8: families.{ground.name}.int8 holds for all of its shapes and stays as it is"
    return figure, ""


def _margins(ground: Ground, spreads: Mapping[str, float]) -> dict[str, float]:
    """The headroom of what is set: as it is of one Record; of several what covers the spread, and no less than the
    file says, be it for the family or, if that is less, for the shape: a shape's wider margin is an earlier spread,
    which evidence replaces.
    """
    if ground.evidence.records == 1:
        return {key: ground.headroom_of(key) for key in spreads}
    return {key: margin(min(ground.headroom_of(key), ground.headroom), spread) for key, spread in spreads.items()}


def written_headroom(ground: Ground, changed: Mapping[str, float], *, anew: bool) -> float | dict[str, float] | None:
    """The shape's `headroom:`, None where what is stated need not change: kinds that differ from the family's, and
    INT-8 where it is not what follows from those. `anew`: the shape will say what all of it was measured on.
    """
    stated = ground.shape.headroom if ground.shape else None
    keys = [kind for kind in KINDS if kind in ground.kinds or (isinstance(stated, dict) and kind in stated)]
    before = {key: ground.headroom_held(key, measured=False) for key in (*keys, INT8)}
    after = {**before, **changed}
    if after == {key: ground.headroom_held(key, measured=anew) for key in after} and (stated or ground.asked):
        return None
    otherwise = ground.headroom if anew else ground.headroom_held("", measured=False)
    named = {key: after[key] for key in keys if after[key] != otherwise}
    if after[INT8] != max(named.values(), default=otherwise):
        named[INT8] = after[INT8]
    return named or otherwise
