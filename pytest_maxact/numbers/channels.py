"""The largest magnitude of every channel of a site, and what smoothing would gain by it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Largest magnitude of every channel over the calibration split: float32 [width] of each part of a site, by the
    part's name.
    """

    parts: Mapping[str, npt.NDArray[np.float32]]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Channels)
            and self.parts.keys() == other.parts.keys()
            and all(np.array_equal(amax, other.parts[part]) for part, amax in self.parts.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: "Channels") -> "Channels":
        """Of both; a part that only one saw is kept."""
        joined = {part: self.parts.get(part, amax) for part, amax in (*other.parts.items(), *self.parts.items())}
        return Channels({part: np.maximum(amax, other.parts.get(part, amax)) for part, amax in joined.items()})


def smoothing_gain_db(amax: np.ndarray) -> float:
    """How much nearer the loudest channel comes to the median one if every channel maximum is replaced by its root, in
    dB.

    That is SmoothQuant with alpha 0.5 before weights of even channels (Xiao et al., ICML 2023): an estimate from
    maxima, not a measurement.
    """
    sound = amax[np.isfinite(amax) & (amax > 0)].astype(np.float64)
    return float(10 * np.log10(sound.max() / np.median(sound))) if sound.size else 0.0
