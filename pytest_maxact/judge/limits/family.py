"""What one limits file says about one family, for one checkpoint.

From above: a layer pattern, then the shape's figure of the layer, the shape's of its kind, the family's, the
envelope's. From below: what is stated by site kind, then what follows from figures of layers.

Layer patterns match site names with `*`, `?` and `[0-3]`; of several an exact name wins, then the one with the most
literal characters. A limit that was written for this checkpoint and matches nothing of it is an error: it would
otherwise be a check that nobody runs.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.keys import KEYS, LimitKey, stated_in
from pytest_maxact.judge.limits.layers import LOWER, own_figure, unmatched
from pytest_maxact.judge.limits.limit import CARRIER, Limit, specificity
from pytest_maxact.judge.limits.schema.family import Int8Rule, Shape
from pytest_maxact.judge.limits.schema.terms import INT8
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.metrics.metric import MAX_ABS, Metric

_INT8_BOUNDS = tuple(
    (key, quantity, sense)
    for key in Int8Rule.model_fields
    for sense, _, quantity in [key.partition("_")]
    if sense in ("min", "max")
)
_Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """Numbers by site kind that a family or its shape states under one key at `place`, for sites of a pattern or, where
    it is "", for all.
    """

    key: LimitKey
    place: _Location
    figures: Mapping[str, float]
    pattern: str

    def speaks_of(self, site: Site) -> bool:
        return site.kind in self.figures and (not self.pattern or fnmatch.fnmatchcase(site.name, self.pattern))

    def where(self, kind: str) -> _Location:
        """Where the number of a site kind stands."""
        return (*self.place, *([self.pattern] if self.pattern else []), *([] if self.key.only else [kind]))

    def what(self, kind: str) -> str:
        """The number of a site kind, for an error message."""
        if self.key.only:
            return str(self.place[-1])
        return f"pattern {self.pattern!r} with kind {kind!r}" if self.pattern else f"kind {kind!r}"


class FamilySource:
    """One file's limits for one family and the shape of one checkpoint, most specific first."""

    def __init__(self, file: LimitsFile, name: str, identity: Identity) -> None:
        self.file = file
        self._place: _Location = ("families", name)
        self._name = name
        self._family = file.document.families[name]
        same = [
            i
            for i, s in enumerate(self._family.shapes)
            if (s.layers, s.hidden_size) == (identity.layers, identity.hidden_size)
        ]
        self._index = same[0] if same else None
        self.shape = self._family.shapes[same[0]] if same else None
        self._asked = self._family.headroom or file.document.headroom
        self._margins = file.document.margins
        self._source = self._family.source or file.document.source or ""
        self._stated = list(self._all_stated())

    def limit(self, site: Site, metric: Metric) -> Limit | None:
        """The limit on a metric of `site`, or None where this file has none: of patterns the one that fits best, then
        the layer's own, then the shape's, then the family's, then the envelope's.
        """
        stated = [entry for entry in self._stated if entry.key.metric == metric and entry.speaks_of(site)]
        if patterns := [entry for entry in stated if entry.pattern]:
            best = max(patterns, key=lambda entry: specificity(entry.pattern, site.name))
            return self._figure(site, best, f"pattern {best.pattern}")
        if metric == MAX_ABS and (own := self._own(site, metric)):
            return own
        if self.shape and (of_shape := [entry for entry in stated if self._shape_at(entry.place)]):
            return self._figure(site, of_shape[0], f"shape {self.shape.name}")
        if stated:
            return self._figure(site, stated[0], f"family {self._name}")
        return self._own(site, metric) if metric in LOWER else self._enveloped(site, metric)

    def int8(self, sites: Sequence[Site]) -> list[Limit]:
        """INT-8 limits: the shape's rules, else the family's, else the family's lowest figures under the envelope."""
        if self.shape and self.shape.int8:
            return [
                limit
                for i, rule in enumerate(self.shape.int8)
                for limit in self._int8(rule, sites, self._shape_place("int8", i), self.shape.name)
            ]
        if self._family.int8:
            place = (*self._place, "int8")
            return [
                limit
                for i, rule in enumerate(self._family.int8)
                for limit in self._int8(rule, sites, (*place, i), f"family {self._name}")
            ]
        if not self.shape and self._family.envelope:
            return self._int8_envelope(self._family.envelope.headroom)
        return []

    def refuse_unmatched(self, sites: Sequence[Site]) -> None:
        """Raise InputError for a limit of this shape or family, envelope apart, that no site of the model answers
        to.
        """
        for entry in self._stated:
            for kind in entry.figures:
                if not any(entry.speaks_of(site) for site in sites if site.kind == kind):
                    raise _unmatched(self.file.where(*entry.where(kind)), entry.what(kind), sites)
        if self.shape and (found := unmatched(self.shape, sites)):
            raise _unmatched(self.file.where(*self._shape_place(*found)), f"{found[0]} of kind {found[1]!r}", sites)
        rules = [((*self._place, "int8", i), rule) for i, rule in enumerate(self._family.int8)]
        if self.shape:
            rules += [(self._shape_place("int8", i), rule) for i, rule in enumerate(self.shape.int8)]
        for rule_place, rule in rules:
            if rule.site != CARRIER and not any(fnmatch.fnmatchcase(site.name, rule.site) for site in sites):
                raise _unmatched(self.file.where(*rule_place, "site"), f"site {rule.site!r}", sites)

    def _all_stated(self) -> Iterator[_Stated]:
        """Whatever the family and the shape state under the keys of the table; a shape's pattern replaces the family's
        own.
        """
        for key in KEYS:
            of_shape = stated_in(self.shape, key) if self.shape else {}
            place = (*self._place, key.family)
            for pattern, figures in stated_in(self._family, key).items():
                if not pattern or pattern not in of_shape:
                    yield _Stated(key=key, place=place, figures=figures, pattern=pattern)
            for pattern, figures in of_shape.items():
                yield _Stated(key=key, place=self._shape_place(key.shape), figures=figures, pattern=pattern)

    def _shape_place(self, *rest: str | int) -> _Location:
        return (*self._place, "shapes", self._index or 0, *rest)

    def _figure(self, site: Site, entry: _Stated, rule: str) -> Limit:
        figure, key, place = entry.figures[site.kind], entry.key, entry.where(site.kind)
        if not key.is_figure:
            return self._limit(site.name, key.metric, figure, place, rule, sense=key.sense)
        headroom = self._headroom_at(place, site.kind)
        if headroom is None:
            return self._limit(site.name, key.metric, figure, place, rule)
        return self._limit(site.name, key.metric, figure * headroom, place, rule, figure=figure, headroom=headroom)

    def _headroom_at(self, place: _Location, what: str) -> float | None:
        """The headroom of a figure that stands at `place`: of the shape where it stands there, else the family's; None
        where nobody asked for one, so that the number is the limit itself.
        """
        shape = self._shape_at(place)
        return shape.headroom_of(what, self._asked) if shape else self._asked

    def _shape_at(self, place: _Location) -> Shape | None:
        """The shape, where `place` lies in it."""
        whole = self._shape_place()
        return self.shape if place[: len(whole)] == whole else None

    def _own(self, site: Site, metric: Metric) -> Limit | None:
        """What follows from figures of layers."""
        own = own_figure(self._family, self.shape, site, metric, self._margins, self._asked)
        if own is None:
            return None
        whose = f"shape {self.shape.name}" if self.shape else f"envelope of family {self._name}: {own.shape}"
        return self._limit(
            site.name, metric, own.bound, self._shape_place(*own.place) if self.shape else (*self._place, *own.place),
            whose, sense=own.sense, figure=own.figure, headroom=own.headroom,
            of_layer=self.shape is not None and site.layer is not None,
        )  # fmt: skip

    def _enveloped(self, site: Site, metric: Metric) -> Limit | None:
        if self.shape or not self._family.envelope:
            return None
        figures = {
            stated[""][site.kind]: shape.name
            for key in KEYS
            if key.metric == metric and key.is_figure and not key.by_pattern
            for shape in self._family.shapes
            if site.kind in (stated := stated_in(shape, key)).get("", {})
        }
        if not figures:
            return None
        figure, headroom = max(figures), self._family.envelope.headroom
        rule = f"envelope of family {self._name}: {figures[figure]}"
        return self._limit(
            site.name, metric, figure * headroom, (*self._place, "envelope"), rule,
            figure=figure, headroom=headroom, envelope=True,
        )  # fmt: skip

    def _int8(self, rule: Int8Rule, sites: Sequence[Site], place: _Location, whose: str) -> Iterator[Limit]:
        names = (
            [CARRIER]
            if rule.site == CARRIER
            else [site.name for site in sites if fnmatch.fnmatchcase(site.name, rule.site)]
        )
        for name in names:
            if rule.sqnr_db is not None:
                headroom = self._headroom_at(place, INT8)
                yield self._limit(
                    name, _int8_metric(rule.policy, "sqnr_db"), rule.sqnr_db - _headroom_db(headroom or 1.0),
                    (*place, "sqnr_db"), whose, sense="min",
                    figure=rule.sqnr_db if headroom else None, headroom=headroom,
                )  # fmt: skip
            for key, quantity, sense in _INT8_BOUNDS:
                if (bound := getattr(rule, key)) is not None:
                    yield self._limit(
                        name, _int8_metric(rule.policy, quantity), bound, (*place, key), whose, sense=sense
                    )

    def _int8_envelope(self, headroom: float) -> list[Limit]:
        figures: dict[str, tuple[float, str]] = {}
        for shape in self._family.shapes:
            for rule in shape.int8:
                if rule.site == CARRIER and rule.sqnr_db is not None:
                    figures[rule.policy] = min(figures.get(rule.policy, (math.inf, "")), (rule.sqnr_db, shape.name))
        return [
            self._limit(
                CARRIER,
                _int8_metric(policy, "sqnr_db"),
                figure - _headroom_db(headroom),
                (*self._place, "envelope"),
                f"envelope of family {self._name}: {name}",
                sense="min",
                figure=figure,
                headroom=headroom,
                envelope=True,
            )
            for policy, (figure, name) in figures.items()
        ]

    def _source_at(self, place: _Location) -> str:
        shape = self._shape_at(place)
        return shape.source if shape and shape.source else self._source

    def _limit(
        self, site: str, metric: Metric, bound: float, place: _Location, rule: str, *, sense: str = "max",
        figure: float | None = None, headroom: float | None = None, envelope: bool = False,
        of_layer: bool = False,
    ) -> Limit:  # fmt: skip
        return Limit(
            site=site,
            metric=metric,
            bound=bound,
            sense=sense,
            rule=rule,
            source=self._source_at(place),
            file=str(self.file.path),
            line=self.file.line(*place),
            figure=figure,
            headroom=headroom,
            envelope=envelope,
            of_layer=of_layer,
        )


def _unmatched(where: str, what: str, sites: Sequence[Site]) -> InputError:
    layers = [site.layer for site in sites if site.layer is not None]
    kinds = ", ".join(dict.fromkeys(site.kind for site in sites))
    return InputError(
        f"{where}: {what} matches no site of this model, so its limit would never be checked\n"
        f"  the model has layers 0 to {max(layers, default=0)} with kinds {kinds}; correct or remove the limit"
    )


def _int8_metric(policy: str, quantity: str) -> Metric:
    return Metric.parse(f"int8.{policy}.{quantity}")


def _headroom_db(headroom: float) -> float:
    """A factor on the error's amplitude, in dB."""
    return 20.0 * math.log10(headroom)
