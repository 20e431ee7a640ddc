"""Records against limits: the only comparisons in the program. Everything that shows a verdict shows these findings.

Fail closed: a comparison passes only where it is true of numbers (`not (value <= bound)` fails on NaN), a site with a non-finite entry has no
maximum that could pass, and a limit on a site that the Record lacks is an error.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.formats import BF16_MAX, FP16_MAX, FormatError, integer_error
from pytest_maxact.limits import CARRIER, EFFECTS, GENERIC, MODEL, Limit, Ruleset
from pytest_maxact.reading import Peak, SiteReading
from pytest_maxact.record import Record
from pytest_maxact.schemes.error import QUANTITIES, scheme_error
from pytest_maxact.schemes.table import SCHEMES, Scheme

_RELATIONS = {("max", True): "within", ("max", False): "exceeds", ("min", True): "meets", ("min", False): "falls below"}
NEVER_ZERO = frozenset({"embedding", "hidden", "final_norm"})
"""Kinds that no sound checkpoint leaves at zero throughout."""
_METRICS = "there are max_abs, nonfinite, rms, unreached_experts, quantile.<q>, int<bits>.<policy>.<quantity> and <SCHEME>.<quantity>, as in W8A8.sqnr_db"
_INTEGERS = re.compile(r"int(\d+)")
_INT8_QUANTITIES = tuple(name for name in FormatError.__dataclass_fields__ if name != "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's outcome: the value found, the limit it met, and the site where the value sat; None for a figure of the whole model."""

    limit: Limit
    value: float
    passed: bool
    reading: SiteReading | None
    message: str

    @property
    def site(self) -> str:
        return self.reading.site.name if self.reading else self.limit.site

    @property
    def usage(self) -> float:
        """Share of the limit that is used, 1.0 at the limit; NaN where the metric has no such share (dB)."""
        if self.limit.sense == "max" and self.limit.bound > 0:
            return self.value / self.limit.bound
        return math.nan


def judge(record: Record, limits: Iterable[Limit]) -> list[Finding]:
    """A finding for every limit. Raises MeasureError where the Record lacks a limit's site, or there are no limits at all."""
    findings = [check(record, limit) for limit in limits]
    if not findings:
        raise MeasureError("there are no limits to judge by, so nothing was checked")
    return findings


def check(record: Record, limit: Limit) -> Finding:
    """One limit against one Record."""
    if limit.site == MODEL:
        return _check_effect(record, limit)
    reading = record.carrier if limit.site == CARRIER else record.sites.get(limit.site)
    if reading is None:
        raise MeasureError(
            f"the Record has no site {limit.site}, for which {limit.file}:{limit.line} sets a limit\n  measure the checkpoint again"
        )
    if reading.count == 0 or (_INTEGERS.match(limit.metric) and 0 in (reading.calibration.count, reading.evaluation.count)):
        raise MeasureError(
            f"{reading.site.name}: nothing was counted there, so {limit.metric} is no figure to judge\n  measure the checkpoint again"
        )
    value = metric_value(reading, limit.metric)
    if limit.metric == "max_abs" and value == 0.0 and reading.site.kind in NEVER_ZERO:
        message = f"{reading.site.name}: every entry is zero, which no sound checkpoint gives; the weights are empty or were not loaded"
        return Finding(limit=limit, value=value, passed=False, reading=reading, message=message)
    passed = holds(value, limit)
    return Finding(limit=limit, value=value, passed=passed, reading=reading, message=_message(reading, limit, value, passed))


def _check_effect(record: Record, limit: Limit) -> Finding:
    """A limit on what a scheme does to predictions."""
    scheme, _, quantity = limit.metric.partition(".")
    if scheme not in SCHEMES or quantity not in EFFECTS:
        raise InputError(f"no metric of the whole model called {limit.metric!r}\n  there are <SCHEME>.<quantity> with {', '.join(EFFECTS)}")
    effect = record.effects.get(scheme)
    if effect is None:
        raise MeasureError(
            f"the Record holds no effect of {scheme} on predictions{f', for which {limit.file}:{limit.line} sets a limit' if limit.file else ''}\n"
            f"  measure again with --maxact-effect {scheme}"
        )
    value = float(getattr(effect, quantity))
    passed = holds(value, limit)
    relation = _RELATIONS[limit.sense, passed]
    message = (
        f"{limit.metric} {value:.4g} on {effect.tokens} tokens of {effect.samples} samples {relation} the limit {limit.bound:.6g}; "
        f"{limit.rule}{_origin(limit)}"
    )
    return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)


