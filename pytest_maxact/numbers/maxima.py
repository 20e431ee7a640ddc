"""The largest finite entry of every sample at one site, and where it sat: what saturation and intervals of a maximum
follow from. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class SampleMaxima:
    """In the order of the samples, [samples] each: `values` float32, signed and exact in the site's own dtype;
    `positions` int32, of the token, -1 for a sample without a finite entry, whose value is 0; `channels` int32. Of
    equal magnitudes the earliest position is named, there the lowest channel. `tokens` int32, the id of the token
    there, -1 where there is none; None where it is not known.
    """

    values: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]
    channels: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32] | None = None

    @property
    def magnitudes(self) -> npt.NDArray[np.float64]:
        """Float64 [samples]."""
        return np.abs(self.values).astype(np.float64)

    def __len__(self) -> int:
        return self.values.size

    def __add__(self, other: "SampleMaxima") -> "SampleMaxima":
        """Of other samples too, which stand behind."""
        return SampleMaxima(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.channels, other.channels]),
            None if self.tokens is None or other.tokens is None else np.concatenate([self.tokens, other.tokens]),
        )

    def ordered(self, places: Sequence[int]) -> "SampleMaxima":
        """The same samples in another order."""
        order = np.asarray(places, np.int64)
        tokens = None if self.tokens is None else self.tokens[order]
        return SampleMaxima(self.values[order], self.positions[order], self.channels[order], tokens)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SampleMaxima)
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.channels, other.channels)
            and _alike(self.tokens, other.tokens)
        )

    __hash__ = None  # type: ignore[assignment]


def _alike(one: npt.NDArray[np.int32] | None, other: npt.NDArray[np.int32] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)
