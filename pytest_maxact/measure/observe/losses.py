"""What INT-8 costs every sample at every site: counts of its magnitudes in, its energy and that of its error under both
scales of the paper out, exact, over all of its tokens.

Magnitudes are counted sequence by sequence instead of batch by batch, which takes hardly longer, and a count times the
error of its magnitude is what a site's own figure is made of. The scales are those of the calibration split, whose
batches run first. Guard: which scales were used is kept, and where these are not what all of the calibration split
gives, as of a pass that is one of several, nothing is told.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.measure.observe.bits import count_bits
from pytest_maxact.measure.observe.by_sample import SIGNAL, BySample, Floats
from pytest_maxact.measure.observe.reduction import Entry, How, State, under, value_of, within
from pytest_maxact.numbers.formats import INT8_POLICIES, clip_threshold, integer_errors
from pytest_maxact.numbers.histogram import BINS, Histogram, magnitudes

if TYPE_CHECKING:
    from pytest_maxact.measure.observe.batch import Batch

Span = tuple[int, int]
_AT_ONCE = 64
"""Sequences whose counts are held at once, 256 KiB each."""
_Scales = tuple[float, ...]


class Losses:
    """Of every site, by sample of the evaluation split."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._kept = BySample(sites, INT8_POLICIES)
        self._used: dict[str, set[_Scales]] = {}
        self._known: dict[str, tuple[torch.Tensor, _Scales]] = {}
        """Of a site its scales, and the counts that they are of."""

    def counted(
        self, site: str, encoding: str, bits: torch.Tensor, spans: Sequence[Span], calibration: torch.Tensor | None
    ) -> tuple[torch.Tensor, Floats]:
        """Counts of all of `bits` [rows, width] in `spans` of rows, int64 [32 768], and of each span its energy and
        those of its errors, float64 [3, spans]; NaN where the `calibration` counts give no scale, or more than one.
        """
        scales = self._scales(site, encoding, calibration)
        total = np.zeros(BINS, np.int64)
        sums: list[Floats] = []
        left = iter(spans)
        while some := list(islice(left, _AT_ONCE)):
            counts = [found.numpy() for found in (count_bits(bits[first:last]) for first, last in some)]
            here = np.sum(counts, axis=0) if len(counts) > 1 else counts[0]
            total += here
            sums.append(_energies(encoding, counts, here, scales))
        return torch.from_numpy(total), np.concatenate(sums, 1)

    def hidden(self, sequences: int) -> Floats:
        """Of rows of which it is not known whose they are."""
        return np.full((1 + len(INT8_POLICIES), sequences), np.nan)

    def keep(self, site: str, batch: "Batch", given: Sequence[Floats]) -> None:
        """Keep what the calls of a batch gave at a site."""
        if given:
            names = [sequence.sample.id for sequence in batch.plan.sequences]
            self._kept.put([(site, name) for name in (SIGNAL, *INT8_POLICIES)], names, np.sum(given, axis=0))

    def of(self, site: str, calibration: Histogram) -> Mapping[str, Floats] | None:
        """Of a site the energies of every sample, [samples] in the order of their ids; None where they are not told, or
        were taken under other scales than `calibration` gives.
        """
        wanted = tuple(clip_threshold(calibration, policy) for policy in INT8_POLICIES)
        return self._kept.of(site, INT8_POLICIES) if self._used.get(site) == {wanted} else None

    def state(self) -> State:
        """All that was kept."""
        used = {f"{site}/{place}": sorted({one[place] for one in found}) for site, found in self._used.items()
                for place in range(len(INT8_POLICIES))}  # fmt: skip
        return under("sums", self._kept.state()) | under("used", {k: Entry(v, How.UNION) for k, v in used.items()})

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self._kept.restore(within("sums", state))
        self._used, self._known = {}, {}
        used = within("used", state)
        for site in {name.rpartition("/")[0] for name in used}:
            columns = [value_of(used, f"{site}/{place}", []) for place in range(len(INT8_POLICIES))]
            longest = max(map(len, columns))
            filled = [[*column, *column[-1:] * (longest - len(column))] for column in columns]
            self._used[site] = set(zip(*filled, strict=True))

    def _scales(self, site: str, encoding: str, calibration: torch.Tensor | None) -> _Scales | None:
        if calibration is None or len(self._used.get(site, ())) > 1:
            return None
        known = self._known.get(site)
        if known is None or known[0] is not calibration:
            histogram = Histogram.from_dense(encoding, calibration.cpu().numpy())
            known = calibration, tuple(clip_threshold(histogram, policy) for policy in INT8_POLICIES)
            self._known[site] = known
            self._used.setdefault(site, set()).add(known[1])
        return known[1] if len(self._used[site]) == 1 else None


def spans_of(batch: "Batch", stripped: bool, routed: bool) -> list[Span]:
    """Where the rows of every sequence of a batch lie; of its real tokens alone where they are `stripped`; nowhere
    where they are `routed`, and lie in another order.
    """
    if routed:
        return []
    length = batch.shape[1]
    sizes = [len(sequence) for sequence in batch.plan.sequences]
    starts = np.cumsum([0, *sizes]).tolist() if stripped else [
        place * length + start for place, start in enumerate(batch.starts)
    ]  # fmt: skip
    return [(start, start + size) for start, size in zip(starts, sizes, strict=False)]


def _energies(
    encoding: str, counts: Sequence[npt.NDArray[np.int64]], together: npt.NDArray[np.int64], scales: _Scales | None
) -> Floats:
    """Of each of some counts, float64 [3, counts]."""
    if scales is None:
        return np.full((1 + len(INT8_POLICIES), len(counts)), np.nan)
    (bins,) = np.nonzero(together)
    values = magnitudes(encoding)[bins]
    bins, values = bins[np.isfinite(values)], values[np.isfinite(values)]
    squares = [values * values, *(integer_errors(values, scale) ** 2 for scale in scales)]
    found: Floats = np.stack(squares) @ np.stack([one[bins] for one in counts], 1).astype(np.float64)
    return found
