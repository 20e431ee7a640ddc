"""The portrait of one Record: the Record, its limits, what was found of them and the baselines in, plain data for every
report out. No torch.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.portrait import (
    AppliedLimits,
    Broken,
    CarrierInteger,
    HalfRange,
    MassiveLayers,
    Maximum,
    Portrait,
    RoutedExperts,
    SchemeRow,
    SiteRow,
)
from pytest_maxact.judge.published import standing
from pytest_maxact.judge.trust.departed import believed
from pytest_maxact.judge.trust.stress import stress_figures
from pytest_maxact.judge.trust.trust import trusted_m
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.slack import notices
from pytest_maxact.judge.verdict.words import describe_peak, describe_unreached
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.comparability import is_same_origin, origin_of
from pytest_maxact.record.deployed import narrowness
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.metrics.metric import MAX_ABS, WEIGHT_FLUSH, Metric, scheme_metric
from pytest_maxact.record.metrics.value import beyond_fp16, metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record, first_broken
from pytest_maxact.record.scores import largest_scores

if TYPE_CHECKING:
    from pytest_maxact.judge.parting import Against


def portray(
    record: Record,
    rules: Ruleset | None = None,
    findings: Sequence[Finding] = (),
    baselines: Mapping[str, Record] | None = None,
) -> Portrait:
    """The portrait of a Record; without `rules`, its figures alone. `baselines`: what it is compared with, by name."""
    carrier = record.carrier
    return Portrait(
        provenance=record.provenance,
        slim=record.is_summary,
        metric_version=record.metric_version,
        m=_maximum(carrier, record.provenance.model_type),
        fp16=_half_range(record),
        int8=CarrierInteger(max_abs=integer_figures(carrier, "max_abs"), optimal=integer_figures(carrier, "optimal")),
        massive=_massive(record),
        experts=_experts([reading for reading in record.sites.values() if reading.tokens_per_expert]),
        broken=_broken(record),
        rows=_rows(record, findings),
        effects=record.effects,
        weights=record.weights,
        predictions=record.predictions,
        probed=record.is_probed,
        scores=record.scores,
        logits=record.logits,
        noise=record.noise,
        static=record.static,
        source=record.source and believed(record.source),
        stress=stress_figures(record),
        hunt=record.hunt,
        limits=_applied(record, rules, findings) if rules else None,
        against=_against(record, findings, baselines) if baselines else (),
        deploy=_deploy(record, rules, findings) if rules and rules.fitness else (),
        slack=notices(findings),
        trust=trusted_m(record),
        untried=record.untried,
    )


def _maximum(carrier: SiteReading, model_type: str) -> Maximum:
    peak = carrier.peaks[0] if carrier.peaks else None
    return Maximum(
        value=carrier.max_abs,
        site=carrier.site,
        peak=peak,
        where=describe_peak(peak, carrier) if peak else "",
        standing=standing(carrier.max_abs, model_type),
    )


def _half_range(record: Record) -> HalfRange:
    used, largest = max(
        ((max(reading.max_abs, reading.as_deployed or 0.0), reading) for reading in record.sites.values()),
        key=lambda entry: entry[0],
    )
    ran = record.effects.get("FP16")
    return HalfRange(
        largest=largest.site.name,
        share=used / FP16_MAX,
        beyond=tuple(reading.site.name for reading in beyond_fp16(record)),
        scores=largest_scores(record.scores or ()),
        ran=ran.mean_kl if ran else None,
        narrow=narrowness(record.provenance.deployed, record.provenance.protocol),
    )


def _massive(record: Record) -> MassiveLayers | None:
    layers = [
        (reading, reading.massive.tokens) for reading in record.sites.values() if reading.massive and reading.is_massive
    ]
    if not layers:
        return None
    most, tokens = max(layers, key=lambda entry: entry[1])
    return MassiveLayers(
        layers=len(layers),
        first=layers[0][0].site.layer,
        last=layers[-1][0].site.layer,
        site=most.site.name,
        tokens=tokens,
    )


def _experts(routers: Sequence[SiteReading]) -> RoutedExperts | None:
    if not routers:
        return None
    most = max(routers, key=lambda reading: len(reading.unreached_experts))
    unreached = sum(len(reading.unreached_experts) for reading in routers)
    return RoutedExperts(
        experts=sum(len(reading.tokens_per_expert or ()) for reading in routers),
        layers=len(routers),
        unreached=unreached,
        most=most.site.name if unreached else "",
        which=describe_unreached(most) if unreached else "",
    )


def _broken(record: Record) -> Broken | None:
    broken = [reading for reading in record.sites.values() if reading.nonfinite]
    first = first_broken(broken)
    if first is None:
        return None
    return Broken(entries=sum(reading.nonfinite for reading in broken), sites=len(broken), first=first.site.name)


def _rows(record: Record, findings: Sequence[Finding]) -> tuple[SiteRow, ...]:
    maxima = {finding.limit.site: finding for finding in findings if finding.limit.metric == MAX_ABS}
    failing, waived, close = (defaultdict[str, list[Metric]](list) for _ in range(3))
    for finding in findings:
        if not finding.passed:
            (waived if finding.waiver else failing)[finding.site].append(finding.limit.metric)
        elif finding.close:
            close[finding.site].append(finding.limit.metric)
    heads = _heads(record) | failing.keys() | waived.keys() | close.keys()
    rows = []
    for name, reading in record.sites.items():
        found = maxima.get(name)
        rows.append(
            SiteRow(
                site=reading.site,
                max_abs=reading.max_abs,
                nonfinite=reading.nonfinite,
                limit=found.limit.bound if found else None,
                usage=found.usage if found else math.nan,
                failing=tuple(failing.get(name, ())),
                waived=tuple(waived.get(name, ())),
                close=tuple(close.get(name, ())),
                int8_sqnr_db=_int8(reading) if name in heads else None,
            )
        )
    return tuple(rows)


def _heads(record: Record) -> set[str]:
    """The site that stands for each layer: its residual stream, or its first where there is none."""
    heads: dict[int | str, str] = {}
    for name, reading in record.sites.items():
        layer = reading.site.kind if reading.site.layer is None else reading.site.layer
        if reading.site.kind == "hidden" or layer not in heads:
            heads[layer] = name
    return set(heads.values())


def _int8(reading: SiteReading) -> float:
    return math.nan if reading.nonfinite else integer_figures(reading, "max_abs").sqnr_db


def _applied(record: Record, rules: Ruleset, findings: Sequence[Finding]) -> AppliedLimits:
    limited = {limit.site for limit in rules.limits if limit.metric == MAX_ABS}
    counted = [reading.site for reading in record.sites.values() if reading.site.counted]
    held = {site.kind for site in counted if site.name in limited}
    return AppliedLimits(
        family=rules.family,
        shape=rules.shape or "",
        files=tuple(rules.files),
        envelope=any(limit.envelope for limit in rules.limits),
        unlimited=tuple(dict.fromkeys(site.kind for site in counted if site.kind not in held)),
        paper=rules.text is not None
        and record.tokens < rules.text.tokens
        and any(f.limit.source.startswith("arXiv") for f in findings),
        measured=_measured_otherwise(record, rules.measured),
    )


def _measured_otherwise(record: Record, stated: MeasuredOn | None) -> MeasuredOn | None:
    """What the figures of a shape were measured on, where that differs from what the Record was."""
    if stated is None:
        return None
    return None if is_same_origin(stated, origin_of(record.provenance)) else stated


def _against(record: Record, findings: Sequence[Finding], baselines: Mapping[str, Record]) -> "tuple[Against, ...]":
    from pytest_maxact.judge.parting import against

    return tuple(
        against(name, baseline, record, [finding for finding in findings if finding.limit.against == name])
        for name, baseline in baselines.items()
    )


def _deploy(record: Record, rules: Ruleset, findings: Sequence[Finding]) -> tuple[SchemeRow, ...]:
    from pytest_maxact.judge.deploy.fitness import fitness_of

    checked = {limit.metric.scheme for limit in rules.limits}
    return tuple(
        SchemeRow(fitness=found, zeroed=_zeroed(record, found.scheme), checked=found.scheme in checked)
        for found in fitness_of(record, rules.fitness, findings)
    )


def _zeroed(record: Record, name: str) -> float | None:
    """The largest share of non-zero entries of a linear input, of keys or values, or of a weight, that become zero."""
    from pytest_maxact.judge.deploy.advice import quantized_sites

    scheme = SCHEMES[name]
    quantities = [
        *(["flush_to_zero"] if scheme.activations or scheme.cache else []),
        *([WEIGHT_FLUSH] if scheme.weights else []),
    ]
    shares = []
    for site in quantized_sites(record, name) if len(scheme.parts) == 1 else ():
        for quantity in quantities:
            try:
                shares.append(metric_value(record.sites[site.name], scheme_metric(name, quantity)))
            except MeasureError:
                continue
    if any(math.isnan(share) for share in shares):
        return math.nan
    return max(shares, default=None)
