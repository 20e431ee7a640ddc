"""What would help a scheme that does not fit: sites to keep in 16 bits, scales per token, smoothing. A sentence
each.
"""

from collections.abc import Iterable, Mapping, Sequence

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import LINEAR_KINDS, Site, kept_in_cache, ranges
from pytest_maxact.record.effect import KEPT, UNDONE, Effect
from pytest_maxact.record.metrics.metric import Kind, scheme_metric
from pytest_maxact.record.metrics.smoothing import smoothing_gain
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record

MOST_KEPT = 0.5
"""A scheme that needs more than this share of the linear inputs in 16 bits is not one worth advising."""
_PER_TOKEN = {"W8A8_STATIC": "W8A8", "FP8": "FP8_DYNAMIC"}


def failing_inputs(record: Record, findings: Iterable[Finding]) -> tuple[str, ...]:
    failed = {finding.site for finding in findings if not finding.passed}
    return tuple(name for name, reading in record.sites.items() if name in failed and reading.site.is_linear_input)


def quantized_sites(record: Record, scheme: str) -> list[Site]:
    """The sites at which a scheme costs something: inputs of linear layers, or what a KV cache keeps."""
    sites = [reading.site for reading in record.sites.values()]
    return kept_in_cache(sites) if SCHEMES[scheme].cache else [site for site in sites if site.is_linear_input]


def is_worth_keeping(record: Record, sites: Sequence[str]) -> bool:
    return len(sites) <= MOST_KEPT * sum(reading.site.is_linear_input for reading in record.sites.values())


def advice_on(record: Record, name: str, findings: Sequence[Finding]) -> Iterable[str]:
    if SCHEMES[name].cache:
        yield from _of_cache(record, name, findings)
        return
    sites = failing_inputs(record, findings)
    linear = sum(reading.site.is_linear_input for reading in record.sites.values())
    if not sites:
        limits = [finding.limit for finding in findings]
        if any(finding.limit.metric.kind is Kind.EFFECT and not finding.passed for finding in findings):
            yield _undone_words(record, name, limits)
        return
    words = in_words(record, sites)
    if SCHEMES[name].cast:
        yield f"out of its range: the inputs or weights of {words}"
        return
    if not is_worth_keeping(record, sites):
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


def _of_cache(record: Record, name: str, findings: Sequence[Finding]) -> Iterable[str]:
    """Which other way of keeping keys and values meets the bounds that this one misses."""
    failed = [
        finding for finding in findings if not finding.passed and finding.reading and finding.reading.site.is_cached
    ]
    if not failed:
        return
    layers = sorted({finding.reading.site.layer or 0 for finding in failed if finding.reading})
    yield f"fails in layer{'s' if len(layers) > 1 else ''} {ranges(layers)}"
    for other in record.provenance.schemes:
        if other == name or not SCHEMES[other].cache:
            continue
        try:
            values = [
                metric_value(record.sites[finding.site], scheme_metric(other, finding.limit.metric.quantity))
                for finding in failed
            ]
        except MeasureError:
            continue
        if all(holds(value, finding.limit) for value, finding in zip(values, failed, strict=True)):
            yield f"{other} ({SCHEMES[other].in_words}) meets every bound there"


def effect_holds(limits: Iterable[Limit], effect: Effect) -> bool:
    """Whether an effect meets those of a scheme's limits that are on its predictions."""
    return all(
        holds(getattr(effect, limit.metric.quantity), limit) for limit in limits if limit.metric.kind is Kind.EFFECT
    )


def _undone_words(record: Record, name: str, limits: Iterable[Limit]) -> str:
    """Which linear layer breaks predictions though no figure of one does, as far as that was tried."""
    met = "every linear input and weight meets its bounds"
    undone = record.effects.get(name + UNDONE)
    if undone is None:
        ran = (
            f"{SCHEMES[name].cast} was run as a whole"
            if SCHEMES[name].cast
            else "no linear layer was tried alone in 16 bits"
        )
        return f"{met}, and predictions part all the same; {ran}"
    words = f"with {', '.join(undone.kept)} alone in 16 bits mean KL is {undone.mean_kl:.4g}"
    if effect_holds(limits, undone):
        return f"{met}, and one linear layer breaks predictions: {words}"
    return f"{met}, and no single linear layer that was tried mends predictions: {words}"


def _kept_words(record: Record, name: str, findings: Sequence[Finding]) -> str:
    """What predictions then look like."""
    kept = record.effects.get(name + KEPT)
    if kept is None:
        return ""
    held = effect_holds([finding.limit for finding in findings], kept)
    return f"; mean KL is then {kept.mean_kl:.4g}" + ("" if held else ", still beyond its limit")


def _per_token(record: Record, other: str, sites: Sequence[str], findings: Sequence[Finding]) -> Iterable[str]:
    """Whether the scheme's sibling with a scale per token would meet the same bounds at these sites."""
    try:
        judged = [
            (
                metric_value(record.sites[finding.site], scheme_metric(other, finding.limit.metric.quantity)),
                finding.limit,
            )
            for finding in findings
            if finding.site in sites and not finding.limit.metric.is_of_weights
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
        if finding.reading and not finding.limit.metric.is_of_weights:
            gain = smoothing_gain(finding.reading)
            gains |= {} if gain is None else {finding.site: gain}
    if gains and max(gains.values()) >= 1.0:
        site = max(gains, key=lambda name: gains[name])
        yield (
            f"smoothing (alpha 0.5) would bring the largest channel {gains[site]:.0f} dB nearer to the median one at"
            f" {site}"
        )


def in_words(record: Record, sites: Sequence[str]) -> str:
    """Linear inputs in few words: `down_in of layers 3, 29; o_in of layer 4`."""
    layers: Mapping[str, list[int]] = {kind: [] for kind in LINEAR_KINDS}
    for name in sites:
        site = record.sites[name].site
        layers[site.kind].append(site.layer or 0)
    return "; ".join(
        f"{kind} of layer{'s' if len(where) > 1 else ''} {ranges(where)}" for kind, where in layers.items() if where
    )
