"""Figures of layers as a limits file writes them, in runs: text in, a figure for every layer out, and the reverse.

    0=27.125 1=80.5 2-15=17280 16=10112

One scalar for all layers of a site kind, and not a mapping: the shipped file holds thousands of figures, and is read at
every start. Guard: a layer has one figure, which is a number above zero.
"""

import functools
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RUN = rf"\d{{1,5}}(?:-\d{{1,5}})?={_NUMBER}"
PATTERN = rf"^{_RUN}(?:\s+{_RUN})*$"
_ONE = re.compile(rf"(\d{{1,5}})(?:-(\d{{1,5}}))?=({_NUMBER})", re.ASCII)


@functools.cache
def by_layer(text: str) -> Mapping[int, float]:
    """The figure of every layer. Raises ValueError for what is no run, and for layers out of order or given twice."""
    found: dict[int, float] = {}
    next_layer = 0
    for run in text.split():
        match = _ONE.fullmatch(run)
        if match is None:
            raise ValueError(f"{run!r} is no run of layers; write 0=27.1 for one layer, 2-15=17280 for several")
        first, last, figure = int(match[1]), int(match[2] or match[1]), float(match[3])
        if first < next_layer or last < first:
            raise ValueError(f"{run!r} is out of order; layers ascend, and each is given once")
        if not 0 < figure < math.inf:
            raise ValueError(f"{run!r}: {match[3]} is no figure; write a finite number above zero")
        found.update(dict.fromkeys(range(first, last + 1), figure))
        next_layer = last + 1
    return MappingProxyType(found)


def in_runs(figures: Mapping[int, float]) -> str:
    """The reverse: layers that follow each other with one figure are one run."""
    runs: list[tuple[int, int, float]] = []
    for layer in sorted(figures):
        first, last, figure = runs[-1] if runs else (0, -2, math.nan)
        if layer == last + 1 and figures[layer] == figure:
            runs[-1] = (first, layer, figure)
        else:
            runs.append((layer, layer, figures[layer]))
    return " ".join(f"{_layers(first, last)}={_plain(figure)}" for first, last, figure in runs)


def _layers(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _plain(figure: float) -> str:
    return str(int(figure)) if float(figure).is_integer() else repr(float(figure))
