"""What is kept of a site under a scheme while a pass runs, and the figures that follow from it. No torch.

Sums over sampled tokens (or token-expert pairs), in float64. They add, so parts of a corpus merge.
"""

import math
from collections import Counter
from dataclasses import dataclass, fields

from pytest_maxact.numbers.checked import Count, Figure

DB_LOWEST, DB_PER_BIN = -60.0, 0.05
DB_BINS = 5202
"""SQNR of single tokens in bins of 0.05 dB from -60 to 200 dB; the last one is for tokens without any error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeSums:
    """Over sampled rows x and what a scheme restores of them: counts, sums of x^2 (`signal`) and of the squared error
    (`error`), of magnitudes, and of the squares and products of both per row.

    `calm_`: over rows without a massive activation. `clipped`: entries beyond the largest level; `flushed`: non-zero
    ones that become zero. `token_db`: rows per bin of their own SQNR. `levels`: numbers of the levels that occurred.
    """

    tokens: Count = 0
    entries: Count = 0
    nonzero: Count = 0
    clipped: Count = 0
    flushed: Count = 0
    signal: Figure = 0.0
    error: Figure = 0.0
    signal_abs: Figure = 0.0
    error_abs: Figure = 0.0
    signal_squares: Figure = 0.0
    error_squares: Figure = 0.0
    products: Figure = 0.0
    calm_tokens: Count = 0
    calm_signal: Figure = 0.0
    calm_error: Figure = 0.0
    token_db: tuple[tuple[Count, Count], ...] = ()
    levels: tuple[Count, ...] = ()

    def __add__(self, other: "SchemeSums") -> "SchemeSums":
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in ("token_db", "levels")
        }
        counts = Counter(dict(self.token_db)) + Counter(dict(other.token_db))
        return SchemeSums(
            **sums, token_db=tuple(sorted(counts.items())), levels=tuple(sorted({*self.levels, *other.levels}))
        )

    @property
    def sqnr_db(self) -> float:
        return decibel(self.signal, self.error)

    @property
    def calm_sqnr_db(self) -> float:
        """SQNR of the tokens without a massive activation; NaN where there are none."""
        return decibel(self.calm_signal, self.calm_error) if self.calm_tokens else math.nan

    def sqnr_error_db(self, population: int) -> float:
        """Standard error of the SQNR as an estimate for `population` tokens, in dB: the delta method for a ratio of
        sums, 0 where all were seen.
        """
        if self.tokens < 2 or not self.error or not self.signal or self.tokens >= population:
            return 0.0
        ratio = self.error / self.signal
        spread = max(0.0, self.error_squares - 2 * ratio * self.products + ratio * ratio * self.signal_squares)
        share = 1.0 - self.tokens / population
        return 10.0 / math.log(10.0) * math.sqrt(spread * share) / self.error

    def token_quantile_db(self, q: float) -> float:
        """The SQNR that a share q of the tokens do not exceed: lower edge of its bin, inf for tokens without error; NaN
        for no tokens.
        """
        rank, seen = max(1, math.ceil(q * self.tokens)), 0
        for place, count in self.token_db:
            seen += count
            if seen >= rank:
                return math.inf if place == DB_BINS - 1 else DB_LOWEST + place * DB_PER_BIN
        return math.nan


def decibel(signal: float, error: float) -> float:
    """Ratio of two energies in dB: inf without an error, -inf where the error is infinite or all there is; NaN without
    a finite signal.
    """
    if not math.isfinite(signal) or math.isnan(error):
        return math.nan
    if error == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / error) if signal > 0 and math.isfinite(error) else -math.inf
