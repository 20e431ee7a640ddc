"""What of a limits file is to be set, so that it limits one shape by evidence: limits files and evidence in, values and
their places out.

Guards what a person stated: under `new` no limit that is stated changes; under `all` only figures of this shape do.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.limits.family import FamilySource
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import family_speaking_of
from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.judge.limits.schema.family import Family, Shape
from pytest_maxact.judge.limits.schema.terms import INT8
from pytest_maxact.judge.suggest.evidence import Evidence, margin
from pytest_maxact.numbers.sites import KINDS, LINEAR_KINDS
from pytest_maxact.record.comparability import is_same_origin
from pytest_maxact.record.metrics.metric import INT8_SQNR

Location = tuple[str | int, ...]
_SQNR_CHECK = f"{CARRIER}::{INT8_SQNR}"
_RULE = {"site": CARRIER, "policy": "max_abs"}


def stated_limits(files: Sequence[LimitsFile], evidence: Evidence) -> dict[str, Limit]:
    """By check, the limits on maxima and INT-8 error that files set for the shape of the evidence; empty where no
    family speaks about it.
    """
    name = family_speaking_of(files, evidence.identity.model_type)
    sources = [
        FamilySource(file, name, evidence.identity)
        for file in files
        if name is not None and name in file.document.families
    ]
    found = [
        limit
        for site in evidence.sites
        if (limit := next(filter(None, (source.max_abs(site) for source in sources)), None))
    ]
    int8: list[Limit] = next(filter(None, (source.int8(evidence.sites) for source in sources)), [])
    return {limit.check: limit for limit in (*found, *int8)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What is to be set of one shape: figures by kind, by pattern or exact name, of INT-8, and the headrooms that this
    takes, of those that change.
    """

    limits: Mapping[str, float]
    layer_limits: Mapping[str, Mapping[str, float]]
    sqnr_db: float | None
    headroom: Mapping[str, float]

    def __bool__(self) -> bool:
        return bool(self.limits or self.layer_limits or self.sqnr_db is not None)


