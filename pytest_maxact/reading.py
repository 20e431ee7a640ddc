"""What was seen at one site: histograms of both splits, the largest entries and where they sat, and what deployment
schemes make of it.

Readings of parts of one corpus add up, in any order, to the identical whole.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError
from pytest_maxact.histogram import Histogram
from pytest_maxact.names import Site
from pytest_maxact.schemes.sums import SchemeSums
from pytest_maxact.schemes.table import SCHEMES

SPLITS = ("calibration", "evaluation")
PEAKS_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """One large entry: its signed value, and where it sat. `channel` is the index along the site's width; `part` names
    the module where a site joins several (the routed and the shared experts of one layer). `sample` and `token` are
    empty where routing hides the row.
    """

    value: float
    sample: str
    position: int
    token: str
    token_id: int
    channel: int
    part: str = ""

    @property
    def order(self) -> tuple[float, str, int, str, int, float]:
        """Total order, largest first: equal magnitudes rank by sample, position and channel, so merging has one
        answer.
        """
        return -abs(self.value), self.sample, self.position, self.part, self.channel, -self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Massive:
    """The massive-activation test of Sun et al. (COLM 2024) on a residual stream: |x| > 100 and |x| > 1000 times the
    token's median |x|.

    `tokens` and `entries` that satisfy it; `max_ratio` is the largest |x| / median over tokens with an entry above 100,
    None without such a token.
    """

    tokens: int = 0
    entries: int = 0
    max_ratio: float | None = None

    def __add__(self, other: "Massive") -> "Massive":
        ratios = [r for r in (self.max_ratio, other.max_ratio) if r is not None]
        return Massive(
            tokens=self.tokens + other.tokens, entries=self.entries + other.entries, max_ratio=max(ratios, default=None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """Where the first NaN or infinity of a site sat, in sample order."""

    sample: str
    position: int
    token: str
    channel: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightError:
    """What a scheme costs a weight: SQNR in dB, root of the mean squared error over that of the weight, shares of
    clipped entries and of non-zero entries that become zero. `lowest_db`: the SQNR of the worst of several experts'
    matrices, of the whole where it is one matrix.

    `refused`: why the scheme cannot quantize it, and then the figures mean nothing.
    """

    entries: int
    sqnr_db: float
    lowest_db: float
    rel_rmse: float
    clip_rate: float
    flush_to_zero: float
    refused: str = ""


def worst_weight(weights: Mapping[str, Mapping[str, WeightError]], scheme: str) -> str:
    """The path of the weight that a scheme costs most, one without a figure before all others, equals by name. Raises
    ValueError for none.
    """
    lowest = {path: errors[scheme].lowest_db for path, errors in weights.items() if scheme in errors}
    return min(
        lowest,
        key=lambda path: (-math.inf if math.isnan(lowest[path]) else lowest[path], not math.isnan(lowest[path]), path),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReading:
    """What was seen at one site. `dtype` is the tensor's own; float32 sites keep exact peaks beside a bfloat16-rounded
    histogram.

    `expert_tokens`, at router sites: how many tokens each routed expert was given.
    """

    site: Site
    dtype: str
    width: int
    calibration: Histogram
    evaluation: Histogram
    peaks: tuple[Peak, ...]
    massive: Massive | None = None
    first_nonfinite: NonFinite | None = None
    expert_tokens: tuple[int, ...] | None = None
    schemes: Mapping[str, SchemeSums] = field(default_factory=dict)
    """At inputs of linear layers: what each scheme does to sampled evaluation tokens."""
    channels: Channels | None = None
    shared: Mapping[str, str] = field(default_factory=dict)
    """At inputs of linear layers: the path of every linear layer, and the part whose tensor it is given."""
    weights: Mapping[str, Mapping[str, WeightError]] = field(default_factory=dict)
    """At inputs of linear layers: what each scheme does to every weight they are multiplied with, by its path and then
    by scheme.
    """
    figures: Mapping[str, float] = field(default_factory=dict)
    """In a slim Record: the figures kept in place of histograms (`figures`). Empty in a full one."""

    @property
    def is_slim(self) -> bool:
        """Whether figures stand here for histograms, which are then refused."""
        return bool(self.figures)

    @property
    def unreached_experts(self) -> tuple[int, ...]:
        """Experts that no token was given to."""
        return tuple(expert for expert, tokens in enumerate(self.expert_tokens or ()) if not tokens)

    @property
    def histogram(self) -> Histogram:
        """The site's whole distribution."""
        return self.calibration + self.evaluation

    @property
    def max_abs(self) -> float:
        """Largest magnitude, exact in the site's own dtype; inf where any entry is NaN or infinite, so that no bound
        holds by accident.
        """
        return math.inf if self.nonfinite else self.finite_max

    @property
    def finite_max(self) -> float:
        """Largest finite magnitude, whatever else there is; 0.0 for none."""
        return abs(self.peaks[0].value) if self.peaks else 0.0

    @property
    def nonfinite(self) -> int:
        return self.calibration.nonfinite + self.evaluation.nonfinite

    @property
    def count(self) -> int:
        return self.calibration.count + self.evaluation.count

    def __add__(self, other: "SiteReading") -> "SiteReading":
        same = (self.site, self.dtype, self.width) == (other.site, other.dtype, other.width)
        if not same:
            raise InputError(f"readings of {self.site.name} differ in dtype, width or module and do not merge")
        peaks = sorted((*self.peaks, *other.peaks), key=lambda peak: peak.order)[:PEAKS_KEPT]
        first = min(
            (p for p in (self.first_nonfinite, other.first_nonfinite) if p),
            key=lambda p: (p.sample, p.position, p.channel),
            default=None,
        )
        massive = self.massive + other.massive if self.massive and other.massive else None
        if self.weights != other.weights or self.schemes.keys() != other.schemes.keys():
            raise InputError(
                f"readings of {self.site.name} differ in the schemes they were measured under and do not merge"
            )
        if self.channels != other.channels and any(SCHEMES[name].needs_calibration for name in self.schemes):
            raise InputError(
                f"readings of {self.site.name} were quantized with scales of different calibration samples and do not "
                "merge\n"
                "  measure parts without static schemes and NVFP4, or all of the corpus at once"
            )
        channels = (
            self.channels | other.channels if self.channels and other.channels else self.channels or other.channels
        )
        given = (self.expert_tokens, other.expert_tokens)
        counted = given[0] is not None and given[1] is not None
        return replace(
            self,
            calibration=self.calibration + other.calibration,
            evaluation=self.evaluation + other.evaluation,
            peaks=tuple(peaks),
            massive=massive,
            first_nonfinite=first,
            schemes={name: sums + other.schemes[name] for name, sums in self.schemes.items()},
            shared={**other.shared, **self.shared},
            channels=channels,
            expert_tokens=(
                tuple(sum(pair) for pair in zip(given[0] or (), given[1] or (), strict=True)) if counted else None
            ),
        )
