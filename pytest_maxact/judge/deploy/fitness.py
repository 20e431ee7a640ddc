"""Can it ship in low bits: for every scheme that was measured, whether it fits, what stands in its way, and what would
help. No torch.

The findings are those of the run, or of `verdict` where the run judged nothing of a scheme; advice is computed from the
same Record: which linear layers to keep in 16 bits, whether a scheme with a scale per token would do at the sites that
fail, and how far smoothing would bring down the channels that set the scale.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from pytest_maxact.errors import MeasureError, marked
from pytest_maxact.judge.deploy.advice import advice_on, effect_holds, failing_inputs, is_worth_keeping, quantized_sites
from pytest_maxact.judge.limits.limit import MODEL, Limit
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.metrics.metric import WEIGHT_SQNR, scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record


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
    """Whether it ran, and its predictions were compared."""

    predicts: bool
    """Whether there are predictions to compare."""

    unchecked: str
    """What was not looked at, "" for nothing."""

    advice: tuple[str, ...]

    @property
    def breaches(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.accepted]

    @property
    def waived(self) -> list[Finding]:
        """What fails and is let pass for now: no breach, and nothing that fits either."""
        return [finding for finding in self.findings if finding.waiver is not None]

    @property
    def holds(self) -> bool:
        """Whether every bound that was judged holds, none by a waiver; predictions may not have been, and then it is
        not known to fit.
        """
        return bool(self.findings) and all(finding.passed for finding in self.findings) and not self.unmeasured

    @property
    def holds_by_waiver(self) -> bool:
        """Whether waivers let pass whatever of it fails; predictions may not have been judged."""
        return bool(self.waived) and not self.breaches and not self.unmeasured

    @property
    def passed(self) -> bool:
        return self.holds and self.compared

    @property
    def fits(self) -> str:
        """In a word; `?` where nothing speaks against it and not all was measured."""
        if self.passed:
            return "yes"
        return "NO" if self.breaches else "waived" if self.holds_by_waiver else "?"


def fitness_of(record: Record, limits: Iterable[Limit], findings: Iterable[Finding] = ()) -> list[SchemeFitness]:
    """The fitness of every scheme that `limits` speak about, in their order. `findings`: those of the run, which stand
    as they are, waived ones too, and so do those that fail by other limits on a scheme; what it did not judge is judged
    here.
    """
    known = tuple(limits)
    judged = {finding.limit: finding for finding in findings}
    by_scheme: dict[str, list[Finding | str]] = {}
    for limit in known:
        by_scheme.setdefault(limit.metric.scheme, []).append(judged.get(limit) or _check(record, limit))
    for limit, finding in judged.items():
        told = by_scheme.get(limit.metric.scheme)
        if told is not None and not finding.passed and not limit.against and limit not in known:
            told.append(finding)
    return [_fitness(record, name, outcomes) for name, outcomes in by_scheme.items()]


def failing_sites(record: Record, limits: Iterable[Limit]) -> dict[str, tuple[str, ...]]:
    """The linear inputs at which each scheme fails, where there are few enough to be kept in 16 bits: `{"W8A8":
    ("layers.3.down_in",)}`.
    """
    found = {}
    for name in dict.fromkeys(limit.metric.scheme for limit in limits):
        findings = [_check(record, limit) for limit in limits if limit.metric.scheme == name and limit.site != MODEL]
        sites = failing_inputs(record, [finding for finding in findings if isinstance(finding, Finding)])
        if sites and not SCHEMES[name].cast and is_worth_keeping(record, sites):
            found[name] = sites
    return found


def bounds_on_effects(record: Record, limits: Iterable[Limit]) -> dict[str, Callable[[Effect], bool]]:
    """Of every scheme that meets its bounds at every linear input and weight, whether an effect meets its own."""
    limits = tuple(limits)
    found: dict[str, Callable[[Effect], bool]] = {}
    for name in dict.fromkeys(limit.metric.scheme for limit in limits):
        of_sites = [limit for limit in limits if limit.metric.scheme == name and limit.site != MODEL]
        outcomes = [_check(record, limit) for limit in of_sites]
        if all(isinstance(outcome, Finding) and outcome.passed for outcome in outcomes):
            found[name] = partial(effect_holds, [limit for limit in limits if limit.metric.scheme == name])
    return found


def _fitness(record: Record, name: str, outcomes: Sequence[Finding | str]) -> SchemeFitness:
    findings = tuple(outcome for outcome in outcomes if isinstance(outcome, Finding))
    scheme = SCHEMES[name]
    return SchemeFitness(
        scheme=name,
        findings=findings,
        unmeasured=next((outcome for outcome in outcomes if isinstance(outcome, str)), ""),
        lowest=_lowest(record, name) if len(scheme.parts) == 1 and (scheme.activations or scheme.cache) else None,
        lowest_weight=_lowest(record, name, WEIGHT_SQNR) if _has_weights(scheme) else None,
        effect=record.effects.get(name),
        compared=name in record.effects,
        predicts=record.provenance.predicts,
        unchecked="attention scores unchecked" if scheme.cast == "float16" and not record.scores else "",
        advice=tuple(advice_on(record, name, findings)),
    )


def _check(record: Record, limit: Limit) -> Finding | str:
    """A finding, or why there is none."""
    try:
        return check(record, limit)
    except MeasureError as error:
        return marked(error).split("\n")[0]


def _has_weights(scheme: Scheme) -> bool:
    return len(scheme.parts) == 1 and bool(scheme.weights or scheme.cast)


def _lowest(record: Record, scheme: str, quantity: str = "sqnr_db") -> tuple[float, str] | None:
    values = []
    for site in quantized_sites(record, scheme):
        try:
            values.append((metric_value(record.sites[site.name], scheme_metric(scheme, quantity)), site.name))
        except MeasureError:
            continue
    return min(values, key=lambda value: (not math.isnan(value[0]), value[0])) if values else None
