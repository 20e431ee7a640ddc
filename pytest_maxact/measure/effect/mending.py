"""Which linear layer breaks predictions under a scheme: one at a time stays in 16 bits, those first that should matter
most, then halves of all of them, so that a single culprit is found wherever it is.

An effect of kept linear layers goes in as a function, the one that mends it, or helps most of those tried, comes out.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.errors import MeasureError
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.reading import SiteReading

TRIED_FIRST = 3
"""So many are tried alone before halves are."""
Kept = Collection[str]


def linear_layer(tap: Tap) -> str:
    """The linear layer of a tap, or the parameter of its stacked matrices, by its path."""
    return tap.weights[0].removesuffix(".weight")


def by_contribution(taps: Iterable[Tap], readings: Mapping[str, SiteReading], scheme: str) -> list[str]:
    """Every linear layer, those first of whose input or weight the scheme loses most."""
    lost = {linear_layer(tap): _lost(tap, readings, scheme) for tap in taps}
    return sorted(lost, key=lambda name: -lost[name])


def culprit(names: Sequence[str], effect: Callable[[Kept], Effect], holds: Callable[[Effect], bool]) -> str:
    """The linear layer that, alone in 16 bits, mends the effect; where none does, the one that the search ended at."""
    for name in names[:TRIED_FIRST]:
        if holds(effect([name])):
            return name
    group = list(names)
    while len(group) > 1:
        one, other = group[: len(group) // 2], group[len(group) // 2 :]
        first = effect(one)
        group = one if holds(first) or _divergence(first) <= _divergence(effect(other)) else other
    return group[0]


def _divergence(effect: Effect) -> float:
    return math.inf if math.isnan(effect.mean_kl) else effect.mean_kl


def _lost(tap: Tap, readings: Mapping[str, SiteReading], scheme: str) -> float:
    """The largest share that is lost of its input or of one of its weights, by energy or by entries that become zero; 1
    where that cannot be told.
    """
    reading = readings.get(tap.site.name)
    if reading is None:
        return 1.0
    found = [
        by_scheme[scheme]
        for path, by_scheme in reading.weights.items()
        if scheme in by_scheme and any(f".{full}".endswith(f".{path}") for full in tap.weights)
    ]
    shares = [share for weight in found for share in (weight.flushed or weight.flush_to_zero, _noise(weight.lowest_db))]
    try:
        given = scheme_distortion(reading, scheme)
        shares += [given.flush_to_zero, _noise(given.sqnr_db), _noise(given.token_low_db)]
    except MeasureError:
        pass
    return max((1.0 if math.isnan(share) else share for share in shares), default=1.0)


def _noise(decibel: float) -> float:
    """The error's energy over the tensor's, at most 1; 0 where a figure was not taken."""
    return 0.0 if math.isnan(decibel) else min(1.0, 10.0 ** (-decibel / 10.0))
