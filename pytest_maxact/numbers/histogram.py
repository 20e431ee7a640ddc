"""Exact magnitude histograms: how often every representable |x| of a 16-bit float occurred at a site.

A bfloat16 or float16 magnitude has 15 bits, so 32 768 counters hold the whole distribution without loss. Maximum,
quantiles, rms and the error of every per-tensor number format follow from them exactly. Histograms add: parts of a
corpus, merged in any order, give the identical whole.

Counts are int64. Bins at and above `infinity_bin` are infinities and NaN: they are counted, and kept out of every other
figure.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.dot import dot

BINS = 1 << 15
INFINITY_BIN = {"bfloat16": 0x7F80, "float16": 0x7C00}


@cache
def magnitudes(encoding: str) -> npt.NDArray[np.float64]:
    """The value of every bin, [32 768] float64: increasing, then inf, then NaN."""
    if encoding not in INFINITY_BIN:
        raise ValueError(f"no 15-bit magnitude encoding called {encoding!r}; there are {sorted(INFINITY_BIN)}")
    bits = np.arange(BINS, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        encoded = (bits << 16).view(np.float32) if encoding == "bfloat16" else bits.astype(np.uint16).view(np.float16)
        values = encoded.astype(np.float64)
    values.setflags(write=False)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Non-empty bins of one site: `bins` uint16 [k] increasing, `counts` int64 [k] positive."""

    encoding: str
    bins: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.encoding not in INFINITY_BIN:
            raise ValueError(f"no 15-bit magnitude encoding called {self.encoding!r}; there are {sorted(INFINITY_BIN)}")

    @classmethod
    def from_dense(cls, encoding: str, counts: npt.NDArray[np.int64]) -> "Histogram":
        """From one counter per bin, [32 768]. Raises ValueError on a negative count."""
        if counts.shape != (BINS,) or (counts < 0).any():
            raise ValueError(f"a histogram has {BINS} counts, none negative")
        (bins,) = np.nonzero(counts)
        return cls(encoding, bins.astype(np.uint16), counts[bins].astype(np.int64))

    @classmethod
    def from_values(cls, encoding: str, values: npt.NDArray[np.float64]) -> "Histogram":
        """From raw values that the encoding represents exactly; for tests and small data."""
        single = np.abs(values).astype(np.float32)
        bits = (single.view(np.uint32) >> 16) if encoding == "bfloat16" else single.astype(np.float16).view(np.uint16)
        return cls.from_dense(encoding, np.bincount(bits.astype(np.int64).ravel(), minlength=BINS))

    @classmethod
    def empty(cls, encoding: str) -> "Histogram":
        return cls(encoding, np.zeros(0, np.uint16), np.zeros(0, np.int64))

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.encoding != other.encoding:
            raise ValueError(f"histograms of {self.encoding} and {other.encoding} do not add")
        if not (self.bins.size and other.bins.size):
            return self if self.bins.size else other
        counts, held = np.zeros(BINS, np.int64), np.zeros(BINS, np.bool_)
        for one in (self, other):
            counts[one.bins] += one.counts
            held[one.bins] = True
        (bins,) = np.nonzero(held)
        return Histogram(self.encoding, bins.astype(np.uint16), counts[bins])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram)
            and self.encoding == other.encoding
            and np.array_equal(self.bins, other.bins)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def dense(self) -> npt.NDArray[np.int64]:
        counts = np.zeros(BINS, np.int64)
        counts[self.bins] = self.counts
        return counts

    @property
    def count(self) -> int:
        """All entries, non-finite ones included."""
        return int(self.counts.sum())

    @property
    def nonfinite(self) -> int:
        first = _finite_bins(self)
        return int(self.counts[first:].sum()) if first < self.bins.size else 0

    def finite(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Magnitudes, increasing, and their counts, non-finite ones left out: two arrays [k]."""
        kept = self.bins < INFINITY_BIN[self.encoding]
        return magnitudes(self.encoding)[self.bins[kept]], self.counts[kept]

    @property
    def max_abs(self) -> float:
        """Largest finite magnitude; 0.0 for none, which `count` and `nonfinite` tell from a tensor of zeros."""
        kept = _finite_bins(self)
        return float(magnitudes(self.encoding)[self.bins[kept - 1]]) if kept else 0.0

    def quantile(self, q: float) -> float:
        """The smallest magnitude that at least a share q of the finite entries do not exceed (numpy's `inverted_cdf`),
        0 < q <= 1.
        """
        if not 0.0 < q <= 1.0:
            raise ValueError(f"a quantile lies in (0, 1], not {q}")
        values, counts = self.finite()
        if not values.size:
            return 0.0
        cumulative = np.cumsum(counts)
        total = int(cumulative[-1])
        rank = max(1, min(total, _ceil_exact(float(q), total)))
        return float(values[np.searchsorted(cumulative, rank, side="left")])

    @property
    def rms(self) -> float:
        """Root of the mean square of the finite entries, float64."""
        values, counts = self.finite()
        total = counts.sum()
        return float(np.sqrt(dot(values * values, counts) / total)) if total else 0.0

    @property
    def mean_abs(self) -> float:
        values, counts = self.finite()
        total = counts.sum()
        return float(dot(values, counts) / total) if total else 0.0

    def above(self, threshold: float) -> int:
        """How many finite entries exceed `threshold` in magnitude."""
        values, counts = self.finite()
        return int(counts[values > threshold].sum())


def _ceil_exact(q: float, total: int) -> int:
    """ceil(q * total) with q read as the decimal it was written as: 0.999 of 1 000 is 999, whatever its binary form
    is.
    """
    return -int(-Fraction(repr(q)) * total // 1)


def _finite_bins(histogram: Histogram) -> int:
    """How many of the bins, which increase, hold finite magnitudes."""
    return int(histogram.bins.searchsorted(histogram.bins.dtype.type(INFINITY_BIN[histogram.encoding])))