def metric_value(reading: SiteReading, metric: str) -> float:
    """A metric by its name: `max_abs`, `nonfinite`, `rms`, `unreached_experts` (a share), `quantile.<q>`, `int<bits>.<policy>.<quantity>`,
    `<SCHEME>.<quantity>` with a quantity of `SchemeError`, `<SCHEME>.weight_sqnr_db` or, for FP16 and BF16, `.headroom`.

    With non-finite entries at the site, magnitudes are inf and errors NaN: neither passes a limit. Raises InputError for an unknown name.
    """
    name, _, detail = metric.partition(".")
    policy, _, quantity = detail.rpartition(".")
    try:
        if metric == "nonfinite":
            return float(reading.nonfinite)
        if metric == "max_abs":
            return reading.max_abs
        if metric == "rms":
            return math.inf if reading.nonfinite else reading.histogram.rms
        if metric == "unreached_experts":
            return len(reading.unreached_experts) / len(reading.expert_tokens) if reading.expert_tokens else math.nan
        if name == "quantile":
            value = reading.histogram.quantile(float(detail))
            return math.inf if reading.nonfinite else value
        if (integers := _INTEGERS.fullmatch(name)) and quantity in _INT8_QUANTITIES:
            error = integer_error(reading.calibration, reading.evaluation, policy, int(integers[1]))
            return math.nan if reading.nonfinite else float(getattr(error, quantity))
        if name in SCHEMES:
            return _scheme_value(reading, SCHEMES[name], detail)
    except ValueError as error:
        raise InputError(f"no metric called {metric!r}: {error}\n  {_METRICS}") from error
    raise InputError(f"no metric called {metric!r}\n  {_METRICS}")


def _scheme_value(reading: SiteReading, scheme: Scheme, quantity: str) -> float:
    """Raises ValueError for a quantity that the scheme does not have, MeasureError where the Record lacks it."""
    if quantity == "headroom" and scheme.cast:
        largest = FP16_MAX if scheme.cast == "float16" else BF16_MAX
        return 0.0 if reading.nonfinite else largest / reading.max_abs if reading.max_abs else math.inf
    if quantity == "weight_sqnr_db" and (scheme.weights or scheme.cast):
        errors = [errors[scheme.name] for errors in reading.weights.values() if scheme.name in errors]
        if not errors:
            raise MeasureError(
                f"{reading.site.name}: the Record holds nothing of its weights under {scheme.name}\n  measure again with --maxact-schemes {scheme.name}"
            )
        values = [error.lowest_db for error in errors]
        return math.nan if any(math.isnan(value) for value in values) else min(values)
    if quantity in QUANTITIES and (scheme.activations or scheme.cast):
        error = scheme_error(reading, scheme.name)
        return math.nan if reading.nonfinite else float(getattr(error, quantity))
    raise ValueError(f"{scheme.name} has no {quantity!r}")


def require_protocol(record_protocol: str, rules: Ruleset) -> None:
    """Raise InputError where limits stated for one protocol would judge a measurement under another."""
    if rules.family != GENERIC and rules.protocol != record_protocol:
        raise InputError(
            f"the limits of family {rules.family!r} hold for protocol {rules.protocol!r}, the measurement is of protocol {record_protocol!r}\n"
            f"  measure under protocol {rules.protocol}, give a limits file that says `protocol: {record_protocol}` beside `version: 1`,\n"
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
        return f"{place}: no {limit.metric} to hold against {stated}, {reading.nonfinite} entries are NaN or infinite; {limit.rule}{_origin(limit)}"
    shown = f"{value:.6g}"
    where = f" {describe_peak(reading.peaks[0])}" if limit.metric == "max_abs" and reading.peaks else _scheme_words(reading, limit.metric)
    return f"{place}: {limit.metric} {shown}{where} {relation} the limit {stated}; {limit.rule}{_origin(limit)}"


def _scheme_words(reading: SiteReading, metric: str) -> str:
    """What stands behind a figure of a scheme: the worst weight, or the sample it was estimated from."""
    name, _, quantity = metric.partition(".")
    if name not in SCHEMES or quantity == "headroom":
        return ""
    if quantity == "weight_sqnr_db":
        errors = {path: errors[name] for path, errors in reading.weights.items() if name in errors}
        path = min(errors, key=lambda path: (not math.isnan(errors[path].lowest_db), errors[path].lowest_db))
        return f" in {path}" + (f" ({errors[path].refused})" if errors[path].refused else "")
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
