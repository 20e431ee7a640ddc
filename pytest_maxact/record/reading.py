"""What was seen at one site: histograms of both splits, the largest entries and where they sat, and what deployment
schemes make of it.

Readings of parts of one corpus add up, in any order, to the identical whole.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.energies import SampleSums
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT, NonFinite, Peak
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.held import Distributions, Summary, not_kept

SPLITS = ("calibration", "evaluation")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReading:
    """What was seen at one site. `dtype` is the tensor's own; float32 sites keep exact peaks beside a bfloat16-rounded
    histogram.

    `tokens_per_expert`, at router sites: how many tokens each routed expert was given.
    """

    site: Site
    dtype: str
    width: int
    held: Distributions | Summary
    peaks: tuple[Peak, ...]
    massive: Massive | None = None
    first_nonfinite: NonFinite | None = None
    tokens_per_expert: tuple[int, ...] | None = None
    shared: Mapping[str, str] = field(default_factory=dict)
    """At inputs of linear layers: the path of every linear layer, and the part whose tensor it is given. Of keys and
    values: what the weight files call the modules that attend with them, and their parts.
    """
    weights: Mapping[str, Mapping[str, WeightDistortion]] = field(default_factory=dict)
    """At inputs of linear layers: what each scheme does to every weight they are multiplied with, by its path and then
    by scheme.
    """
    probe: Probe | None = None
    """What was seen on a few tokens; None in a Record of a version that did not look."""
    as_deployed: float | None = None
    """The largest magnitude on samples as they are deployed, inf where one was NaN or infinite; None where there are
    none. It widens the ranges and static scales of deployment, and nothing else.
    """
    heads: int | None = None
    """Of queries, keys and values: the heads whose rows lie side by side in its width."""

    @property
    def unreached_experts(self) -> tuple[int, ...]:
        """Experts that no token was given to."""
        return tuple(expert for expert, tokens in enumerate(self.tokens_per_expert or ()) if not tokens)

    @property
    def is_massive(self) -> bool:
        """Whether any token meets the massive-activation criterion; False where that is not tested."""
        return bool(self.massive and self.massive.tokens)

    @property
    def calibration(self) -> Histogram:
        """Of the calibration split. Raises InputError where a summary stands for it."""
        return distributions_of(self).calibration

    @property
    def evaluation(self) -> Histogram:
        """Of the evaluation split. Raises InputError where a summary stands for it."""
        return distributions_of(self).evaluation

    @property
    def histogram(self) -> Histogram:
        """The site's whole distribution. Raises InputError where a summary stands for it."""
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
        return self.held.calibration.nonfinite + self.held.evaluation.nonfinite

    @property
    def breaks_as_deployed(self) -> bool:
        """Whether an entry was NaN or infinite, in the corpus or on text as it is deployed."""
        return bool(self.nonfinite) or self.as_deployed == math.inf

    @property
    def count(self) -> int:
        return self.held.calibration.count + self.held.evaluation.count

    @property
    def has_both_splits(self) -> bool:
        """Whether there is a calibration split to take a scale from, and an evaluation split to see its error on."""
        return 0 not in (self.held.calibration.count, self.held.evaluation.count)

    def __add__(self, other: "SiteReading") -> "SiteReading":
        """Of both parts; what is kept of samples stands part by part, until all are there (`ordered`)."""
        same = (self.site, self.dtype, self.width, self.heads) == (other.site, other.dtype, other.width, other.heads)
        if not same:
            raise InputError(f"readings of {self.site.name} differ in dtype, width or module and do not merge")
        if self.weights != other.weights or not _under_the_same(self, other):
            raise InputError(
                f"readings of {self.site.name} differ in the schemes they were measured under and do not merge"
            )
        peaks = sorted((*self.peaks, *other.peaks), key=lambda peak: peak.order)[:PEAKS_KEPT]
        first = min(
            (p for p in (self.first_nonfinite, other.first_nonfinite) if p),
            key=lambda p: (p.sample, p.position, p.channel),
            default=None,
        )
        massive = self.massive + other.massive if self.massive and other.massive else None
        given = (self.tokens_per_expert, other.tokens_per_expert)
        counted = given[0] is not None and given[1] is not None
        return replace(
            self,
            held=_joined(self.site.name, distributions_of(self), distributions_of(other)),
            peaks=tuple(peaks),
            massive=massive,
            first_nonfinite=first,
            probe=_longest(self.probe, other.probe),
            shared={**other.shared, **self.shared},
            as_deployed=(
                None
                if self.as_deployed is None or other.as_deployed is None
                else max(self.as_deployed, other.as_deployed)
            ),
            tokens_per_expert=(
                tuple(sum(pair) for pair in zip(given[0] or (), given[1] or (), strict=True)) if counted else None
            ),
        )


