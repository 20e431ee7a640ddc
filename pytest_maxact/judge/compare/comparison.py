"""Two Records of one measurement on different weights: what changed, site by site. No torch.

Comparable are Records of the same corpus, tokenizer, protocol, cut and dtype; anything else is refused with the field
that differs.
"""

import math
from dataclasses import dataclass

from pytest_maxact.judge.compare.changes import shift
from pytest_maxact.judge.compare.jumps import first_jump
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.comparability import require_alike
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.metric import INT8_SQNR
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

_PARTED = 1.05
"""Where two maxima differ by more than this factor, the models have parted."""
_SHIFTED = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChange:
    """One site in both Records: `before` and `after` are its largest magnitudes, `ratio` after over before, inf from
    zeros; `shift` the largest difference between the shares of entries up to a magnitude, NaN where a slim Record
    dropped them; INT-8 SQNR (per tensor, max_abs) in dB; how many tokens meet the massive-activation criterion, None
    where that is not tested. Not finite is inf, and its ratio NaN.
    """

    site: str
    kind: str
    layer: int | None
    before: float
    after: float
    ratio: float
    shift: float
    int8_before: float
    int8_after: float
    massive_before: int | None
    massive_after: int | None

    @property
    def parted(self) -> bool:
        """Whether the maxima differ by more than a twentieth, or cannot be compared."""
        return not (1 / _PARTED <= self.ratio <= _PARTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two Records that are compared: M and the site that carries it."""

    model: str
    model_type: str
    m: float
    carrier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Changes of the sites of both Records in depth order, sites that only one has, and the first jump layer of each,
    None for none.

    `parted`: the first site in depth order whose maximum differs by more than a twentieth; `most_shifted`: the one
    whose distribution differs most.
    """

    before: Side
    after: Side
    changes: tuple[SiteChange, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]
    jump_before: int | None
    jump_after: int | None
    slim: bool = False
    """Whether either Record keeps no distributions."""

    @property
    def parted(self) -> SiteChange | None:
        return next((change for change in self.changes if change.parted), None)

    @property
    def most_shifted(self) -> SiteChange | None:
        """None where no distribution differs by more than a hundredth."""
        shifted = [change for change in self.changes if change.shift > _SHIFTED]
        return max(shifted, key=lambda change: change.shift, default=None)


def compare(before: Record, after: Record, *, is_source: bool = False) -> Comparison:
    """`is_source`: the one before was named as what the other was made from. Raises InputError for Records whose
    figures are not of the same measurement.
    """
    require_alike(before, after, is_source=is_source)
    both = [name for name in after.sites if name in before.sites]
    return Comparison(
        before=side_of(before),
        after=side_of(after),
        changes=tuple(_change(before.sites[name], after.sites[name]) for name in both),
        gone=tuple(name for name in before.sites if name not in after.sites),
        new=tuple(name for name in after.sites if name not in before.sites),
        jump_before=first_jump(before),
        jump_after=first_jump(after),
        slim=before.is_summary or after.is_summary,
    )


def side_of(record: Record) -> Side:
    """What a comparison says of one Record by itself."""
    carrier = record.carrier
    return Side(
        model=record.provenance.model,
        model_type=record.provenance.model_type,
        m=carrier.max_abs,
        carrier=carrier.site.name,
    )


def _change(before: SiteReading, after: SiteReading) -> SiteChange:
    return SiteChange(
        site=after.site.name,
        kind=after.site.kind,
        layer=after.site.layer,
        before=before.max_abs,
        after=after.max_abs,
        ratio=ratio(before.max_abs, after.max_abs),
        shift=shift(before, after) if _has_distributions(before, after) else math.nan,
        int8_before=metric_value(before, INT8_SQNR),
        int8_after=metric_value(after, INT8_SQNR),
        massive_before=before.massive.tokens if before.massive else None,
        massive_after=after.massive.tokens if after.massive else None,
    )


def _has_distributions(*readings: SiteReading) -> bool:
    return all(isinstance(reading.held, Distributions) for reading in readings)
