"""Energies of single samples, of which intervals of a signal-to-noise ratio are made: sums of squares in, whole numbers
that are small to keep out, and back. No torch.

An energy is kept to a thirty-second of an octave, half a step of which is 1.1 %: a sum over samples is off by that at
most, an interval of sums by far less than it is wide, and the figure itself is never taken from these. Zero is kept as
zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

STEPS = 32
"""Of an octave."""
NOTHING = 0
_ONE = 1 << 16
"""Stands for an energy of 1."""
HIGHEST = _ONE + 1024 * STEPS
"""No number of 64 bits has more."""
Codes = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]


def codes_of(energies: Floats) -> Codes:
    """Of finite energies [n], none below zero."""
    steps = np.rint(np.log2(np.where(energies > 0, energies, 1.0)) * STEPS) + _ONE
    return np.where(energies > 0, steps, NOTHING).astype(np.uint32)


def energies_of(codes: Codes) -> Floats:
    """The reverse, but for the rounding."""
    found: Floats = np.where(codes == NOTHING, 0.0, np.exp2((codes.astype(np.float64) - _ONE) / STEPS))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class SampleSums:
    """Of a site, in the order of its samples or of groups of them, [n] each as codes: energies of entries, `signal`,
    and of what each scheme or format makes an error of them, `errors` by its name.
    """

    signal: Codes
    errors: Mapping[str, Codes] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.signal.size

    def __add__(self, other: "SampleSums") -> "SampleSums":
        """Of other samples too, which stand behind; of errors those that both tell of."""
        both = [name for name in self.errors if name in other.errors]
        return SampleSums(
            np.concatenate([self.signal, other.signal]),
            {name: np.concatenate([self.errors[name], other.errors[name]]) for name in both},
        )

    def ordered(self, places: Sequence[int]) -> "SampleSums":
        """The same samples in another order."""
        order = np.asarray(places, np.int64)
        return SampleSums(self.signal[order], {name: codes[order] for name, codes in self.errors.items()})

    def summed(self, groups: npt.NDArray[np.int64]) -> "SampleSums":
        """Of groups of these samples, of which `groups` [n] says where each belongs."""

        def together(codes: Codes) -> Codes:
            return codes_of(np.bincount(groups, energies_of(codes)).astype(np.float64))

        return SampleSums(together(self.signal), {name: together(codes) for name, codes in self.errors.items()})

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SampleSums)
            and np.array_equal(self.signal, other.signal)
            and self.errors.keys() == other.errors.keys()
            and all(np.array_equal(codes, other.errors[name]) for name, codes in self.errors.items())
        )

    __hash__ = None  # type: ignore[assignment]
