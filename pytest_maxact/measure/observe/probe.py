"""Whether a model lets a token see its batch: other padding, another sequence beside it, or nothing beside it.

A causal model with its mask does not. One that ignores the mask, convolves over it, or builds its mask only where there
is padding does, and must be given every sequence alone.
"""

from collections.abc import Callable, Sequence

import torch

from pytest_maxact.corpus.batches import BatchPlan

PROBED = 12
"""Tokens of the piece on which it is tried."""
SAME, ROUNDED = 1e-3, 0.1
"""Relative differences that count as none: of equal shapes or in float32, and of other shapes in 16 bits."""
Glimpse = Callable[[Sequence[Sequence[int]], int], torch.Tensor]
"""Rows of equal length, of which only the first so many tokens of the last are real there -> what the model gives for
those tokens.
"""


def sees_its_batch(plan: BatchPlan, glimpse: Glimpse) -> bool:
    """Whether a piece of the corpus gives something else beside other padding, beside another neighbour, or alone.

    With other padding the shapes are the same, and so must be the result; otherwise a 16-bit model is allowed its
    rounding. A broken model, whose results are not finite or all zero, cannot be told by them, and fails for that.
    """
    ids = sorted((sequence.ids for batch in plan for sequence in batch.sequences), key=len)
    short, long = ids[0][:PROBED], ids[-1][: 2 * PROBED]
    if len(long) == len(short):
        short = short[: max(1, len(short) // 2)]
    if len(long) == len(short):
        return False
    pad, length = len(long) - len(short), len(short)
    one, other = [*short, *long[:pad]], [*short, *long[::-1][:pad]]
    padded, padded_otherwise = glimpse([long, one], length), glimpse([long, other], length)
    beside_another, alone = glimpse([long[::-1], one], length), glimpse([short], length)
    if not all(
        bool(given.isfinite().all()) and bool(given.any())
        for given in (padded, padded_otherwise, beside_another, alone)
    ):
        return False
    rounding = SAME if padded.dtype == torch.float32 else ROUNDED
    return not (
        _distance(padded, padded_otherwise) <= SAME
        and _distance(padded, beside_another) <= rounding
        and _distance(padded, alone) <= rounding
    )


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative distance of two tensors that are finite and not zero."""
    return float((one.double() - other.double()).norm() / one.double().norm())
