"""The massive-activation test of Sun et al. (COLM 2024): what is kept of it while a pass runs."""

from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count, Magnitude


@dataclass(frozen=True, slots=True, kw_only=True)
class Massive:
    """The massive-activation test of Sun et al. (COLM 2024) on a residual stream: |x| > 100 and |x| > 1000 times the
    token's median |x|.

    `tokens` and `entries` that satisfy it; `max_ratio` is the largest |x| / median over tokens with an entry above 100,
    None without such a token.
    """

    tokens: Count = 0
    entries: Count = 0
    max_ratio: Magnitude | None = None

    def __add__(self, other: "Massive") -> "Massive":
        ratios = [r for r in (self.max_ratio, other.max_ratio) if r is not None]
        return Massive(
            tokens=self.tokens + other.tokens, entries=self.entries + other.entries, max_ratio=max(ratios, default=None)
        )