class Plan:
    """For one shape. `own`: the file that is edited, None for one that is not there yet; `files`: it and what it
    extends, or what a new one would.

    `notes`: what stays as it is though evidence speaks about it.
    """

    def __init__(
        self,
        own: LimitsFile | None,
        files: Sequence[LimitsFile],
        evidence: Evidence,
        *,
        everything: bool,
        per_layer: bool,
    ) -> None:
        self.evidence = evidence
        self.everything = everything
        self.per_layer = per_layer
        self.notes: list[str] = []
        self._stated = stated_limits(files, evidence)
        families = own.document.families if own else {}
        known = family_speaking_of(files, evidence.identity.model_type)
        self._is_new = known is None
        self.family = known or evidence.identity.model_type
        if known is None and self.family in families and own:
            raise InputError(
                f"{own.where('families', self.family)}: family {self.family!r} does not list model_type "
                f"{self.family!r}\n"
                f"  add it: `model_types: [{self.family}]`"
            )
        self._family = families.get(self.family, Family())
        self._headroom = self._family.headroom or (own.document.headroom if own else LimitsDocument(version=1).headroom)
        shapes = [(shape.layers, shape.hidden_size) for shape in self._family.shapes]
        here = (evidence.identity.layers, evidence.identity.hidden_size)
        self._index = shapes.index(here) if here in shapes else len(shapes)
        self._shape: Shape | None = self._family.shapes[self._index] if here in shapes else None

    def edits(self, data: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
        """Places in the file's plain `data`, and the values to be set there, one after the other."""
        figures = self._figures()
        if not figures:
            return
        if self._shape is None:
            yield self._entry(data, self._new_shape(figures))
            return
        self._require_one_footing(self._shape)
        place: Location = ("families", self.family, "shapes", self._index)
        raw = data["families"][self.family]["shapes"][self._index]
        yield from self._checkpoints(self._shape, (*place, "checkpoints"))
        if self.everything:
            yield (*place, "source"), self.evidence.source
            yield (*place, "measured"), asdict(self.evidence.measured)
        if (headroom := self._written_headroom(figures.headroom)) is not None:
            yield (*place, "headroom"), headroom
        for kind, figure in figures.limits.items():
            yield (*place, "limits", kind), figure
        if "layer_limits" not in raw and figures.layer_limits:
            yield (*place, "layer_limits"), figures.layer_limits
        else:
            for pattern, by_kind in figures.layer_limits.items():
                yield from self._pattern_edits(
                    (*place, "layer_limits", pattern), raw["layer_limits"].get(pattern), by_kind
                )
        if figures.sqnr_db is not None:
            yield self._int8_edit((*place, "int8"), raw.get("int8"), figures.sqnr_db)

    def _entry(self, data: Mapping[str, Any], shape: dict[str, Any]) -> tuple[Location, Any]:
        """Where a new shape goes, with as much around it as the file lacks."""
        families = data.get("families", {})
        family = {**({"model_types": [self.evidence.identity.model_type]} if self._is_new else {}), "shapes": [shape]}
        if "families" not in data:
            return ("families",), {self.family: family}
        if self.family not in families:
            return ("families", self.family), family
        if "shapes" not in families[self.family]:
            return ("families", self.family, "shapes"), [shape]
        return ("families", self.family, "shapes", self._index), shape

    def _new_shape(self, figures: _Figures) -> dict[str, Any]:
        evidence = self.evidence
        shape: dict[str, Any] = {
            "name": evidence.checkpoints[0],
            "checkpoints": list(evidence.checkpoints),
            "source": evidence.source,
            "measured": asdict(evidence.measured),
            "layers": evidence.identity.layers,
            "hidden_size": evidence.identity.hidden_size,
            "headroom": self._written_headroom(figures.headroom),
            "limits": dict(figures.limits),
            "layer_limits": {pattern: dict(by_kind) for pattern, by_kind in figures.layer_limits.items()} or None,
            "int8": {**_RULE, "sqnr_db": figures.sqnr_db} if figures.sqnr_db is not None else None,
        }
        return {key: value for key, value in shape.items() if value is not None}

    def _require_one_footing(self, shape: Shape) -> None:
        """Raise InputError where figures would stand beside others that were measured on something else, and the file
        would say that all were.
        """
        if self.everything or shape.measured is None:
            return
        stated, seen = shape.measured, self.evidence.measured
        if stated.corpus == seen.corpus and is_same_origin(stated, seen):
            return
        there, here = (f"{on.tokens} tokens of {on.corpus} ({on.sha256}) in {on.dtype}" for on in (stated, seen))
        raise InputError(
            f"shape {shape.name} of family {self.family} was measured on {there}, these Records on {here}; nothing was "
            "written\n"
            f"  give Records of the same text and dtype, or set every figure of the shape with {setting('update')} all"
        )

    def _checkpoints(self, shape: Shape, place: Location) -> Iterator[tuple[Location, Any]]:
        """Where figures of single checkpoints are stated, a list of names would lose them: their names stay as they
        are, unless all figures of the shape are set anew.
        """
        if self.everything:
            yield place, list(self.evidence.checkpoints)
        elif not shape.figures_of_checkpoints:
            yield place, list(dict.fromkeys((*shape.checkpoints, *self.evidence.checkpoints)))

    @staticmethod
    def _pattern_edits(
        place: Location, stated: Mapping[str, Any] | None, by_kind: Mapping[str, float]
    ) -> Iterator[tuple[Location, Any]]:
        if stated is None:
            yield place, dict(by_kind)
        else:
            yield from (((*place, kind), figure) for kind, figure in by_kind.items())

    @staticmethod
    def _int8_edit(place: Location, stated: Any, figure: float) -> tuple[Location, Any]:
        """A rule may stand alone or in a list."""
        rule = {**_RULE, "sqnr_db": figure}
        if not stated:
            return place, rule
        rules = [stated] if isinstance(stated, dict) else stated
        index = next((i for i, known in enumerate(rules) if {**_RULE, **known} | _RULE == {**_RULE, **known}), None)
        if index is None:
            return (place, [*rules, rule]) if isinstance(stated, dict) else ((*place, len(rules)), rule)
        return ((*place, "sqnr_db") if isinstance(stated, dict) else (*place, index, "sqnr_db")), figure

    # Which figures

    def _figures(self) -> _Figures:
        groups: dict[str, list[list[str]]] = {}
        limits: dict[str, float] = {}
        layer_limits: dict[str, dict[str, float]] = {}
        for pattern, kind, names in self._targets():
            if (figure := self.evidence.figure(names)) is None:
                continue
            groups.setdefault(kind, []).append(names)
            if pattern is None:
                limits[kind] = figure
            else:
                layer_limits.setdefault(pattern, {})[kind] = figure
        sqnr_db = self._sqnr_figure()
        spreads = {kind: max(map(self.evidence.spread, found)) for kind, found in groups.items()}
        if sqnr_db is not None:
            spreads[INT8] = self.evidence.sqnr_spread
        return _Figures(limits=limits, layer_limits=layer_limits, sqnr_db=sqnr_db, headroom=self._margins(spreads))

    def _targets(self) -> Iterator[tuple[str | None, str, list[str]]]:
        """What a figure is due for: a pattern or exact name (None for the kind as such), a site kind, and the sites
        that it holds there.
        """
        for kind in self._kinds():
            sites = self.evidence.of_kind(kind)
            due = sites if self.everything else [name for name in sites if self._is_open(f"{name}::max_abs")]
            if due == sites:
                yield None, kind, sites
            for name in due if self.per_layer or due != sites else ():
                if not self._family_pattern(name, kind):
                    yield name, kind, [name]
        patterns = self._shape.layer_limits if self._shape and self.everything else {}
        for pattern, figures in patterns.items():
            for stated in figures:
                if matched := [name for name in self.evidence.of_kind(stated) if fnmatch.fnmatchcase(name, pattern)]:
                    yield pattern, stated, matched
        if self.everything:
            self._note_family_patterns()

    def _kinds(self) -> list[str]:
        """Kinds of a plain pass, and inputs of linear layers where the shape limits them already."""
        linear = [
            kind for kind in LINEAR_KINDS if self._shape and kind in self._shape.limits and self.evidence.of_kind(kind)
        ]
        return [*self.evidence.kinds, *linear] if self.everything else self.evidence.kinds

    def _is_open(self, check: str) -> bool:
        limit = self._stated.get(check)
        return limit is None or limit.envelope

    def _family_pattern(self, name: str, kind: str) -> str | None:
        """The pattern of the family, of all its shapes, that limits a site; an exact name of this shape would override
        it.
        """
        of_shape = self._shape.layer_limits if self._shape else {}
        matching = (
            pattern for pattern, figures in self._family.layers.items() if kind in figures and pattern not in of_shape
        )
        return next((pattern for pattern in matching if fnmatch.fnmatchcase(name, pattern)), None)

    def _note_family_patterns(self) -> None:
        held = [pattern for site in self.evidence.sites if (pattern := self._family_pattern(site.name, site.kind))]
        for pattern in dict.fromkeys(held):
            self.notes.append(
                f"families.{self.family}.layers {pattern!r} stays as it is, and holds at {held.count(pattern)} of the"
                " sites"
            )

    def _sqnr_figure(self) -> float | None:
        figure = self.evidence.sqnr_figure
        if figure is None:
            self.notes.append(f"INT-8: {self.evidence.checkpoints[0]} has no finite SQNR, so no limit on it")
            return None
        if not self.everything and not self._is_open(_SQNR_CHECK):
            return None
        if self._shape and self._shape.int8:
            bounds = [rule.min_sqnr_db for rule in self._shape.int8 if (rule.site, rule.policy) == (CARRIER, "max_abs")]
            if bounds and bounds[0] is not None:
                self.notes.append(
                    f"INT-8: min_sqnr_db {bounds[0]:g} of shape {self._shape.name} is a bound, no figure, and stays as"
                    " it is"
                )
                return None
        elif self._family.int8:
            self.notes.append(f"INT-8: families.{self.family}.int8 holds for all of its shapes and stays as it is")
            return None
        return figure

    # Which headroom

    def _effective(self, key: str) -> float:
        return self._shape.headroom_of(key, self._headroom) if self._shape else self._headroom

    def _margins(self, spreads: Mapping[str, float]) -> dict[str, float]:
        """The headroom of what is set: as it is of one Record; of several what covers the spread, and no less than the
        file says, be it for the family or, if that is less, for the shape: a shape's wider margin is an earlier spread,
        which evidence replaces.
        """
        if self.evidence.records == 1:
            return {key: self._effective(key) for key in spreads}
        return {key: margin(min(self._effective(key), self._headroom), spread) for key, spread in spreads.items()}

    def _written_headroom(self, changed: Mapping[str, float]) -> float | dict[str, float] | None:
        """The shape's `headroom:`, None where it need not change: kinds that differ from the family's, and INT-8 where
        it is not what follows from those.
        """
        stated = self._shape.headroom if self._shape else None
        keys = [kind for kind in KINDS if kind in self._kinds() or (isinstance(stated, dict) and kind in stated)]
        before = {key: self._effective(key) for key in (*keys, INT8)}
        after = {**before, **changed}
        if after == before:
            return None
        named = {key: after[key] for key in keys if after[key] != self._headroom}
        if after[INT8] != max(named.values(), default=self._headroom):
            named[INT8] = after[INT8]
        return named or self._headroom
