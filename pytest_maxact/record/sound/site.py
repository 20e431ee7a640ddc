"""Whether the reading of one site agrees with itself and with the text it was taken on.

The histograms are what was counted: largest entries, places, massive activations, sums of schemes and maxima of
channels follow from the same entries, and are held to them. Of a summary the figures are held to each other
(`figures`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pytest_maxact.errors import shown
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.dot import dot
from pytest_maxact.numbers.histogram import INFINITY_BIN, Histogram, magnitudes
from pytest_maxact.numbers.peaks import PEAKS_KEPT, NonFinite, Peak
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import LINEAR_KINDS
from pytest_maxact.numbers.sums import DB_BINS, SchemeSums
from pytest_maxact.record.around import require_short
from pytest_maxact.record.held import Distributions, Summary
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.sound.figures import require_sound_figures, require_sound_weight
from pytest_maxact.record.sound.maxima import require_sound_maxima
from pytest_maxact.record.sound.rounded import rounded

_RESIDUAL = ("embedding", "hidden", "final_norm")
"""Kinds of which every token gives one row."""
_ROUTED = ("gate", *LINEAR_KINDS)
"""Kinds that may lie inside of experts, which are given as many rows as the router chose."""
_MASSIVE_ABOVE = 100.0
_NEAR = 1.01
"""Entries wider than 16 bits are rounded in the histogram, by less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a Record was measured on: the tokens of every sample by its id, the split of each in the order of the Record
    beside them, and the tokens of both splits.
    """

    samples: Mapping[str, int]
    calibration: int
    evaluation: int
    placed: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def require_sound_site(reading: SiteReading, text: Text, is_routed: bool) -> None:
    """Raise ValueError that names the site, the key and what it contradicts. `is_routed`: its layer has experts, whose
    rows are as many as the router chose.
    """
    try:
        _require_format(reading)
        _require_counts(reading, text, is_routed)
        _require_places(reading, text)
        require_short(reading)
        if isinstance(reading.held, Distributions):
            _require_peaks(reading, reading.held)
            _require_massive(reading, reading.held)
            _require_channels(reading, reading.held)
            for name, sums in reading.held.schemes.items():
                _require_sums(name, sums, reading.held.evaluation, exact=reading.nonfinite == 0)
            require_sound_maxima(reading, text.placed)
        elif isinstance(reading.held, Summary):
            require_sound_figures(reading, reading.held)
        for by_scheme in reading.weights.values():
            for name, weight in by_scheme.items():
                require_sound_weight(name, weight)
    except ValueError as error:
        raise ValueError(f"{reading.site.name}: {error}") from error


def _require_format(reading: SiteReading) -> None:
    encoding = reading.dtype if reading.dtype in INFINITY_BIN else "bfloat16"
    held = reading.held
    found = held.encoding if isinstance(held, Summary) else held.calibration.encoding
    if found != encoding:
        raise ValueError(f"encoding: {found}, where {reading.dtype} is counted in {encoding}")


def _require_counts(reading: SiteReading, text: Text, is_routed: bool) -> None:
    """Every token gives a row of the site's width, or several parts of it, experts apart."""
    for split, tokens in (("calibration", text.calibration), ("evaluation", text.evaluation)):
        held = getattr(reading.held, split)
        count = _total(held) if isinstance(held, Histogram) else held.count
        if not 0 <= held.nonfinite <= count:
            raise ValueError(f"{split}: {counted_of(held.nonfinite, count, 'entry', 'is', 'are')} not finite")
        if reading.site.kind in _RESIDUAL and count != tokens * reading.width:
            raise ValueError(
                f"{split}: {counted(count, 'entry')}, where {counted(tokens, 'token', 'has', 'have')} "
                f"{tokens * reading.width} in a width of {reading.width}"
            )
        if count and not tokens:
            raise ValueError(f"{split}: {counted(count, 'entry')} of no token")
        if not (is_routed and reading.site.kind in _ROUTED) and (
            count < tokens * reading.width or (tokens and count % tokens)
        ):
            raise ValueError(
                f"{split}: {counted(count, 'entry', 'is', 'are')} not whole rows of {counted(tokens, 'token')}, "
                f"{reading.width} wide"
            )
    if not reading.count:
        raise ValueError("splits: no entry was counted")
    given, tokens = reading.tokens_per_expert, text.calibration + text.evaluation
    if given is not None and (reading.site.kind != "router" or max(given, default=0) > tokens):
        raise ValueError("expert_tokens: more than there are tokens, or not of a router")


