"""Limits of single layers, from the figures that a shape states layer by layer: what one file says of a family and of a
checkpoint's shape in, a figure and its margin for one site out.

From above a layer is held to its own figure times a headroom, wider where the figure is small beside the largest of its
kind. From below its maximum, and the median of its magnitudes, may not lie further under their figures than the file's
`margins` say: that is no small value, but a layer that was not trained or not loaded. A shape that nobody published has
no figures of its own; from below it is held to the smallest of any layer of its family.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_maxact.judge.limits.schema.family import Family, Shape
from pytest_maxact.judge.limits.schema.runs import by_layer
from pytest_maxact.judge.limits.schema.sections import Margins
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import LEAST, MAX_ABS, MEDIAN, Metric

LOWER = (LEAST, MEDIAN)
"""What a site is held to from below."""
_T = TypeVar("_T")
_BY_LAYER, _LIMITS, _MEDIANS = "by_layer", "limits", "medians"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFigure:
    """A figure, the factor that makes a bound of it, upward or downward, and where it stands in its shape. `shape`: the
    name of the one that has it, where it is the smallest of several; it then stands in the family.
    """

    figure: float
    headroom: float
    sense: str
    place: tuple[str, ...]
    shape: str = ""

    @property
    def bound(self) -> float:
        return self.figure * self.headroom if self.sense == "max" else self.figure / self.headroom


def own_figure(
    family: Family, shape: Shape | None, site: Site, metric: Metric, margins: Margins, asked: float | None
) -> OwnFigure | None:
    """What a site is held to by figures of layers, None where it has none. `shape`: the checkpoint's, None where nobody
    published it; `asked`: the headroom that the file states, where neither shape nor margins do.
    """
    if metric == MAX_ABS:
        return _upper(family, shape, site, margins, asked) if shape else None
    if shape:
        return _lower(shape, site, metric, margins)
    return _lower_of_family(family, site, metric, margins) if family.envelope else None


def unmatched(shape: Shape, sites: Sequence[Site]) -> tuple[str, str] | None:
    """The first key and site kind that states figures of layers which the model lacks."""
    seen: dict[str, set[int | None]] = {}
    for site in sites:
        seen.setdefault(site.kind, set()).add(site.layer)
    for key, stated in ((_BY_LAYER, shape.by_layer), (_MEDIANS, shape.medians)):
        for kind, figures in stated.items():
            layers = set(by_layer(figures)) if isinstance(figures, str) else set()
            if kind not in seen or (layers and not layers & seen[kind]):
                return key, kind
    return None


def _upper(family: Family, shape: Shape, site: Site, margins: Margins, asked: float | None) -> OwnFigure | None:
    runs = _of(shape.by_layer, site.kind)
    if runs is None or (figure := _of_layer(runs, site)) is None:
        return None
    stated = _of(shape.headroom, site.kind) if isinstance(shape.headroom, dict) else shape.headroom
    headroom = stated or family.headroom or _margin(figure, runs, site.kind, margins) or shape.headroom_of("", asked)
    return OwnFigure(figure=figure, headroom=headroom or 1.0, sense="max", place=(_BY_LAYER, site.kind))


def _margin(figure: float, runs: str, kind: str, margins: Margins) -> float | None:
    usual = _of(margins.headroom, kind)
    if figure < margins.small * max(by_layer(runs).values()):
        return max(usual or 0.0, _of(margins.small_headroom, kind) or 0.0) or None
    return usual


def _lower(shape: Shape, site: Site, metric: Metric, margins: Margins) -> OwnFigure | None:
    """Of a shape that was published."""
    factor = _of(margins.least if metric == LEAST else margins.least_median, site.kind)
    key = _MEDIANS if metric == MEDIAN else _BY_LAYER if site.layer is not None else _LIMITS
    stated: str | float | None = _of(getattr(shape, key), site.kind)
    figure = _of_layer(stated, site) if isinstance(stated, str) else stated
    if factor is None or figure is None:
        return None
    return OwnFigure(figure=figure, headroom=factor, sense="min", place=(key, site.kind))


def _lower_of_family(family: Family, site: Site, metric: Metric, margins: Margins) -> OwnFigure | None:
    """The smallest figure of any layer of any shape."""
    factor = _of(margins.envelope_least if metric == LEAST else margins.envelope_least_median, site.kind)
    figures = [(figure, shape.name) for shape in family.shapes for figure in _smallest(shape, site, metric)]
    if factor is None or not figures:
        return None
    figure, name = min(figures)
    most = _of(margins.envelope_most, site.kind) if metric == LEAST else None
    if most is not None and most < figure:
        figure, name = most, "the median of all families"
    return OwnFigure(figure=figure, headroom=factor, sense="min", place=("envelope",), shape=name)


def _smallest(shape: Shape, site: Site, metric: Metric) -> Iterator[float]:
    """The smallest figure of a shape's layers, where it has any of the site's kind."""
    key = _MEDIANS if metric == MEDIAN else _BY_LAYER if site.layer is not None else _LIMITS
    stated: str | float | None = _of(getattr(shape, key), site.kind)
    if stated is not None:
        yield min(by_layer(stated).values()) if isinstance(stated, str) else stated


def _of_layer(runs: str, site: Site) -> float | None:
    return by_layer(runs).get(site.layer) if site.layer is not None else None


def _of(stated: Mapping[Any, _T], kind: str) -> _T | None:
    return stated.get(kind)
