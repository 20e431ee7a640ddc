"""Figures of tokens to sums of samples, of which intervals are made."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pytest_maxact import corpus
from pytest_maxact.record.effect import SampleEffect


def sums_by_sample(
    figures: npt.NDArray[np.float64], predicted: npt.NDArray[np.bool_], sequences: Sequence[corpus.Sequence]
) -> tuple[SampleEffect, ...]:
    """`figures` [4, tokens], of the sequences one after the other: divergence, whether the most likely token stays, the
    surprise of the model itself and under a scheme, which count where `predicted`. NaN in one is NaN in its sum.
    """
    starts = np.cumsum([0, *map(len, sequences)])[:-1]
    divergence, stays, own, under = figures
    sums = [
        np.add.reduceat(row, starts)
        for row in (
            predicted.astype(float),
            divergence,
            stays,
            np.where(predicted, own, 0),
            np.where(predicted, under, 0),
        )
    ]
    return tuple(
        SampleEffect(
            category=sequence.sample.category, tokens=len(sequence), predicted=int(count), kl=float(kl),
            stays=int(kept), nll=float(nll), nll_under=float(nll_under),
        )
        for sequence, count, kl, kept, nll, nll_under in zip(sequences, *sums, strict=True)
    )  # fmt: skip
