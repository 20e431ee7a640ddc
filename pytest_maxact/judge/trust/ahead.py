"""What more text would reach of a site, or of all counted ones: the maxima of samples and what carries them in, a tail
out, or why there is none.

Guard: no figure of maxima that one position carries. What comes there first is a choice out of a vocabulary, which is
soon tried out, and of which no distribution tells.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pytest_maxact.judge.trust.carries import Carried
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.tails import Tail, tail_of


def ahead_of(magnitudes: npt.NDArray[np.float64], dtype: str, carriers: Carried | None) -> Tail:
    """Of the largest magnitude of every sample [samples], which `carriers` were found to carry. It takes scipy."""
    if carriers and carriers.position is not None:
        return Tail(
            samples=len(magnitudes), refused=f"position {carriers.position} alone carries it, whatever the text"
        )
    return tail_of(magnitudes, dtype)


def tail_words(tail: Tail) -> list[str]:
    """What more text would reach, a line each, or why that is not told."""
    if tail.refused:
        return [f"what more text would reach is not told: {tail.refused}"]
    return [
        f"with {one.times} times the text {one.expected:.6g}, in 95 of 100 cases {one.low:.6g} to {one.high:.6g}"
        for one in tail.ahead
    ]


def largest_of_all(found: Mapping[str, SampleMaxima]) -> tuple[SampleMaxima, str]:
    """Of every sample the largest of all sites, the shallowest of equals, and the site that holds the largest of all.
    At least one site.
    """
    magnitudes = np.stack([one.magnitudes for one in found.values()])
    sites, columns = magnitudes.argmax(0), np.arange(magnitudes.shape[1])
    tokens = [one.tokens for one in found.values() if one.tokens is not None]
    largest = SampleMaxima(
        np.stack([one.values for one in found.values()])[sites, columns],
        np.stack([one.positions for one in found.values()])[sites, columns],
        np.stack([one.channels for one in found.values()])[sites, columns],
        np.stack(tokens)[sites, columns] if len(tokens) == len(found) else None,
    )
    return largest, list(found)[int(magnitudes.max(1).argmax())]
