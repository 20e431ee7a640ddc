"""Whether what a Record says of an artifact against its source agrees with itself: that in, nothing out, or ValueError
with the first contradiction.

Guards that an edited file does not pass limits by figures that nothing was compared for.
"""

import math
from collections import Counter
from itertools import pairwise

from pytest_maxact.errors import shown
from pytest_maxact.numbers.against import LISTED, Weights
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.source import (
    CONFIDENCES,
    PERPLEXITIES,
    QUANTITIES,
    AgainstSource,
    Departure,
    Estimate,
)

_NAMES = {*QUANTITIES, *PERPLEXITIES}
_BINS = list(pairwise(CONFIDENCES))


def require_sound_source(found: AgainstSource | None, tokens: int) -> None:
    """`tokens`: of the evaluation split. Raise ValueError that names the key and what it contradicts."""
    if found is None:
        return
    _require_weights(found.weights, found.form)
    for name, departure in (("predictions", found.predictions), ("noise", found.noise)):
        if departure is not None:
            _require_departure(f"source.{name}", departure, tokens)
    if (found.predictions is None) != bool(found.unpredicted):
        raise ValueError("source.unpredicted: why predictions were not compared, where they were, or nothing where not")


def _require_weights(weights: Weights, form: str) -> None:
    if not weights.low + weights.kept:
        raise ValueError("source.weights: none were compared, so nothing can be judged")
    if not min(weights.low, LISTED) <= len(weights.lows) <= weights.low:
        raise ValueError(
            f"source.weights.lows: {counted(len(weights.lows), 'weight')} by name, of {weights.low} in low bits"
        )
    if len(weights.changed) > weights.kept + weights.low:
        raise ValueError(f"source.weights.changed: {len(weights.changed)}, of {weights.kept + weights.low} compared")
    if bool(weights.low) > bool(form):
        raise ValueError("source.form: empty, where weights lie in low bits")
    for name, kept in weights.changed.items():
        if not 0 < kept.differing <= kept.entries:
            raise ValueError(f"source.weights.changed: {shown(name)} differs in {kept.differing} of {kept.entries}")
    twice = [name for name, times in Counter((*weights.missing, *weights.extra)).items() if times > 1]
    if twice:
        raise ValueError(f"source.weights: {shown(twice[0])} is missing, or beyond the source, twice")


def _require_departure(key: str, found: Departure, tokens: int) -> None:
    if not found.samples <= found.tokens <= tokens or found.nonfinite > found.tokens:
        raise ValueError(
            f"{key}.tokens: {counted(found.samples, 'sample')} of {counted(found.tokens, 'token')}, where {tokens} "
            "were there to predict from"
        )
    if found.figures.keys() != _NAMES:
        raise ValueError(f"{key}.figures: {', '.join(sorted(_NAMES ^ found.figures.keys()))}: missing, or unknown")
    for name, figure in found.figures.items():
        _require_estimate(f"{key}.figures.{name}", figure, found)
    if [(one.low, one.high) for one in found.confidence] != _BINS:
        raise ValueError(f"{key}.confidence: other bins than those from {CONFIDENCES[0]:g} to {CONFIDENCES[-1]:g}")
    if sum(one.tokens for one in found.confidence) != found.tokens - found.nonfinite:
        raise ValueError(f"{key}.confidence: not of all {found.tokens} tokens")


def _require_estimate(key: str, figure: Estimate, found: Departure) -> None:
    if figure.low > figure.high:
        raise ValueError(f"{key}: from {figure.low} to {figure.high}")
    if found.nonfinite and math.isfinite(figure.value):
        raise ValueError(f"{key}: {figure.value}, where {found.nonfinite} distributions are not finite")
    if not found.nonfinite and "perplexity" in key and math.isnan(figure.value):
        raise ValueError(f"{key}: nan, where every distribution is finite")
