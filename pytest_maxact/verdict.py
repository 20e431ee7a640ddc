"""Records against limits: the only comparisons in the program. Everything that shows a verdict shows these findings.

Fail closed: a comparison passes only where it is true of numbers (`not (value <= bound)` fails on NaN), a site with a
non-finite entry has no maximum that could pass, and a limit on a site that the Record lacks is an error.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from pathlib import Path

from pytest_maxact.changes import first_jump, new_massive_layers, record_change, require_alike, site_change
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.formats import FP16_MAX
from pytest_maxact.limits import CARRIER, EFFECTS, GENERIC, MODEL, Limit, Ruleset, Waiver
from pytest_maxact.limits.regression import DROP, GROWTH, MASSIVE, SHIFT, SHRINK
from pytest_maxact.metrics import is_integer_error, metric_value
from pytest_maxact.names import ranges
from pytest_maxact.reading import Peak, SiteReading, worst_weight
from pytest_maxact.record import Record
from pytest_maxact.schemes.error import scheme_error
from pytest_maxact.schemes.table import SCHEMES

_RELATIONS = {("max", True): "within", ("max", False): "exceeds", ("min", True): "meets", ("min", False): "falls below"}
NEVER_ZERO = frozenset({"embedding", "hidden", "final_norm"})
"""Kinds that no sound checkpoint leaves at zero throughout."""
_RARELY_ZERO = frozenset({"attn_output", "mlp_output"})
"""Kinds that are zero throughout where a block is switched off, which is seldom meant: a waiver `up_to: 0` says that it
is.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's outcome: the value found, the limit it met, and the site where the value sat; None for a figure of
    the whole model.

    `waiver`: lets a check that failed pass for now.
    """

    limit: Limit
    value: float
    passed: bool
    reading: SiteReading | None
    message: str
    waiver: Waiver | None = None

    @property
    def accepted(self) -> bool:
        """Whether it stands in nobody's way."""
        return self.passed or self.waiver is not None

    @property
    def site(self) -> str:
        return self.reading.site.name if self.reading else self.limit.site

    @property
    def usage(self) -> float:
        """Share of the limit that is used, 1.0 at the limit; NaN where the metric has no such share (dB)."""
        if self.limit.sense == "max" and self.limit.bound > 0:
            return self.value / self.limit.bound
        return math.nan


def judge(
    record: Record,
    limits: Iterable[Limit],
    baselines: Mapping[str, Record] | None = None,
    waivers: Iterable[Waiver] = (),
    checkpoint: str = "",
) -> list[Finding]:
    """A finding for every limit. Raises MeasureError where the Record lacks a limit's site, or there are no limits at
    all.

    `baselines`: the Records that relative limits compare with, by name; `checkpoint`: which one of a series this is,
    for its waivers.
    """
    waivers = tuple(waivers)
    findings = [
        waived(
            check(record, limit, (baselines or {}).get(limit.against) if limit.against else None), waivers, checkpoint
        )
        for limit in limits
    ]
    return require_any(findings)


def require_any(findings: list[Finding]) -> list[Finding]:
    """The findings. Raises MeasureError where there are none: nothing was checked."""
    if not findings:
        raise MeasureError("there are no limits to judge by, so nothing was checked")
    return findings


def check(record: Record, limit: Limit, baseline: Record | None = None) -> Finding:
    """One limit against one Record; a relative limit against it and the baseline."""
    if limit.against:
        return _check_change(record, limit, baseline)
    if limit.site == MODEL:
        return _check_effect(record, limit)
    reading = record.carrier if limit.site == CARRIER else record.sites.get(limit.site)
    if reading is None:
        raise MeasureError(
            f"the Record has no site {limit.site}, for which {limit.file}:{limit.line} sets a limit\n"
            "  measure the checkpoint again"
        )
    if reading.count == 0 or (
        is_integer_error(limit.metric) and 0 in (reading.calibration.count, reading.evaluation.count)
    ):
        raise MeasureError(
            f"{reading.site.name}: nothing was counted there, so {limit.metric} is no figure to judge\n"
            "  measure the checkpoint again"
        )
    value = metric_value(reading, limit.metric)
    if limit.metric == "max_abs" and value == 0.0 and reading.site.kind in NEVER_ZERO | _RARELY_ZERO:
        never = "which no sound checkpoint gives; the weights are empty or were not loaded"
        rarely = "the block does nothing: its weights are empty or were not loaded"
        message = f"{reading.site.name}: every entry is zero, {never if reading.site.kind in NEVER_ZERO else rarely}"
        return Finding(limit=limit, value=value, passed=False, reading=reading, message=message)
    passed = holds(value, limit)
    return Finding(
        limit=limit, value=value, passed=passed, reading=reading, message=_message(reading, limit, value, passed)
    )


