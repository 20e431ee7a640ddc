"""A portrait as Markdown: what was measured, M, how far it can be trusted, and what follows for low bits. One wording
for every page that says it.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_maxact.judge.deploy.fitness import SchemeFitness
from pytest_maxact.judge.portrait import Maximum, Portrait
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.quote import quote_of
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.report.markdown.text import code, heading, prose, row
from pytest_maxact.report.terminal.screen import grouped
from pytest_maxact.report.terminal.trust import trust_line

_TOKEN = 40
DIGEST = 12
"""Digits of a digest that people compare."""


def figure(value: float) -> str:
    """Six digits, or a word."""
    return f"{value:.6g}" if math.isfinite(value) else "not finite"


def facts(portrait: Portrait) -> Iterator[tuple[str, str]]:
    """A label, and Markdown."""
    yield "M", maximum(portrait.m)
    yield "", prose(portrait.m.standing)
    if portrait.trust:
        yield "trust", prose(trust_line(portrait.trust))
    elif portrait.slim:
        yield "trust", "not told: a slim Record keeps nothing of single samples"
    if portrait.broken:
        entries, sites = counted(portrait.broken.entries, "entry"), counted(portrait.broken.sites, "site")
        yield "not finite", f"{entries} at {sites}, the first {code(portrait.broken.first)}"
    sqnr = f"SQNR {_decibel(portrait.int8.max_abs.sqnr_db)} per tensor at that site"
    yield "INT-8", "no figure, that site has non-finite entries" if portrait.m.nonfinite else sqnr
    used = f"{portrait.fp16.share:.1%} of its range is used, most"
    said = used if math.isfinite(portrait.fp16.share) else "does not fit: values that are not finite"
    yield "FP16", f"{said} at {code(portrait.fp16.largest)}"
    yield from _measured(portrait.provenance)
    if limits := portrait.limits:
        files = ", ".join(code(Path(file).name) for file in limits.files)
        shape = f", shape {prose(limits.shape)}" if limits.shape else ""
        yield "limits", f"family {prose(limits.family)}{shape} ({files})"


def _near(path: str) -> str:
    """Of a path on this machine its last part: the page leaves it."""
    return Path(path).name if Path(path).is_absolute() else path


def maximum(m: Maximum) -> str:
    """M, and where it sat."""
    where = f", {place(m.peak)}" if m.peak else ""
    return f"**{figure(m.value)}** at {code(m.site.name)}{where}"


def place(peak: Peak) -> str:
    """The token that an entry belongs to, and its channel."""
    part = f" of {code(peak.part)}" if peak.part else ""
    channel = f"channel {peak.channel}{part}"
    if not peak.sample:
        return channel
    return f"token {code(peak.token)} ({peak.position} of {code(peak.sample)}), {channel}"


def token(finding: Finding) -> str:
    """Where the entry sat that a figure of magnitudes is of, or the first that is not finite."""
    reading = finding.reading
    if reading is None:
        return "-"
    if first := reading.first_nonfinite:
        where = f"token {code(first.token)} ({first.position} of {code(first.sample)})" if first.sample else ""
        said = ", ".join(part for part in ("NaN or infinite", where, f"channel {first.channel}") if part)
        return said + _quoted(first)
    if not reading.peaks or finding.limit.metric.scheme:
        return "-"
    return place(reading.peaks[0]) + _quoted(reading.peaks[0])


def _quoted(place: Peak | NonFinite) -> str:
    """The text that its token stands in, from the break on that a cell of a table may have."""
    quote = quote_of(place)
    return f"<br>{prose(quote.before)}<b>{prose(quote.token, _TOKEN)}</b>{prose(quote.after)}" if quote else ""


def interval(finding: Finding) -> str:
    return finding.interval.words if finding.interval else "-"


def _measured(provenance: Provenance) -> Iterator[tuple[str, str]]:
    revision = f" at {code(provenance.revision[:DIGEST])}" if provenance.revision else ""
    weights = provenance.weights_sha256
    named = weights if " " in weights else weights[:DIGEST]  # words of a model in training, which has no files
    yield "model", f"{code(_near(provenance.model))}{revision}, weights {code(named)}"
    how = ", ".join(filter(None, (provenance.arithmetic, provenance.placement)))
    yield "computed", prose(f"{provenance.dtype} on {provenance.device}{f', {how}' if how else ''}")
    size = f"{counted(len(provenance.samples), 'sample')}, {grouped(provenance.tokens)} tokens"
    corpus = f"{code(_near(provenance.corpus))} ({code(provenance.corpus_sha256[:DIGEST])})"
    yield "corpus", f"{corpus}, {size}, protocol {prose(provenance.protocol)}"
    yield "versions", prose(", ".join(f"{name} {said}" for name, said in provenance.versions.items()))


def low_bits(portrait: Portrait) -> list[str]:
    """A table of schemes, of at least one."""
    names = ("scheme", "fits", "inputs", "weights", "mean KL", "top-1 agreement")
    return [*heading(names, right=(2, 3, 4, 5)), *(row(_scheme(one.fitness)) for one in portrait.deploy)]


def _scheme(scheme: SchemeFitness) -> Sequence[str]:
    effect = scheme.effect
    return (
        code(scheme.scheme),
        f"**{scheme.fits}**" if scheme.breaches else scheme.fits,
        _decibels(scheme.lowest),
        _decibels(scheme.lowest_weight),
        figure(effect.mean_kl) if effect else "-",
        f"{effect.top1_agreement:.1%}" if effect and math.isfinite(effect.top1_agreement) else "-",
    )


def _decibels(lowest: tuple[float, str] | None) -> str:
    if lowest is None:
        return "-"
    return f"{_decibel(lowest[0])} at {code(lowest[1])}"


def _decibel(value: float) -> str:
    return "exact" if value == math.inf else f"{value:.2f} dB" if math.isfinite(value) else "not finite"
