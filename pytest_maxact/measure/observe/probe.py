"""Whether a model lets a token see its batch (other padding, another sequence beside it, a longer one, or none), or
what ran before it.

A causal model with its mask does not see its batch. One that ignores the mask, convolves over it, builds its mask only
where there is padding, or computes something from the longest sequence does, and must be given every sequence alone.
None may remember: what it gives for a sequence must be the same, bit for bit, whatever ran before.
"""

import time
from collections.abc import Callable, Sequence

import torch

from pytest_maxact.corpus.batches import BatchPlan
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.room import is_out_of_memory

PROBED = 12
"""Tokens of the piece on which it is tried."""
SAME, ROUNDED = 1e-3, 0.1
"""Relative differences that count as none: of equal shapes or in float32, and of other shapes in 16 bits."""
LONG = 4
"""A long neighbour may make so many times the difference that a short one makes, and `LONG_ROUNDED` at least, in 16
bits: both are of other shapes than nothing beside it.
"""
LONG_ROUNDED = 0.02
Glimpse = Callable[[Sequence[Sequence[int]], int], torch.Tensor]
"""Rows of equal length, of which only the first so many tokens of the last are real there -> what the model gives for
those tokens.
"""


def sees_its_batch(plan: BatchPlan, glimpse: Glimpse, most: int) -> bool:
    """Whether a piece of the corpus, of `most` tokens at most, gives something else beside other padding, beside
    another neighbour, or alone.

    With other padding the shapes are the same, and so must be the result; otherwise a 16-bit model is allowed its
    rounding. A broken model, whose results are not finite or all zero, cannot be told by them, and fails for that.
    """
    ids = sorted((sequence.ids for batch in plan for sequence in batch.sequences), key=len)
    short, long = ids[0][: min(PROBED, most)], ids[-1][: min(2 * PROBED, most)]
    if len(long) == len(short):
        short = short[: max(1, len(short) // 2)]
    if len(long) == len(short):
        return False
    pad, length = len(long) - len(short), len(short)
    one, other = [*short, *long[:pad]], [*short, *long[::-1][:pad]]
    padded, padded_otherwise = glimpse([long, one], length), glimpse([long, other], length)
    beside_another, alone = glimpse([long[::-1], one], length), glimpse([short], length)
    if not all(map(_tells, (padded, padded_otherwise, beside_another, alone))):
        return False
    rounding = SAME if padded.dtype == torch.float32 else ROUNDED
    return not (
        _distance(padded, padded_otherwise) <= SAME
        and _distance(padded, beside_another) <= rounding
        and _distance(padded, alone) <= rounding
    )


def sees_the_longest(plan: BatchPlan, glimpse: Glimpse, most: int) -> bool:
    """Whether a piece of the corpus gives something else beside the longest sequence that shares a batch, cut to `most`
    tokens, than it gives alone or beside a short one.
    """
    shared = [sequence.ids for batch in plan if len(batch.sequences) > 1 for sequence in batch.sequences]
    if not shared:
        return False
    short, long = min(shared, key=len)[:PROBED], max(shared, key=len)[:most]
    near = long[: 2 * PROBED]
    if not len(short) < len(near) < len(long):
        return False
    alone = glimpse([short], len(short))
    beside = [glimpse([row, [*short, *row[len(short) :]]], len(short)) for row in (near, long)]
    if not all(map(_tells, (alone, *beside))):
        return False
    noise, far = (_distance(alone, given) for given in beside)
    return not far <= (SAME if alone.dtype == torch.float32 else max(LONG * noise, LONG_ROUNDED))


def must_be_alone(plan: BatchPlan, glimpse: Glimpse) -> bool:
    """Whether sequences must not share a batch; where that could not be tried, they must not."""
    shared = [batch for batch in plan if len(batch.sequences) > 1]
    most = max((len(sequence) for batch in shared for sequence in batch.sequences), default=0)
    while most > 1:
        try:
            return sees_its_batch(shared, glimpse, most) or sees_the_longest(shared, glimpse, most)
        except Exception as error:
            if not is_out_of_memory(error):
                return True
            most //= 2
    return most == 1


class Memory:
    """What a model gave for pieces of the corpus before anything else ran; `refuse` compares it with what it gives now.

    They are the shortest sequence, and, where it is longer than what is tried anyhow, half of the longest, which is
    beyond what a table grows from in the first place.
    """

    def __init__(self, plan: BatchPlan, glimpse: Glimpse) -> None:
        ids = sorted((sequence.ids for batch in plan for sequence in batch.sequences), key=len)
        self._glimpse = glimpse
        pieces = [ids[0][:PROBED]]
        if len(ids[-1]) > 2 * PROBED:
            pieces.append(ids[-1][: -(-len(ids[-1]) // 2)])
        begun = time.monotonic()
        self._first = {tuple(piece): glimpse([piece], len(piece)) for piece in pieces}
        self.seconds = time.monotonic() - begun
        """What it took, and `refuse` takes."""

    def recalled(self, rows: Sequence[Sequence[int]], length: int) -> torch.Tensor:
        """A glimpse, or what it gave at first."""
        known = self._first.get(tuple(rows[0])) if len(rows) == 1 else None
        return self._glimpse(rows, length) if known is None else known

    def refuse(self) -> None:
        """Raise MeasureError where it gives something else now. A processor repeats itself bit for bit; on other
        devices the order of a sum may vary.
        """
        for piece, first in self._first.items():
            now = self._glimpse([piece], len(piece))
            if not (_tells(first) and _tells(now)) or torch.equal(first, now):
                continue
            if first.device.type == "cpu" or not _distance(first, now) <= SAME:
                raise MeasureError(
                    f"what this model gives for {len(piece)} tokens is not the same before and after the corpus: it "
                    "remembers what ran, or draws random numbers\n"
                    "  its figures would depend on the order of the samples; please report the model_type"
                )


def _tells(given: torch.Tensor) -> bool:
    """Whether something can be told by what a model gave."""
    return bool(given.isfinite().all()) and bool(given.any())


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative distance of two tensors that are finite and not zero."""
    return float((one.double() - other.double()).norm() / one.double().norm())