def by_depth(*groups: Mapping[str, SiteReading]) -> dict[str, SiteReading]:
    """Sites of several kinds together, in depth order."""
    every = {name: reading for group in groups for name, reading in group.items()}
    return dict(sorted(every.items(), key=lambda one: one[1].site.order))


def ordered(reading: SiteReading, places: Sequence[int], evaluated: Sequence[int]) -> SiteReading:
    """The same reading with its samples in another order, and those of the evaluation split among themselves."""
    held = reading.held
    if not isinstance(held, Distributions):
        return reading
    maxima = held.maxima
    sampled, int8 = (
        None if one is None or len(one) != len(evaluated) else one.ordered(evaluated)
        for one in (held.sampled, held.int8)
    )
    return replace(
        reading,
        held=replace(
            held,
            maxima=None if maxima is None else maxima.ordered(places),
            sampled=sampled,
            int8=int8,
        ),
    )


def _under_the_same(one: SiteReading, other: SiteReading) -> bool:
    """Whether two parts of a site were quantized under the same schemes; one without evaluation tokens was under
    none.
    """
    given = [set(reading.held.schemes) for reading in (one, other) if reading.held.schemes or _evaluates(reading)]
    return len(given) < 2 or given[0] == given[1]


def _evaluates(reading: SiteReading) -> bool:
    return not isinstance(reading.held, Distributions) or reading.held.evaluation.count > 0


def distributions_of(reading: SiteReading, what: str = "histograms") -> Distributions:
    """What was seen at a site. Raises InputError, which says that `what` is not held, where a summary stands for it."""
    if not isinstance(reading.held, Distributions):
        raise not_kept(what)
    return reading.held


def _longest(one: Probe | None, other: Probe | None) -> Probe | None:
    """The probe that both parts together would have had."""
    return min(one, other, key=lambda probe: (-probe.tokens, probe.sample)) if one and other else None


def _joined(site: str, one: Distributions, other: Distributions) -> Distributions:
    schemes = {**one.schemes, **other.schemes}
    if one.channels != other.channels and any(SCHEMES[name].needs_calibration for name in schemes):
        raise InputError(
            f"readings of {site} were quantized with scales of different calibration samples and do not merge\n"
            "  measure parts without static schemes and NVFP4, or all of the corpus at once"
        )
    return Distributions(
        calibration=one.calibration + other.calibration,
        evaluation=one.evaluation + other.evaluation,
        schemes={
            name: functools.reduce(
                SchemeSums.__add__, [part.schemes[name] for part in (one, other) if name in part.schemes]
            )
            for name in schemes
        },
        channels=_both(one.channels, other.channels),
        maxima=one.maxima + other.maxima if one.maxima is not None and other.maxima is not None else None,
        sampled=_sampled(one, other),
        evaluated=_both(one.evaluated, other.evaluated),
        spread=one.spread + other.spread if one.spread and other.spread else one.spread or other.spread,
    )


def _sampled(one: Distributions, other: Distributions) -> SampleSums | None:
    """Of both; a part without evaluation tokens has none and needs none."""
    if one.sampled is not None and other.sampled is not None:
        return one.sampled + other.sampled
    if one.evaluation.count and other.evaluation.count:
        return None
    return one.sampled if one.evaluation.count else other.sampled


def _both(one: Channels | None, other: Channels | None) -> Channels | None:
    return one | other if one and other else one or other
