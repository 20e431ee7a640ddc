"""Can it ship in low bits: for every scheme that was measured, whether it fits, what stands in its way, and what would
help. No torch.

The findings are those of `verdict`; advice is computed from the same Record: which linear layers to keep in 16 bits,
whether a scheme with a scale per token would do at the sites that fail, and how far smoothing would bring down the
channels that set the scale.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_maxact.errors import MeasureError
from pytest_maxact.limits import MODEL, Limit
from pytest_maxact.metrics import metric_value
from pytest_maxact.names import LINEAR_KINDS, ranges
from pytest_maxact.reading import SiteReading
from pytest_maxact.record import KEPT, Effect, Record
from pytest_maxact.schemes.table import SCHEMES
from pytest_maxact.verdict import Finding, check, holds

MOST_KEPT = 0.5
"""A scheme that needs more than this share of the linear inputs in 16 bits is not one worth advising."""
_PER_TOKEN = {"W8A8_STATIC": "W8A8", "FP8": "FP8_DYNAMIC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeFitness:
    """One scheme: what was judged of it, the sites that fail, what was not measured, and what would help, a sentence
    each.

    `lowest` is the smallest SQNR over linear inputs, with its site, `lowest_weight` that over weights; None where the
    scheme has none.
    """

    scheme: str
    findings: tuple[Finding, ...]
    unmeasured: str
    lowest: tuple[float, str] | None
    lowest_weight: tuple[float, str] | None
    effect: Effect | None
    compared: bool
    """Whether predictions were compared, or there are none to compare."""

    advice: tuple[str, ...]

    @property
    def breaches(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.passed]

    @property
    def holds(self) -> bool:
        """Whether every bound that was judged holds; predictions may not have been."""
        return bool(self.findings) and not self.breaches and not self.unmeasured

    @property
    def passed(self) -> bool:
        return self.holds and self.compared


def fitness_of(record: Record, limits: Iterable[Limit]) -> list[SchemeFitness]:
    """The fitness of every scheme that `limits` speak about, in their order."""
    by_scheme: dict[str, list[Limit]] = {}
    for limit in limits:
        by_scheme.setdefault(limit.metric.partition(".")[0], []).append(limit)
    return [_fitness(record, name, stated) for name, stated in by_scheme.items()]


def failing_sites(record: Record, limits: Iterable[Limit]) -> dict[str, tuple[str, ...]]:
    """The linear inputs at which each scheme fails, where there are few enough to be kept in 16 bits: `{"W8A8":
    ("layers.3.down_in",)}`.
    """
    found = {}
    for name in dict.fromkeys(limit.metric.partition(".")[0] for limit in limits):
        findings = [
            _check(record, limit) for limit in limits if limit.metric.startswith(f"{name}.") and limit.site != MODEL
        ]
        sites = _failing(record, [finding for finding in findings if isinstance(finding, Finding)])
        if sites and not SCHEMES[name].cast and _is_worth_keeping(record, sites):
            found[name] = sites
    return found


def _fitness(record: Record, name: str, limits: Sequence[Limit]) -> SchemeFitness:
    outcomes = [_check(record, limit) for limit in limits]
    findings = tuple(outcome for outcome in outcomes if isinstance(outcome, Finding))
    scheme = SCHEMES[name]
    return SchemeFitness(
        scheme=name,
        findings=findings,
        unmeasured=next((outcome for outcome in outcomes if isinstance(outcome, str)), ""),
        lowest=_lowest(record, f"{name}.sqnr_db") if scheme.activations else None,
        lowest_weight=_lowest(record, f"{name}.weight_sqnr_db") if scheme.weights or scheme.cast else None,
        effect=record.effects.get(name),
        compared=name in record.effects or not record.provenance.predicts,
        advice=tuple(_advice(record, name, findings)),
    )


def _check(record: Record, limit: Limit) -> Finding | str:
    """A finding, or why there is none."""
    try:
        return check(record, limit)
    except MeasureError as error:
        return str(error).split("\n")[0]


def _lowest(record: Record, metric: str) -> tuple[float, str] | None:
    values = []
    for reading in record.sites.values():
        if reading.site.is_linear_input:
            try:
                values.append((metric_value(reading, metric), reading.site.name))
            except MeasureError:
                continue
    return min(values, key=lambda value: (not math.isnan(value[0]), value[0])) if values else None


def _failing(record: Record, findings: Iterable[Finding]) -> tuple[str, ...]:
    failed = {finding.site for finding in findings if not finding.passed}
    return tuple(name for name, reading in record.sites.items() if name in failed and reading.site.is_linear_input)


def _is_worth_keeping(record: Record, sites: Sequence[str]) -> bool:
    return len(sites) <= MOST_KEPT * sum(reading.site.is_linear_input for reading in record.sites.values())


def _advice(record: Record, name: str, findings: Sequence[Finding]) -> Iterable[str]:
    sites = _failing(record, findings)
    linear = sum(reading.site.is_linear_input for reading in record.sites.values())
    if not sites:
        if any(finding.limit.site == MODEL and not finding.passed for finding in findings):
            yield (
                "every linear input and weight meets its bounds: the error is spread over all of them, and no exception"
                " would mend it"
            )
        return
    words = in_words(record, sites)
    if SCHEMES[name].cast:
        yield f"out of its range: the inputs or weights of {words}"
        return
    if not _is_worth_keeping(record, sites):
        yield f"fails at {len(sites)} of {linear} linear inputs: {words}"
    else:
        yield (
            f"passes site by site with {words} in 16 bits ({len(sites)} of {linear} linear"
            f" inputs){_kept_words(record, name, findings)}"
        )
    if other := _PER_TOKEN.get(name):
        yield from _per_token(record, other, sites, findings)
    yield from _smoothing(
        record, name, [finding for finding in findings if finding.site in sites and not finding.passed]
    )


def _kept_words(record: Record, name: str, findings: Sequence[Finding]) -> str:
    """What predictions then look like."""
    kept, limits = (
        record.effects.get(name + KEPT),
        [finding.limit for finding in findings if finding.limit.site == MODEL],
    )
    if kept is None:
        return ""
    held = all(holds(getattr(kept, limit.metric.partition(".")[2]), limit) for limit in limits)
    return f"; mean KL is then {kept.mean_kl:.4g}" + ("" if held else ", still beyond its limit")


def _per_token(record: Record, other: str, sites: Sequence[str], findings: Sequence[Finding]) -> Iterable[str]:
    """Whether the scheme's sibling with a scale per token would meet the same bounds at these sites."""
    try:
        judged = [
            (
                metric_value(record.sites[finding.site], f"{other}.{finding.limit.metric.partition('.')[2]}"),
                finding.limit,
            )
            for finding in findings
            if finding.site in sites and not finding.limit.metric.endswith("weight_sqnr_db")
        ]
    except MeasureError:
        return
    failing = sum(not holds(value, limit) for value, limit in judged)
    if judged:
        yield (
            f"scales per token ({other})"
            f" {'meet every bound there' if not failing else f'still miss {failing} of {len(judged)} bounds there'}"
        )