def waived(finding: Finding, waivers: Iterable[Waiver], checkpoint: str = "", today: date | None = None) -> Finding:
    """The finding with the first waiver that lets it pass today.

    What is broken is never let pass: a site with non-finite entries, a residual stream of zeros, a value that is no
    number. A block that gives nothing but zeros is let pass by a waiver that says just that, with `up_to: 0`; it is not
    a maximum that is a little too large.
    """
    if finding.passed or _is_broken(finding):
        return finding
    empty = finding.limit.metric == "max_abs" and finding.value == 0.0
    speaking = [waiver for waiver in waivers if waiver.covers(finding.limit, checkpoint) and not expired(waiver, today)]
    found = next(
        (w for w in speaking if w.reaches(finding.limit, finding.value) and (not empty or w.up_to == 0.0)), None
    )
    if found or not speaking:
        return replace(finding, waiver=found)
    beyond = (
        "which is let pass by `up_to: 0` only"
        if empty
        else f"beyond what the waiver of {speaking[0].owner} lets pass, {speaking[0].up_to:g}"
    )
    return replace(finding, message=f"{finding.message}; {beyond} ({_written(speaking[0])})")


def _is_broken(finding: Finding) -> bool:
    """Whether it tells of a checkpoint that is broken, and not of one that is too large somewhere."""
    reading = finding.reading
    if math.isnan(finding.value) or (reading is not None and reading.nonfinite):
        return True
    return (
        reading is not None
        and reading.site.kind in NEVER_ZERO
        and finding.limit.metric == "max_abs"
        and finding.value == 0.0
    )


def expired(waiver: Waiver, today: date | None = None) -> bool:
    """Whether a waiver's last day has passed, in UTC."""
    return (today or datetime.now(timezone.utc).date()) > waiver.until


def waiver_fault(waiver: Waiver, findings: Iterable[tuple[str, Finding]], today: date | None = None) -> str | None:
    """Why a waiver fails, None where it does its work; `findings` are those of the whole run, each with its
    checkpoint's name.
    """
    where = _written(waiver)
    if expired(waiver, today):
        return (
            f"the waiver for {waiver.site} by {waiver.owner} expired on {waiver.until} ({where}): mend the checkpoint,"
            " or renew it with a reason"
        )
    if not any(waiver.covers(finding.limit, checkpoint) and not finding.passed for checkpoint, finding in findings):
        return f"the waiver for {waiver.site} by {waiver.owner} is stale, none of its checks fails ({where}): remove it"
    return None


def _written(waiver: Waiver) -> str:
    """Where a waiver stands."""
    return f"{Path(waiver.file).name}:{waiver.line}"


def _check_change(record: Record, limit: Limit, baseline: Record | None) -> Finding:
    """A limit on what changed since a baseline."""
    if baseline is None:
        raise MeasureError(
            f"{limit.check}: there is no baseline {limit.against} to compare with\n  give it with --maxact-baseline"
        )
    require_alike(baseline, record)
    if limit.site == MODEL:
        value, reading = record_change(baseline, record, limit.metric, limit.floor), None
        words = _whole_words(baseline, record, limit, value)
    else:
        before, reading = baseline.sites.get(limit.site), record.sites.get(limit.site)
        if before is None or reading is None or not before.count or not reading.count:
            raise MeasureError(
                f"{limit.site}: {limit.against if reading is not None else 'the Record'} holds nothing of this site to "
                "compare with\n"
                "  measure it again"
            )
        if is_integer_error(limit.metric) and 0 in (
            split.count for r in (before, reading) for split in (r.calibration, r.evaluation)
        ):
            raise MeasureError(
                f"{limit.site}: a split holds nothing of this site, so {limit.metric} is no figure to judge\n"
                "  measure it again"
            )
        value = site_change(before, reading, limit.metric, limit.floor)
        words = _change_words(before, reading, limit, value)
    passed = holds(value, limit)
    message = (
        f"{words}, which {_RELATIONS[limit.sense, passed]} the limit {limit.bound:.6g}; {limit.rule}{_origin(limit)}"
    )
    return Finding(limit=limit, value=value, passed=passed, reading=reading, message=message)


