"""Static scales of what a runtime quantizes as it runs, inputs of linear layers and the KV cache: a scale and an exact
histogram in, what the scale costs there out, and which one would do.

Guard: of two scales below each other (NVFP4), and of one that is not symmetric, a histogram of magnitudes tells the
least that is lost, and that is said.
"""

from dataclasses import dataclass, field

import numpy as np

from pytest_maxact.numbers.checked import LATER, Count, FigureAboveZero, Flag
from pytest_maxact.numbers.formats import FP8_MAX, FormatDistortion, clip_threshold, scaled_fp8, scaled_integers
from pytest_maxact.numbers.histogram import Histogram

FP4_MAX = 6.0
_HALFWAY = (272.0, 304.0, 336.0, 368.0, 400.0, 432.0)
"""Between neighbouring numbers of E4M3, within a factor of two of its largest."""
_FEW = 100
"""One of so many entries may hold the energy."""
INPUT, CACHE = "input", "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticScale:
    """A scale of the files, by the name of its `tensor`: `module` whose input it is of, or the attention whose cache;
    `part`: `input`, or `q`, `k`, `v` and `kv` of attention.

    `number`: the format, `int8`, `fp8_e4m3`, or `fp4_e2m1` below scales in FP8. `stated`: its value, the largest where
    it has several; `reach`: the largest magnitude that it represents. `upside`: the value is the larger, the less is
    reached. `exact`: False where magnitudes alone do not tell what is lost. `by_head`: of a cache's scales a head, what
    each of them reaches. `apart`: of a tower, or of layers that predict further tokens, which nothing is read of.
    """

    tensor: str
    module: str
    part: str
    number: str
    stated: FigureAboveZero
    reach: FigureAboveZero
    upside: Flag = False
    exact: Flag = True
    layer: Count | None = None
    expert: Count | None = None
    by_head: tuple[FigureAboveZero, ...] = field(default=(), metadata=LATER)
    apart: Flag = field(default=False, metadata=LATER)

    def of_reach(self, reach: float) -> float:
        """The value that would reach so far."""
        if not (reach > 0 and self.reach > 0):
            return float("nan")
        return self.stated * (self.reach / reach if self.upside else reach / self.reach)


def top_of(number: str) -> float:
    """The largest level of a format under one scale; 0.0 for one that is not known."""
    if number.startswith("int") and number[3:].isdigit() and 2 <= int(number[3:]) <= 16:
        return float((1 << (int(number[3:]) - 1)) - 1)
    return {"fp8_e4m3": FP8_MAX, "fp4_e2m1": FP8_MAX * FP4_MAX}.get(number, 0.0)


def at_reach(seen: Histogram, number: str, reach: float) -> FormatDistortion:
    """What a static scale that reaches so far costs a tensor. Of NVFP4 the least that it can cost: no group is held
    better than its scale is, which is FP8.
    """
    if number.startswith("int"):
        return scaled_integers(seen, reach, int(number[3:]))
    return scaled_fp8(seen, reach / FP8_MAX)


def best_reach(seen: Histogram, number: str, largest: float) -> float:
    """The reach that would do: to the largest magnitude, or, of integers, the one that costs least where that is
    better.
    """
    if not number.startswith("int") or not seen.max_abs:
        return largest
    bits = int(number[3:])
    clipped = clip_threshold(seen, "optimal", bits)
    costs = {reach: scaled_integers(seen, reach, bits).sqnr_db for reach in (largest, clipped) if np.isfinite(reach)}
    return max(costs, key=lambda reach: costs[reach], default=largest)


def fair_db(seen: Histogram, number: str, largest: float, reach: float) -> float | None:
    """The SQNR that a scale of so much `reach` is held to: the least of scales that reach the `largest` magnitude, and
    less than twice as far, but no less than its own and what most entries lose by it. None of integers, which lose by
    reaching farther.

    Floats keep their SQNR within a factor of two but where a few entries hold the energy: whether these lie on a number
    of the format, as the largest does under a scale that reaches just it, is chance, and no merit of the scale. Beside
    these nothing shows of most entries, which too wide a scale makes zero.
    """
    if number.startswith("int"):
        return None
    least = min(at_reach(seen, number, largest * FP8_MAX / place).sqnr_db for place in _HALFWAY)
    most = _without_largest(seen)
    lost = at_reach(most, number, largest).sqnr_db - at_reach(most, number, reach).sqnr_db
    return max(least, at_reach(seen, number, reach).sqnr_db + max(0.0, lost))


def _without_largest(seen: Histogram) -> Histogram:
    """All but the largest hundredth of the entries."""
    kept = seen.count - seen.count // _FEW
    counts = np.clip(kept - (np.cumsum(seen.counts) - seen.counts), 0, seen.counts)
    return Histogram(seen.encoding, seen.bins[counts > 0], counts[counts > 0])
