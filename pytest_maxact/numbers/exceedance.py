"""What a maximum over samples says of text that was not seen, exactly. No distribution is assumed.

A sample maximum has no ordinary interval: the true maximum lies above it, nobody knows how far, and drawing the same
samples again never gives more. Two statements hold all the same, where the samples are independent and drawn of their
categories in the same shares:

- **How often the next sample lies above it.** With confidence c the rate is at most 1 - (1 - c) ** (1 / n) for n
  samples, about 3 / n at 95 % ("rule of three"). In other shares of categories it would be another rate; unequal rates
  among categories make the statement hold more often, not less (Jensen).
- **What another corpus of the same size would give.** All 2 n samples are alike, so its maximum lies above this one in
  half of all cases, and below the k-th largest sample where the k largest of all are of this corpus, which is rarer
  than 1 / 2 ** k. Equal magnitudes make both statements hold more often.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeding:
    """Of the largest magnitude of `samples` samples: the `rate` at most, with 95 % confidence, at which the next sample
    lies above it; and `again`, which the maximum of another corpus of the same size reaches with the probability
    `reached`, at least, and the chance `above` at most that it lies above this one. `again` is None where there are too
    few samples to tell.
    """

    samples: int
    rate: float
    again: float | None
    reached: float
    above: float


def exceeding(magnitudes: npt.NDArray[np.float64]) -> Exceeding:
    """Of the largest magnitude of each sample [samples], at least one."""
    samples = len(magnitudes)
    ordered = np.sort(magnitudes)[::-1]
    missed, kept = 1.0, 0
    while missed > 1 - LEVEL and kept < samples:
        missed *= (samples - kept) / (2 * samples - kept)
        kept += 1
    told = missed <= 1 - LEVEL
    return Exceeding(
        samples=samples,
        rate=1 - (1 - LEVEL) ** (1 / samples),
        again=float(ordered[kept - 1]) if told else None,
        reached=1 - missed if told else 0.0,
        above=0.5,
    )
