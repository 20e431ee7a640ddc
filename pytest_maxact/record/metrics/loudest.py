"""The channel of keys, or of values, that stands out of the others: a reading in, how many times it is the middle one
and which it is, out.

The middle is the median over channels that are not zero throughout, of the channel's own head and of the whole layer;
the smaller of the two counts, for a norm over one head makes the others of it small. A channel that does not exceed the
middle of the layer is held to that alone: of a head that is all but dead, it is no louder than the other heads. Guard:
a channel without a magnitude (NaN) stands out infinitely.
"""

import math
from dataclasses import dataclass

import numpy as np

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading

_FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudest:
    """`largest`: its largest magnitude, `middle` that of the middle channel. `head` is None where there are no heads;
    `channel` counts within the head; `beside`: others of it that reach half as far, as rotary embedding turns one into
    another.
    """

    largest: float
    middle: float
    channel: int
    head: int | None = None
    part: str = ""
    beside: tuple[int, ...] = ()

    @property
    def ratio(self) -> float:
        return math.inf if math.isnan(self.largest) else self.largest / self.middle if self.middle else 1.0


def reached(held: Distributions) -> Channels | None:
    """The largest magnitude of every channel over all of the text; None where none was looked for."""
    if held.channels is None or held.evaluated is None:
        return held.channels or held.evaluated
    return held.channels | held.evaluated


def loudest(reading: SiteReading) -> Loudest:
    """Raises MeasureError where the Record holds no maxima of channels there."""
    channels = reached(reading.held) if isinstance(reading.held, Distributions) else None
    if channels is None or not channels.parts:
        raise MeasureError(
            f"{reading.site.name}: the Record holds no maxima of its channels\n"
            f"  measure again with {setting('sites')} attention"
        )
    whole = np.concatenate([amax.astype(np.float64) for amax in channels.parts.values()])
    found = [_of_part(part, amax.astype(np.float64), reading.heads, whole) for part, amax in channels.parts.items()]
    return max(found, key=lambda one: one.ratio)


def _of_part(part: str, amax: np.ndarray, heads: int | None, whole: np.ndarray) -> Loudest:
    by_head = amax.reshape(heads or 1, -1)
    usual = _middle(whole)
    own = np.array([[min(_middle(one), usual)] for one in by_head])
    middles = np.where(by_head <= usual, usual, own)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(np.isnan(by_head), np.inf, np.nan_to_num(by_head / middles, nan=0.0, posinf=0.0))
    head, channel = divmod(int(np.argmax(ratios)), by_head.shape[1])
    near = [int(other) for other in np.flatnonzero(by_head[head] * 2 >= by_head[head, channel]) if other != channel]
    return Loudest(
        largest=float(by_head[head, channel]), middle=float(middles[head, channel]), channel=channel,
        head=head if heads else None, part=part, beside=tuple(near) if len(near) < _FEW else (),
    )  # fmt: skip


def _middle(amax: np.ndarray) -> float:
    sound = amax[np.isfinite(amax) & (amax > 0)]
    return float(np.median(sound)) if sound.size else 0.0
