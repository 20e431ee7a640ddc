"""How far the entries of a site lie from the mean of their channel, within each sequence."""

from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count, Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Over the evaluation split: `entries`, and the sum of the squares of their distances, `energy`."""

    entries: Count
    energy: Figure

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(entries=self.entries + other.entries, energy=self.energy + other.energy)