def _smoothing(record: Record, name: str, breaches: Sequence[Finding]) -> Iterable[str]:
    """How far smoothing halfway towards the weights (alpha 0.5) would bring down the largest channel, in the
    activations that fail.
    """
    how = SCHEMES[name].activations
    if how is None or how.granularity == "group":
        return
    gains: dict[str, float] = {}
    for finding in breaches:
        if finding.reading and not finding.limit.metric.endswith("weight_sqnr_db"):
            gain = smoothing_gain(finding.reading)
            gains |= {} if gain is None else {finding.site: gain}
    if gains and max(gains.values()) >= 1.0:
        site = max(gains, key=lambda name: gains[name])
        yield (
            f"smoothing (alpha 0.5) would bring the largest channel {gains[site]:.0f} dB nearer to the median one at"
            f" {site}"
        )


def smoothing_gain(reading: SiteReading) -> float | None:
    """The largest `smoothing_gain_db` of a site's parts; None where its channels were not observed."""
    if reading.is_slim:
        return reading.figures.get("smoothing_gain_db")
    return (
        max((smoothing_gain_db(amax) for amax in reading.channels.parts.values()), default=None)
        if reading.channels
        else None
    )


def smoothing_gain_db(amax: np.ndarray) -> float:
    """How much nearer the loudest channel comes to the median one if every channel maximum is replaced by its root, in
    dB.

    That is SmoothQuant with alpha 0.5 before weights of even channels (Xiao et al., ICML 2023): an estimate from
    maxima, not a measurement.
    """
    sound = amax[np.isfinite(amax) & (amax > 0)].astype(np.float64)
    return float(10 * np.log10(sound.max() / np.median(sound))) if sound.size else 0.0


def in_words(record: Record, sites: Sequence[str]) -> str:
    """Linear inputs in few words: `down_in of layers 3, 29; o_in of layer 4`."""
    layers: Mapping[str, list[int]] = {kind: [] for kind in LINEAR_KINDS}
    for name in sites:
        site = record.sites[name].site
        layers[site.kind].append(site.layer or 0)
    return "; ".join(
        f"{kind} of layer{'s' if len(where) > 1 else ''} {ranges(where)}" for kind, where in layers.items() if where
    )
