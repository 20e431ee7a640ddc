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
from pytest_maxact.record.sound.rounded import rounded


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
    _require_peaks(maxima, reading.peaks, list(samples))


def _require_places(maxima: SampleMaxima, width: int, samples: Mapping[str, tuple[str, int]]) -> None:
    if not np.isfinite(maxima.values).all():
        raise ValueError("maxima: one that is not finite, where the largest finite entry is kept")
    tokens = np.array([count for _, count in samples.values()])
    nothing = maxima.positions == -1
    wrong = (maxima.positions < -1) | (maxima.positions >= tokens) | (maxima.channels < 0)
    wrong |= (maxima.channels >= width) | (nothing & (maxima.values != 0))
    if wrong.any():
        place = int(wrong.argmax())
        name = list(samples)[place]
        raise ValueError(
            f"maxima: {shown(name)} has {maxima.values[place]} at position {maxima.positions[place]} of "
            f"{counted(int(tokens[place]), 'token')}, channel {maxima.channels[place]} of {width}"
        )


def _require_peaks(maxima: SampleMaxima, peaks: tuple[Peak, ...], names: list[str]) -> None:
    """The largest of all samples is the first peak; no sample lies below a peak of its own, and none without one above
    the last that was kept.
    """
    magnitudes = maxima.magnitudes
    of_sample: dict[str, float] = {}
    for peak in peaks:
        of_sample[peak.sample] = max(of_sample.get(peak.sample, 0.0), abs(peak.value))
    for place, name in enumerate(names):
        if name in of_sample and magnitudes[place] != of_sample[name]:
            raise ValueError(f"maxima: {shown(name)} has {magnitudes[place]}, where its peak is {of_sample[name]}")
    last = abs(peaks[-1].value) if len(peaks) == PEAKS_KEPT else 0.0
    beyond = [name for place, name in enumerate(names) if magnitudes[place] > last and name not in of_sample]
    if beyond:
        raise ValueError(f"maxima: {shown(beyond[0])} lies above the last peak and is the sample of none")
    if peaks and peaks[0].sample:
        first = names.index(peaks[0].sample)
        if (float(maxima.values[first]), int(maxima.positions[first])) != (peaks[0].value, peaks[0].position):
            raise ValueError(
                f"maxima: {shown(names[first])} has {maxima.values[first]} at position {maxima.positions[first]}, "
                f"where the largest of all is {peaks[0].value} at {peaks[0].position}"
            )
