"""Limits from evidence: accepted Records in, figures and margins out. `limits.edit` writes them into a limits file. No
torch.

Guards two rules: a figure is never smaller than what was accepted, and what is no evidence (a non-finite entry, a
stream of zeros, measurements that cannot be compared) becomes no limit.

A margin covers the spread that was seen, largest over smallest among the Records of one shape, and is never below the
file's own headroom: two Records that agree say nothing of a larger corpus, where the maximum of one and the same
checkpoint grew by up to 1.157 (arXiv 2605.15572, 1 000 to 5 000 samples).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from pytest_maxact.errors import InputError, one_line, setting
from pytest_maxact.judge.verdict.bound import NEVER_ZERO
from pytest_maxact.numbers.sites import KINDS, Site
from pytest_maxact.record.comparability import Origin, origin_of, record_differences
from pytest_maxact.record.identity import Identity, identity_of
from pytest_maxact.record.metrics.metric import INT8_SQNR, MEDIAN
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record

FIGURE_DIGITS, HEADROOM_DIGITS = 6, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the accepted Records of one shape saw. `maxima`: the largest magnitude of every site, in depth order, in
    each Record, and `medians` the median one; `sqnr_db`: the INT-8 SQNR (per tensor, max_abs) of the site that carries
    M in each Record, empty where one has none that is finite; `measured`: on what.
    """

    identity: Identity
    checkpoints: tuple[str, ...]
    measured: Origin
    sites: tuple[Site, ...]
    maxima: Mapping[str, tuple[float, ...]]
    medians: Mapping[str, tuple[float, ...]]
    sqnr_db: tuple[float, ...]
    records: int

    @property
    def kinds(self) -> list[str]:
        """Site kinds that were observed, but for those beside the paper's: a plain pass does not observe those, and
        refuses limits on them.
        """
        seen = {site.kind for site in self.sites if not site.is_beside}
        return [kind for kind in KINDS if kind in seen]

    def of_kind(self, kind: str) -> list[str]:
        return [site.name for site in self.sites if site.kind == kind]

    def figure(self, names: Iterable[str]) -> float | None:
        """The largest magnitude of these sites over all Records, rounded up; None where one Record saw only zeros
        there.
        """
        largest = self._largest(names)
        return rounded_up(max(largest)) if min(largest) > 0 else None

    def by_layer(self, kind: str) -> dict[int, float]:
        """The figure of every layer that has a site of a kind, but of those that saw only zeros."""
        figures = {site.layer: self.figure([site.name]) for site in self.sites if site.kind == kind}
        return {layer: figure for layer, figure in figures.items() if layer is not None and figure is not None}

    def spread(self, names: Iterable[str]) -> float:
        """Largest over smallest among the Records' maxima of these sites; 1.0 of one Record, and where one saw only
        zeros.
        """
        largest = self._largest(names)
        return max(largest) / min(largest) if min(largest) > 0 else 1.0

    def _largest(self, names: Iterable[str]) -> list[float]:
        return [max(values) for values in zip(*(self.maxima[name] for name in names), strict=True)]

    @property
    def sqnr_figure(self) -> float | None:
        """The lowest SQNR in dB, rounded down."""
        return rounded_down(min(self.sqnr_db)) if self.sqnr_db else None

    @property
    def sqnr_spread(self) -> float:
        """Highest less lowest SQNR, as a factor on the error's amplitude."""
        return float(10.0 ** ((max(self.sqnr_db) - min(self.sqnr_db)) / 20.0)) if self.sqnr_db else 1.0

    @property
    def source(self) -> str:
        """Where the figures come from, in words."""
        if self.records == 1:
            return "1 Record, no spread seen"
        widest = max(self.spread(self.of_kind(kind)) for kind in self.kinds)
        return f"{self.records} Records, spread up to x{rounded_up(widest, HEADROOM_DIGITS):g}"


def gather(records: Sequence[Record]) -> tuple[Evidence, ...]:
    """What accepted Records are evidence of, shape by shape in the order given.

    Raises InputError for no Records, for one with an entry that is not finite or a kind of site that is zero
    throughout, and for Records of one shape that were not measured alike.
    """
    if not records:
        raise InputError(f"limits need evidence: no Record was given\n  write one with {setting('save')} FILE")
    groups: dict[Identity, list[Record]] = {}
    for record in records:
        _require_sound(record)
        groups.setdefault(identity_of(record.provenance), []).append(record)
    return tuple(_evidence(identity, group) for identity, group in groups.items())


def margin(floor: float, spread: float) -> float:
    """The headroom that covers `spread`, and is `floor` at least."""
    return max(floor, rounded_up(spread, HEADROOM_DIGITS))


def rounded_up(value: float, digits: int = FIGURE_DIGITS) -> float:
    """To so many significant digits, never below `value`; a whole number as int."""
    return _plain(Context(prec=digits, rounding=ROUND_CEILING).plus(Decimal(value)))


def rounded_down(value: float, digits: int = FIGURE_DIGITS) -> float:
    """To so many significant digits, never above `value`; a whole number as int."""
    return _plain(Context(prec=digits, rounding=ROUND_FLOOR).plus(Decimal(value)))


def _plain(value: Decimal) -> float:
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _require_sound(record: Record) -> None:
    model = record.provenance.model
    for name, reading in record.sites.items():
        if reading.nonfinite:
            raise InputError(
                f"{model} is no evidence for a limit: {name} has {reading.nonfinite} entries that are NaN or infinite\n"
                "  give Records of sound checkpoints"
            )
        if reading.site.kind in NEVER_ZERO and reading.max_abs == 0.0:
            raise InputError(
                f"{model} is no evidence for a limit: every entry of {name} is zero\n"
                "  give Records of sound checkpoints"
            )
    kinds = {reading.site.kind for reading in record.sites.values()}
    for kind in sorted(kinds - {reading.site.kind for reading in record.sites.values() if reading.max_abs > 0}):
        raise InputError(
            f"{model} is no evidence for a limit: every {kind} is zero throughout\n  give Records of sound checkpoints"
        )


def _evidence(identity: Identity, group: Sequence[Record]) -> Evidence:
    first = group[0]
    for other in group[1:]:
        if differing := record_differences(first, other):
            raise InputError(
                f"{first.provenance.model} (there) and {other.provenance.model} (here) were not measured alike; they "
                f"differ in {', '.join(differing)}\n"
                "  a limit needs Records of the same corpus, tokenizer, protocol, dtype, cut and sites"
            )
    sqnr = [_carrier_sqnr(record) for record in group]
    return Evidence(
        identity=identity,
        checkpoints=tuple(dict.fromkeys(one_line(_name(record.provenance.model)) for record in group)),
        measured=replace(origin_of(first.provenance), corpus=one_line(first.provenance.corpus)),
        sites=tuple(sorted((reading.site for reading in first.sites.values()), key=lambda site: site.order)),
        maxima={name: tuple(record.sites[name].max_abs for record in group) for name in first.sites},
        medians={name: tuple(metric_value(record.sites[name], MEDIAN) for record in group) for name in first.sites},
        sqnr_db=tuple(sqnr) if all(map(math.isfinite, sqnr)) else (),
        records=len(group),
    )


def _carrier_sqnr(record: Record) -> float:
    """NaN where a split holds nothing: that is no error to judge by."""
    carrier = record.carrier
    return metric_value(carrier, INT8_SQNR) if carrier.has_both_splits else math.nan


def _name(model: str) -> str:
    """A checkpoint's name without the folders of the machine it lay on."""
    return model.replace("\\", "/").rstrip("/").rpartition("/")[2] or model