def _total(histogram: Histogram) -> int:
    """Its entries; sums that do not fit into 64 bits are refused, not wrapped around."""
    if histogram.counts.sum(dtype=np.float64) >= 2.0**62:
        raise ValueError("counts: more entries than can be counted")
    return histogram.count


def _require_places(reading: SiteReading, text: Text) -> None:
    first = reading.first_nonfinite
    wide = reading.dtype not in INFINITY_BIN
    if (first is None and reading.nonfinite and not wide) or (first is not None and not reading.nonfinite):
        what = "none" if first is None else "one"
        raise ValueError(
            f"first_nonfinite: {what}, where {counted(reading.nonfinite, 'entry', 'is', 'are')} not finite"
        )
    if reading.heads and (reading.width % reading.heads or not reading.site.is_of_attention):
        raise ValueError(f"heads: {reading.heads} of {reading.width} channels of {reading.site.kind}")
    places: list[tuple[str, Peak | NonFinite]] = [(f"peaks.{i}", peak) for i, peak in enumerate(reading.peaks)]
    places += [("first_nonfinite", first)] if first else []
    for key, place in places:
        tokens = text.samples.get(place.sample)
        if place.channel >= reading.width:
            raise ValueError(f"{key}.channel: {place.channel} of {reading.width}")
        if tokens is None and (place.sample or place.position >= 0):
            raise ValueError(f"{key}.sample: no sample {shown(place.sample)}")
        if tokens is not None and not 0 <= place.position < tokens:
            raise ValueError(f"{key}.position: {place.position} in a sample of {counted(tokens, 'token')}")


def _require_peaks(reading: SiteReading, held: Distributions) -> None:
    """The ten largest entries are those of the histograms, rounded as they are."""
    encoding = held.calibration.encoding
    counted = sorted([*_largest(held.calibration), *_largest(held.evaluation)], reverse=True)[:PEAKS_KEPT]
    values = np.asarray([abs(peak.value) for peak in reading.peaks], np.float64)
    stated = [value for value in rounded(values, encoding) if np.isfinite(value)]
    if stated != counted[: len(stated)] or (len(stated) < len(counted) and len(reading.peaks) < PEAKS_KEPT):
        same = [a == b for a, b in zip(stated, counted, strict=False)]
        place = same.index(False) if False in same else len(same)
        there = counted[place] if place < len(counted) else "no entry"
        raise ValueError(f"peaks.{place}: not the histogram's, which has {there} there")


def _largest(histogram: Histogram) -> list[float]:
    """The ten largest finite magnitudes, each as often as it occurs."""
    end = int(np.searchsorted(histogram.bins, INFINITY_BIN[histogram.encoding]))
    start = max(0, end - PEAKS_KEPT)
    values, counts = magnitudes(histogram.encoding)[histogram.bins[start:end]], histogram.counts[start:end]
    found: list[float] = np.repeat(values, np.minimum(counts, PEAKS_KEPT)).tolist()
    return found


def _require_massive(reading: SiteReading, held: Distributions) -> None:
    massive = reading.massive
    if (massive is not None) != (reading.site.kind == "hidden"):
        raise ValueError("massive: tested of the residual stream, and of it alone")
    if massive is None:
        return
    above, far_above = (
        sum(split.above(bound) for split in (held.calibration, held.evaluation))
        for bound in (_MASSIVE_ABOVE / _NEAR, _MASSIVE_ABOVE * _NEAR)
    )
    if not massive.tokens <= massive.entries <= above or (massive.tokens == 0) != (massive.entries == 0):
        raise ValueError(
            f"massive: {counted(massive.entries, 'entry')} of {counted(massive.tokens, 'token')}, where "
            f"{above} {'is' if above == 1 else 'are'} above 100"
        )
    if (massive.max_ratio is None and far_above) or (massive.max_ratio is not None and not above):
        raise ValueError(
            f"massive.max_ratio: {massive.max_ratio}, where {counted(far_above, 'entry', 'is', 'are')} above 100"
        )


