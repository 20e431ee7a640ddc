"""What one limits file says about one family, for one checkpoint.

Layer patterns match site names with `*`, `?` and `[0-3]`; of several an exact name wins, then the one with the most
literal characters. A limit that was written for this checkpoint and matches nothing of it is an error: it would
otherwise be a check that nobody runs.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import CARRIER, Limit, specificity
from pytest_maxact.judge.limits.schema.family import Int8Rule, Shape
from pytest_maxact.judge.limits.schema.terms import INT8, Figures
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.metrics.metric import MAX_ABS, UNREACHED, Metric

_INT8_BOUNDS = (
    ("min_sqnr_db", "sqnr_db", "min"),
    ("max_rel_rmse", "rel_rmse", "max"),
    ("max_rel_mae", "rel_mae", "max"),
    ("max_clip_rate", "clip_rate", "max"),
    ("max_flush_to_zero", "flush_to_zero", "max"),
)
_Location = tuple[str | int, ...]


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
        self.headroom = self._family.headroom or file.document.headroom
        self._source = self._family.source or file.document.source or ""

    def max_abs(self, site: Site) -> Limit | None:
        """The limit on the largest magnitude of `site`, or None where this file has none."""
        matching = [
            entry for entry in self._patterns() if fnmatch.fnmatchcase(site.name, entry[1]) and site.kind in entry[2]
        ]
        if matching:
            place, pattern, figures = max(matching, key=lambda entry: specificity(entry[1], site.name))
            return self._figure(site, figures, place, f"pattern {pattern}")
        if self.shape and site.kind in self.shape.limits:
            return self._figure(site, self.shape.limits, self._shape_place("limits"), f"shape {self.shape.name}")
        if site.kind in self._family.limits:
            return self._figure(site, self._family.limits, (*self._place, "limits"), f"family {self._name}")
        if not self.shape and self._family.envelope:
            return self._enveloped(site)
        return None

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

    def unreached_experts(self, site: Site) -> Limit | None:
        """The limit on the share of a router's experts that no token reached, or None where this file's family has
        none.
        """
        share = self._family.max_unreached_experts
        if site.kind != "router" or share is None:
            return None
        return self._limit(site.name, UNREACHED, share, (*self._place, "max_unreached_experts"), f"family {self._name}")

    def refuse_unmatched(self, sites: Sequence[Site]) -> None:
        """Raise InputError for a limit of this shape or family, envelope apart, that no site of the model answers
        to.
        """
        kinds = {site.kind for site in sites}
        for place, pattern, figures in self._patterns():
            matched = {site.kind for site in sites if fnmatch.fnmatchcase(site.name, pattern)}
            for kind in figures:
                if kind not in matched:
                    raise _unmatched(self.file.where(*place, kind), f"pattern {pattern!r} with kind {kind!r}", sites)
        if self._family.max_unreached_experts is not None and "router" not in kinds:
            raise _unmatched(self.file.where(*self._place, "max_unreached_experts"), "max_unreached_experts", sites)
        stated: list[tuple[_Location, Figures]] = [((*self._place, "limits"), self._family.limits)]
        if self.shape:
            stated.append((self._shape_place("limits"), self.shape.limits))
        for place, figures in stated:
            for kind in figures:
                if kind not in kinds:
                    raise _unmatched(self.file.where(*place, kind), f"kind {kind!r}", sites)
        rules = [((*self._place, "int8", i), rule) for i, rule in enumerate(self._family.int8)]
        if self.shape:
            rules += [(self._shape_place("int8", i), rule) for i, rule in enumerate(self.shape.int8)]
        for rule_place, rule in rules:
            if rule.site != CARRIER and not any(fnmatch.fnmatchcase(site.name, rule.site) for site in sites):
                raise _unmatched(self.file.where(*rule_place, "site"), f"site {rule.site!r}", sites)

    def _patterns(self) -> Iterator[tuple[_Location, str, Figures]]:
        shape_patterns: Mapping[str, Figures] = self.shape.layer_limits if self.shape else {}
        for pattern, figures in self._family.layers.items():
            if pattern not in shape_patterns:
                yield (*self._place, "layers", pattern), pattern, figures
        for pattern, figures in shape_patterns.items():
            yield (*self._shape_place("layer_limits"), pattern), pattern, figures

    def _shape_place(self, *rest: str | int) -> _Location:
        return (*self._place, "shapes", self._index or 0, *rest)

    def _figure(self, site: Site, figures: Figures, place: _Location, rule: str) -> Limit:
        figure = figures[site.kind]  # type: ignore[index]
        headroom = self._headroom_at(place, site.kind)
        return self._limit(
            site.name, MAX_ABS, figure * headroom, (*place, site.kind), rule, figure=figure, headroom=headroom
        )

    def _headroom_at(self, place: _Location, what: str) -> float:
        """The headroom of a figure that stands at `place`: of the shape where it stands there, else the family's."""
        shape = self._shape_at(place)
        return shape.headroom_of(what, self.headroom) if shape else self.headroom

    def _shape_at(self, place: _Location) -> Shape | None:
        """The shape, where `place` lies in it."""
        whole = self._shape_place()
        return self.shape if place[: len(whole)] == whole else None

    def _enveloped(self, site: Site) -> Limit | None:
        figures = {shape.limits[site.kind]: shape.name for shape in self._family.shapes if site.kind in shape.limits}
        if not figures or not self._family.envelope:
            return None
        figure, headroom = max(figures), self._family.envelope.headroom
        rule = f"envelope of family {self._name}: {figures[figure]}"
        return self._limit(
            site.name,
            MAX_ABS,
            figure * headroom,
            (*self._place, "envelope"),
            rule,
            figure=figure,
            headroom=headroom,
            envelope=True,
        )

    def _int8(self, rule: Int8Rule, sites: Sequence[Site], place: _Location, whose: str) -> Iterator[Limit]:
        names = (
            [CARRIER]
            if rule.site == CARRIER
            else [site.name for site in sites if fnmatch.fnmatchcase(site.name, rule.site)]
        )
        for name in names:
            if rule.sqnr_db is not None:
                headroom = self._headroom_at(place, INT8)
                bound = rule.sqnr_db - _headroom_db(headroom)
                metric = _int8_metric(rule.policy, "sqnr_db")
                yield self._limit(
                    name, metric, bound, (*place, "sqnr_db"), whose, sense="min", figure=rule.sqnr_db, headroom=headroom
                )
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