def _change_words(before: SiteReading, after: SiteReading, limit: Limit, value: float) -> str:
    place = after.site.name
    if broken := [whose for whose, reading in (("it", after), (limit.against, before)) if reading.nonfinite]:
        return (
            f"{place}: no {limit.metric} to tell, {' and '.join(broken)} {'have' if len(broken) > 1 else 'has'} entries"
            " that are NaN or infinite"
        )
    if limit.metric in (GROWTH, SHRINK):
        did = "grew" if limit.metric == GROWTH else "shrank"
        peak = f" {describe_peak(after.peaks[0])}" if after.peaks else ""
        return f"{place}: max_abs {did} {value:.4g} times, from {before.max_abs:.6g} to {after.max_abs:.6g}{peak}"
    if limit.metric == SHIFT:
        return (
            f"{place}: its distribution shifted by {value:.3g}, the rms went from {metric_value(before, 'rms'):.4g} to"
            f" {metric_value(after, 'rms'):.4g}"
        )
    name = limit.metric.removesuffix(DROP)
    return (
        f"{place}: {name} fell by {value:.2f} dB, from {metric_value(before, name):.2f} to"
        f" {metric_value(after, name):.2f}"
    )


def _whole_words(before: Record, after: Record, limit: Limit, value: float) -> str:
    if math.isnan(value):
        return f"no {limit.metric} to tell, the residual stream has entries that are NaN or infinite"
    if limit.metric == MASSIVE:
        new = new_massive_layers(before, after, limit.floor or 0.0)
        return f"{len(new)} layers meet the massive-activation criterion anew{f' ({ranges(new)})' if new else ''}"
    layers = [
        "none" if (layer := first_jump(record, limit.floor or 0.0)) is None else f"layer {layer}"
        for record in (before, after)
    ]
    return (
        f"the first jump layer went from {layers[0]} to {layers[1]}"
        if value
        else f"the first jump layer stays ({layers[1]})"
    )


def _check_effect(record: Record, limit: Limit) -> Finding:
    """A limit on what a scheme does to predictions."""
    scheme, _, quantity = limit.metric.partition(".")
    if scheme not in SCHEMES or quantity not in EFFECTS:
        raise InputError(
            f"no metric of the whole model called {limit.metric!r}\n"
            f"  there are <SCHEME>.<quantity> with {', '.join(EFFECTS)}"
        )
    effect = record.effects.get(scheme)
    if effect is None:
        raise MeasureError(
            f"the Record holds no effect of {scheme} on "
            f"predictions{f', for which {limit.file}:{limit.line} sets a limit' if limit.file else ''}\n"
            f"  measure again with --maxact-effect {scheme}"
        )
    value = float(getattr(effect, quantity))
    passed = holds(value, limit)
    relation = _RELATIONS[limit.sense, passed]
    message = (
        f"{limit.metric} {value:.4g} on {effect.tokens} tokens of {effect.samples} samples {relation} the limit"
        f" {limit.bound:.6g}; {limit.rule}{_origin(limit)}"
    )
    return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)


def require_protocol(record_protocol: str, rules: Ruleset) -> None:
    """Raise InputError where limits stated for one protocol would judge a measurement under another."""
    if rules.family != GENERIC and rules.protocol != record_protocol:
        raise InputError(
            f"the limits of family {rules.family!r} hold for protocol {rules.protocol!r}, the measurement is of "
            f"protocol {record_protocol!r}\n"
            f"  measure under protocol {rules.protocol}, give a limits file that says `protocol: {record_protocol}` "
            "beside `version: 1`,\n"
            "  or judge by family generic"
        )