def _require_channels(reading: SiteReading, held: Distributions) -> None:
    if (held.evaluated or held.spread) and not reading.site.is_cached:
        raise ValueError("evaluated, spread: observed of what a cache keeps alone")
    if held.channels and not (reading.site.is_linear_input or reading.site.is_cached):
        raise ValueError("channels: observed at inputs of linear layers and of keys and values alone")
    if held.spread and not (held.spread.energy >= 0 or held.evaluation.nonfinite):
        raise ValueError(f"spread.energy: {held.spread.energy}, an energy below zero")
    if held.spread and held.spread.entries != held.evaluation.count:
        raise ValueError(f"spread.entries: {held.spread.entries} of {held.evaluation.count}")
    if held.evaluated is not None:
        largest = _largest_channel("evaluated", held.evaluated, reading.width)
        if held.evaluation.nonfinite == 0 and rounded(np.array([largest]), held.evaluation.encoding) != [
            held.evaluation.max_abs
        ]:
            raise ValueError(f"evaluated: at most {largest}, where the split has {held.evaluation.max_abs}")
    if held.channels is None:
        return
    largest = _largest_channel("channels", held.channels, reading.width)
    if held.calibration.nonfinite == 0:
        deployed = reading.as_deployed or 0.0
        most, widest = rounded(np.array([largest, deployed]), held.calibration.encoding)
        wanted = max(held.calibration.max_abs, widest)
        if math.isfinite(deployed) and most != wanted:
            raise ValueError(
                f"channels: at most {most}, where the calibration split and text as deployed have {wanted}"
            )


def _largest_channel(key: str, channels: Channels, width: int) -> float:
    """The largest of them; NaN where one is."""
    if max((amax.size for amax in channels.parts.values()), default=0) != width:
        raise ValueError(f"{key}: not as many as the width, {width}")
    largest = np.concatenate([np.zeros(1, np.float32), *channels.parts.values()]).astype(np.float64)
    if (largest < 0).any():
        raise ValueError(f"{key}: a magnitude below zero")
    return float(largest.max())


def _require_sums(name: str, sums: SchemeSums, evaluation: Histogram, exact: bool) -> None:
    """What was sampled is part of the evaluation split. `exact`: all of it is finite."""
    key = f"schemes.{name}"
    scheme = SCHEMES[name]
    if scheme.activations is None and scheme.cache is None:
        raise ValueError(f"{key}: a scheme that leaves activations as they are")
    counts = (
        ("entries", sums.entries, evaluation.count),
        ("tokens", sums.tokens, sums.entries),
        ("nonzero", sums.nonzero, sums.entries),
        ("clipped", sums.clipped, sums.entries),
        ("flushed", sums.flushed, sums.nonzero if exact else sums.entries),
        ("calm_tokens", sums.calm_tokens, sums.tokens),
    )
    for what, part, whole in counts:
        if part > whole:
            raise ValueError(f"{key}.{what}: {part} of {whole}")
    places = [place for place, _ in sums.token_db]
    if sum(count for _, count in sums.token_db) != sums.tokens or any(place >= DB_BINS for place in places):
        raise ValueError(f"{key}.token_db: not of {counted(sums.tokens, 'token')}")
    if places != sorted(set(places)) or list(sums.levels) != sorted(set(sums.levels)):
        raise ValueError(f"{key}: token_db or levels out of order")
    energies = (sums.signal, sums.error, sums.signal_abs, sums.error_abs, sums.calm_signal, sums.calm_error)
    if any(energy < 0 for energy in energies):
        raise ValueError(f"{key}: an energy below zero")
    if not exact:
        return
    values, found = evaluation.finite()
    energy = dot(values * values, found) * _NEAR**2
    if not sums.signal <= energy or not sums.signal_abs <= dot(values, found) * _NEAR:
        raise ValueError(f"{key}.signal: {sums.signal}, more than the histogram's {energy}")
    if sums.calm_signal > sums.signal * _NEAR or sums.calm_error > sums.error * _NEAR:
        raise ValueError(f"{key}.calm_signal: more than that of all tokens")
