"""A site map: what of a model is observed, in which module, and what is left out and why."""

import re
from collections.abc import Iterator, Sequence

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.site_map import SiteMap
from pytest_maxact.numbers.sites import KINDS, Site, ranges
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, to_text

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def render_sites(mapped: SiteMap, screen: Screen) -> str:
    """The map as text of at most `screen.width` columns; layers that are built alike share a row."""
    return to_text(_parts(mapped), screen)


def _parts(mapped: SiteMap) -> Iterator[Part]:
    yield Text(
        f"{mapped.model_type}: {counted(mapped.layers, 'layer')} x {mapped.hidden_size},"
        f" {counted(len(mapped.sites), 'site')}",
        style="bold",
    )
    yield _places(mapped.places)
    if mapped.scaled:
        yield Text("for static scales alone, where there is one", style="bold")
        yield _places(mapped.scaled)
    if mapped.left_out:
        yield Text("left out", style="bold")
        columns = (Column(fold=True), Column(fold=True))
        yield Grid(columns=columns, rows=[(entry.what, entry.why) for entry in mapped.left_out], gap=2)


def _places(places: Sequence[Site]) -> Grid:
    return Grid(
        columns=[Column(name=name, fold=True) for name in ("site", "layers", "module", "what")],
        rows=[(kind, ranges(layers), module, what) for (kind, module, what), layers in _alike(places).items()],
        gap=2,
    )


def _alike(places: Sequence[Site]) -> dict[tuple[str, str, str], list[int]]:
    """Sites by kind, module path without its numbers, and what the module is: the layers that have it, in the order of
    kinds.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for place in sorted(places, key=lambda place: KINDS.index(place.kind)):
        key = (place.kind, _starred(place), place.detail)
        layers = groups.setdefault(key, [])
        if place.layer is not None and place.layer not in layers:
            layers.append(place.layer)
    return groups


def _starred(place: Site) -> str:
    """A module's path with the number of its layer as `*`; where layers share modules that number is another, the
    first.
    """
    own = re.compile(rf"(?<=\.){place.layer}(?=\.|$)")
    return (own if own.search(place.module) else _NUMBER).sub("*", place.module, count=1)
