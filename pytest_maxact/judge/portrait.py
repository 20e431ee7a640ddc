"""The portrait of one Record, as plain data: everything that reports say of it, whatever their medium. Made once, by
`portray`; what reads it formats, and computes nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.trust.trust import TrustedMaximum
from pytest_maxact.judge.verdict.slack import Slack
from pytest_maxact.numbers.formats import FP16_MAX, FormatDistortion
from pytest_maxact.numbers.noise import Noise
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.scores import LayerScores
from pytest_maxact.record.source import AgainstSource
from pytest_maxact.record.static import HeldScale

if TYPE_CHECKING:
    from pytest_maxact.judge.deploy.fitness import SchemeFitness
    from pytest_maxact.judge.parting import Against
    from pytest_maxact.judge.trust.stress import StressFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum:
    """M: the largest magnitude of all counted sites, inf where one is not finite; the site that carries it, its largest
    finite entry and where that sat, in words; where M stands among published checkpoints.
    """

    value: float
    site: Site
    peak: Peak | None
    where: str
    standing: str

    @property
    def nonfinite(self) -> bool:
        return not math.isfinite(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfRange:
    """Whether float16 holds the checkpoint: the site that uses most of its range, the share, and the sites beyond.

    `scores`: the layer with the largest attention scores, None where none were seen. `ran`: mean KL of a run in
    float16, NaN where its predictions are not finite, None where there was none. `narrow`: what all this does not hold
    for.
    """

    largest: str
    share: float
    beyond: tuple[str, ...]
    scores: LayerScores | None
    ran: float | None
    narrow: str

    @property
    def scores_beyond(self) -> bool:
        return self.scores is not None and not self.scores.largest <= FP16_MAX

    @property
    def breaks(self) -> bool:
        """Whether a run in float16 gave predictions that are not finite."""
        return self.ran is not None and not math.isfinite(self.ran)

    @property
    def fits(self) -> bool | None:
        """None where nothing speaks against it and it was not run, or its scores were not seen: that is no fit yet."""
        if self.beyond or self.breaks or self.scores_beyond:
            return False
        return True if self.ran is not None and self.scores is not None and not self.narrow else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierInteger:
    """What INT-8 per tensor costs the site that carries M, by its largest magnitude and by the best clip in
    calibration.
    """

    max_abs: FormatDistortion
    optimal: FormatDistortion


@dataclass(frozen=True, slots=True, kw_only=True)
class MassiveLayers:
    """The layers that meet the massive-activation criterion: how many, the first and the last, and the site that does
    on most tokens.
    """

    layers: int
    first: int | None
    last: int | None
    site: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedExperts:
    """How many of the routed experts of `layers` layers no token reached, and the router where that is most, with which
    in words; empty where every one was reached.
    """

    experts: int
    layers: int
    unreached: int
    most: str
    which: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """NaN or infinite entries, at how many sites, and the first of these in the order in which values arise."""

    entries: int
    sites: int
    first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """One site: its largest magnitude against the limit on that, None where there is none, and the metrics whose checks
    fail there, are waived, or hold and are too close to call. `int8_sqnr_db`: per tensor, NaN where the site is not
    finite; None at sites beside the residual stream of which no check is one of these, where it is not computed.
    """

    site: Site
    max_abs: float
    nonfinite: int
    limit: float | None
    usage: float
    failing: tuple[Metric, ...]
    waived: tuple[Metric, ...]
    close: tuple[Metric, ...]
    int8_sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLimits:
    """The limits that a Record is held against. `unlimited`: counted kinds of sites whose maxima none of them bounds,
    at any layer.

    `paper`: some come from the paper's corpus, and this Record holds fewer tokens. `measured`: what the shape's figures
    were measured on, where that is other text, fewer or more tokens, or another dtype; else None.
    """

    family: str
    shape: str
    files: tuple[str, ...]
    envelope: bool
    unlimited: tuple[str, ...]
    paper: bool
    measured: MeasuredOn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeRow:
    """A scheme: its fitness, the largest share of a linear input's or a weight's entries that become zero (NaN where
    one is not finite, None where it quantizes nothing), and whether this run makes checks of it.
    """

    fitness: "SchemeFitness"
    zeroed: float | None
    checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """One Record. `limits`, and all that follows from them, is None or empty where it was not judged."""

    provenance: Provenance
    slim: bool
    metric_version: int
    m: Maximum
    fp16: HalfRange
    int8: CarrierInteger
    massive: MassiveLayers | None
    experts: RoutedExperts | None
    broken: Broken | None
    rows: tuple[SiteRow, ...]
    effects: Mapping[str, Effect]
    scores: tuple[LayerScores, ...] | None
    logits: tuple[LayerLogits, ...] | None = None
    noise: Noise | None = None
    static: tuple[HeldScale, ...] | None = None
    source: AgainstSource | None = None
    weights: WeightScan | None = None
    predictions: Predictions | None = None
    stress: "StressFigures | None" = None
    hunt: tuple[Hunted, ...] | None = None
    untried: Mapping[str, str] = field(default_factory=dict)
    """What could not be tried beside the corpus, and why."""
    probed: bool = True
    """Whether it is told what each layer does."""
    limits: AppliedLimits | None = None
    against: "tuple[Against, ...]" = ()
    deploy: tuple[SchemeRow, ...] = ()
    slack: Slack | None = None
    trust: TrustedMaximum | None = None
    """What its samples tell of M; None where they tell nothing."""

    @property
    def tokens(self) -> int:
        return self.provenance.tokens
