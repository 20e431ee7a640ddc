"""The weights of an artifact against those of the source that it was made from, as plain data.

Guards that a figure which could not be told is NaN, which passes no limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import Count, Figure, FigureAboveZero, Size

LISTED = 256
"""So many weights are kept by name, those furthest from what rounding gives by each of their figures first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowWeight:
    """A weight in low bits against the source's: `sqnr_db`, and what rounding to the nearest number of its `form` gives
    of the same source (`expected_db`); `rescaled`, the share by which it is larger or smaller than its rounded source;
    `group_loss_db`, what the worst group of entries loses over what rounding loses there, and `group` where that is.

    Of a stack of matrices the figures are the worst of any. `layer` and `expert`: where its name, or its place in the
    stack, has one.
    """

    form: str
    entries: Size
    sqnr_db: Figure
    expected_db: Figure
    rescaled: FigureAboveZero
    group_loss_db: Figure
    group: str
    layer: Count | None = None
    expert: Count | None = None

    @property
    def loss_db(self) -> float:
        return 0.0 if self.sqnr_db >= self.expected_db else self.expected_db - self.sqnr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWeight:
    """A tensor that lies in 16 bits and is not the source's: how many of its entries differ, and its SQNR; NaN where
    the shapes do, which `what` then says.
    """

    entries: Size
    differing: Count
    sqnr_db: Figure
    what: str = ""
    layer: Count | None = None
    expert: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """All weights against the source's: how many were compared in low bits and in 16; by name those in low bits, of
    many the worst, those in 16 bits that differ, and those that the artifact lacks or has beyond its source.

    `smoothed`: weights that stand against their source scaled, as AWQ and SmoothQuant scale it, by what norms and
    weights before them undo. `usual_loss_db`: what half of all weights in low bits lose at most. A calibrated quantizer
    (GPTQ) loses some in all of them, where rounding loses nothing; a weight that loses far more than the others was
    made of something else.
    """

    low: Count
    kept: Count
    usual_loss_db: Figure = 0.0
    smoothed: Count = 0
    lows: Mapping[str, LowWeight] = field(default_factory=dict)
    changed: Mapping[str, KeptWeight] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def outlying_db(self, name: str) -> float:
        """What a weight loses beyond twice the usual loss."""
        beyond = self.lows[name].loss_db - 2 * self.usual_loss_db
        return 0.0 if beyond < 0 else beyond

    @property
    def unmatched(self) -> dict[str, str]:
        """Tensors that one of the two lacks, in words."""
        return {
            **dict.fromkeys(self.missing, "the source has it, and the artifact does not"),
            **dict.fromkeys(self.extra, "the artifact has it, and the source does not"),
        }
