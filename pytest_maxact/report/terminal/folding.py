"""Which layers of a deep model are shown, and which are folded into a row together: rows by layer in, stretches of
layers out, in order.

Guard: a layer with a check that fails, is waived or is too close to call, or with an entry that is not finite, is never
folded. Nor is one at either end, one at which the residual stream jumps, the one that carries M, and those nearest to
their limits.
"""

import math
from collections.abc import Mapping, Sequence

from pytest_maxact.judge.compare.jumps import JUMP_FACTOR
from pytest_maxact.judge.portrait import SiteRow

ALL = 16
"""Layers of a model that is not too deep to be shown whole."""
_FEWEST = 3
"""Layers that are worth folding."""
_NEAR = 0.8
"""Share of a limit above which a layer is near it."""

Layer = tuple[str, Mapping[str, SiteRow]]
"""What it is called, and its rows by kind of site."""


def stretches(layers: Sequence[Layer], heads: Sequence[SiteRow]) -> list[Sequence[Layer]]:
    """The layers in order, those that are folded into one row together. `heads`: the row that stands for each."""
    shown = _eventful(layers, heads)
    found: list[Sequence[Layer]] = []
    quiet: list[Layer] = []
    for place, layer in enumerate(layers):
        if place not in shown:
            quiet.append(layer)
            continue
        found += _folded(quiet)
        found.append((layer,))
        quiet = []
    return [*found, *_folded(quiet)]


def _folded(quiet: Sequence[Layer]) -> list[Sequence[Layer]]:
    if not quiet:
        return []
    return [quiet] if len(quiet) >= _FEWEST else [(layer,) for layer in quiet]


def _eventful(layers: Sequence[Layer], heads: Sequence[SiteRow]) -> set[int]:
    numbered = [place for place, head in enumerate(heads) if head.site.layer is not None]
    shown = {place for place, layer in enumerate(layers) if any(map(_is_event, layer[1].values()))}
    shown |= {place for place in range(len(layers)) if place not in numbered} | {numbered[0], numbered[-1]}
    shown |= {place for place in numbered if place and _jumps(heads[place - 1].max_abs, heads[place].max_abs)}
    sites = [(place, row) for place, layer in enumerate(layers) for row in layer[1].values()]
    shown.add(max((one for one in sites if one[1].site.counted), key=lambda one: one[1].max_abs, default=sites[0])[0])
    if limited := [one for one in sites if one[1].usage >= 0.0]:
        shown.add(max(limited, key=lambda one: one[1].usage)[0])
    if scored := [place for place in numbered if _is_number(heads[place].int8_sqnr_db)]:
        shown.add(min(scored, key=lambda place: heads[place].int8_sqnr_db or 0.0))
    return shown


def _is_event(row: SiteRow) -> bool:
    judged = row.failing or row.waived or row.close
    return bool(judged or row.nonfinite or row.usage > _NEAR) or not math.isfinite(row.max_abs)


def _jumps(before: float, after: float) -> bool:
    low, high = sorted((before, after))
    return high > 0.0 and not high < JUMP_FACTOR * low


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
