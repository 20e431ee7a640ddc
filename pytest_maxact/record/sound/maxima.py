"""Whether the largest entries of samples agree with the site they are of: its peaks, the histograms of both splits, and
the text.

Guard: a sample whose maximum was lowered, or moved elsewhere, is found where the site's own figures tell of it.
"""

from collections.abc import Mapping

import numpy as np

from pytest_maxact.errors import shown
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Peak
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SPLITS, SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.rounded import rounded
from pytest_maxact.record.spoken import named_tokens


def require_sound_maxima(reading: SiteReading, samples: Mapping[str, tuple[str, int]]) -> None:
    """`samples`: the split and tokens of each by its id, in the order of the Record. Raises ValueError."""
    held = reading.held
    if not isinstance(held, Distributions) or held.maxima is None:
        return
    maxima = held.maxima
    if len(maxima) != len(samples):
        raise ValueError(f"maxima: {counted_of(len(maxima), len(samples), 'sample')}")
    _require_places(maxima, reading.width, samples)
    magnitudes = maxima.magnitudes
    for split in SPLITS:
        own = [place for place, (where, _) in enumerate(samples.values()) if where == split]
        largest, counted_max = magnitudes[own].max(initial=0.0), getattr(held, split).max_abs
        (as_counted,) = rounded(np.array([largest]), held.calibration.encoding)
        if np.isfinite(as_counted) and as_counted != counted_max:
            raise ValueError(f"maxima: at most {largest} in the {split} split, whose histogram ends at {counted_max}")
    require_sound_peaks(maxima, reading.peaks, list(samples))


def _require_places(maxima: SampleMaxima, width: int, samples: Mapping[str, tuple[str, int]]) -> None:
    if not np.isfinite(maxima.values).all():
        raise ValueError("maxima: one that is not finite, where the largest finite entry is kept")
    tokens = np.array([count for _, count in samples.values()])
    nothing = maxima.positions == -1
    wrong = (maxima.positions < -1) | (maxima.positions >= tokens) | (maxima.channels < 0)
    wrong |= (maxima.channels >= width) | (nothing & (maxima.values != 0))
    if maxima.tokens is not None and ((maxima.tokens < 0) != nothing).any():
        raise ValueError("maxima: a token where there is no position, or a position without one")
    if wrong.any():
        place = int(wrong.argmax())
        name = list(samples)[place]
        raise ValueError(
            f"maxima: {shown(name)} has {maxima.values[place]} at position {maxima.positions[place]} of "
            f"{counted(int(tokens[place]), 'token')}, channel {maxima.channels[place]} of {width}"
        )


def require_sound_peaks(maxima: SampleMaxima, peaks: tuple[Peak, ...], names: list[str]) -> None:
    """A sample with a peak is as large as its largest one and sits where the earliest of these does, earlier only where
    more of that size may have been left out than were kept; none without a peak lies above the last that was kept.
    """
    magnitudes = maxima.magnitudes
    last = abs(peaks[-1].value) if len(peaks) == PEAKS_KEPT else 0.0
    places = {name: place for place, name in enumerate(names)}
    of_sample: dict[str, Peak] = {}
    for peak in peaks:
        if peak.sample not in of_sample or _earlier(peak) < _earlier(of_sample[peak.sample]):
            of_sample[peak.sample] = peak
    for name, peak in of_sample.items():
        if name not in places:
            continue
        own, position = magnitudes[places[name]], int(maxima.positions[places[name]])
        moved = position > peak.position or (position < peak.position and own > last)
        token = peak.token_id if maxima.tokens is None else int(maxima.tokens[places[name]])
        if position == peak.position and token != peak.token_id:
            raise ValueError(f"maxima: {shown(name)} has another token at {position} than its peak there")
        if own != abs(peak.value) or moved:
            raise ValueError(
                f"maxima: {shown(name)} has {own} at position {position}, where its peak is {abs(peak.value)} at "
                f"{peak.position}"
            )
    beyond = [name for name, place in places.items() if magnitudes[place] > last and name not in of_sample]
    if beyond:
        raise ValueError(f"maxima: {shown(beyond[0])} lies above the last peak and is the sample of none")


def _earlier(peak: Peak) -> tuple[float, int]:
    return -abs(peak.value), peak.position


def require_sound_texts(record: Record) -> None:
    """What every token says is told at which a largest sample of a site has its maximum. Raises ValueError."""
    if missing := sorted(named_tokens(record.sites.values()) - set(record.token_texts or {})):
        raise ValueError(f"token_texts: {shown(missing[0])} is not told of, where a maximum sits")