def beyond_fp16(record: Record) -> list[SiteReading]:
    """Sites that float16 cannot hold: a finite entry above 65 504, or one that is not finite already."""
    return [reading for reading in record.sites.values() if not (metric_value(reading, "max_abs") <= FP16_MAX)]


def holds(value: float, limit: Limit) -> bool:
    """The comparison: true only of numbers."""
    if limit.sense == "min":
        return value >= limit.bound
    return value <= limit.bound


def _message(reading: SiteReading, limit: Limit, value: float, passed: bool) -> str:
    """One line for a person: what was found, where, against which limit from where."""
    place = reading.site.name if limit.site != CARRIER else f"{reading.site.name} (carrier of M)"
    relation = _RELATIONS[limit.sense, passed]
    stated = f"{limit.bound:.6g}"
    if limit.figure is not None and limit.headroom is not None:
        sign = f"x {limit.headroom:g}" if limit.sense == "max" else f"less {20 * math.log10(limit.headroom):.2f} dB"
        stated += f" ({limit.figure:g} {sign})"
    if limit.metric == "nonfinite":
        text = f"{place}: {int(value)} non-finite entries of {reading.count}"
        if reading.first_nonfinite:
            first = reading.first_nonfinite
            text += f", first in sample {first.sample}, token {first.position} {first.token!r}, channel {first.channel}"
        return text
    if limit.metric == "unreached_experts":
        found = f"no token reached {describe_unreached(reading)}, a share of {value:.4g}"
        return f"{place}: {found}, which {relation} the limit {stated}; {limit.rule}{_origin(limit)}"
    if reading.nonfinite:
        return (
            f"{place}: no {limit.metric} to hold against {stated}, {reading.nonfinite} entries are NaN or infinite;"
            f" {limit.rule}{_origin(limit)}"
        )
    shown = f"{value:.6g}"
    where = (
        f" {describe_peak(reading.peaks[0])}"
        if limit.metric == "max_abs" and reading.peaks
        else _scheme_words(reading, limit.metric)
    )
    return f"{place}: {limit.metric} {shown}{where} {relation} the limit {stated}; {limit.rule}{_origin(limit)}"


def _scheme_words(reading: SiteReading, metric: str) -> str:
    """What stands behind a figure of a scheme: the worst weight, or the sample it was estimated from."""
    name, _, quantity = metric.partition(".")
    if name not in SCHEMES or quantity == "headroom":
        return ""
    if quantity == "weight_sqnr_db":
        path = worst_weight(reading.weights, name)
        refused = reading.weights[path][name].refused
        return f" in {path}" + (f" ({refused})" if refused else "")
    error = scheme_error(reading, name)
    if not error.tokens or (error.sqnr_error_db == 0.0 and quantity == "sqnr_db"):
        return ""
    spread = f", standard error {error.sqnr_error_db:.2f} dB" if quantity == "sqnr_db" else ""
    return f" (of {error.tokens} sampled tokens{spread})"


def _origin(limit: Limit) -> str:
    """Where a limit is written, and what it was taken from, in brackets; empty for a bound in a test."""
    written = f"{Path(limit.file).name}:{limit.line}" if limit.file else ""
    parts = [part for part in (written, limit.source) if part]
    return f" ({', '.join(parts)})" if parts else ""


def describe_unreached(reading: SiteReading) -> str:
    """The experts that no token reached, eight at most by number: `3 of 128 experts (5, 17, 90)`."""
    missed = reading.unreached_experts
    named = ", ".join(map(str, missed[:8])) + (", ..." if len(missed) > 8 else "")
    return f"{len(missed)} of {len(reading.expert_tokens or ())} experts{f' ({named})' if missed else ''}"


def describe_peak(peak: Peak) -> str:
    """Where a peak sat: `at sample math-07, token 0 'The', channel 318`."""
    part = f" of {peak.part}" if peak.part else ""
    if not peak.sample:
        return f"at channel {peak.channel}{part}"
    return f"at sample {peak.sample}, token {peak.position} {peak.token!r}, channel {peak.channel}{part}"
