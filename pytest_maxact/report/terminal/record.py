"""The report for a person: verdict and breaches first, in words, then the facts of the run, then a row per layer. Fits
80 columns.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.errors import Words, neutral
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.published import standing
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.slack import notices
from pytest_maxact.judge.verdict.words import describe_peak, describe_unreached
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.record.metrics.value import beyond_fp16
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record, first_broken
from pytest_maxact.report.terminal.compare import baseline_words
from pytest_maxact.report.terminal.console import grouped, is_unicode, short, to_text
from pytest_maxact.report.terminal.deploy import render_fitness
from pytest_maxact.report.terminal.footing import footing_notes
from pytest_maxact.report.terminal.verdict import verdict_of

_BAR = 10


def render(
    record: Record,
    rules: Ruleset | None,
    findings: Sequence[Finding],
    *,
    width: int,
    color: bool,
    encoding: str = "utf-8",
    words: Words = neutral,
    ran: Set[str] | None = None,
    faults: Sequence[str] = (),
    unknown: int = 0,
    baselines: Mapping[str, Record] | None = None,
    tighten: str = "",
) -> str:
    """The report as text of at most `width` columns; with no rules, the figures alone.

    `ran`: names of the checks that ran, None for all; `faults`: what else went wrong; `unknown`: checks that did not
    run and cannot be judged; `baselines`: what it is compared with, by name; `tighten`: the command that tightens
    limits much wider than what was found.
    """
    return to_text(
        _parts(record, rules, findings, is_unicode(encoding), ran, faults, unknown, baselines or {}, tighten),
        width=width,
        color=color,
        encoding=encoding,
        words=words,
    )


def _parts(
    record: Record,
    rules: Ruleset | None,
    findings: Sequence[Finding],
    solid: bool,
    ran: Set[str] | None,
    faults: Sequence[str],
    unknown: int,
    baselines: Mapping[str, Record],
    tighten: str,
) -> Iterator[RenderableType]:
    if rules is not None:
        yield from verdict_of(
            [("", finding) for finding in findings],
            None if ran is None else {("", check) for check in ran},
            faults,
            unknown=unknown,
        )
    yield _facts(record, rules)
    for name, baseline in baselines.items():
        yield baseline_words(name, baseline, record, [finding for finding in findings if finding.limit.against == name])
    yield Text()
    yield _layers(record, findings, solid)
    yield Text("\n".join(_notes(record, rules, findings, tighten)), style="dim")
    if rules is not None:
        yield from render_fitness(record, rules)


def _facts(record: Record, rules: Ruleset | None) -> Table:
    provenance, carrier = record.provenance, record.carrier
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    revision = f" at {provenance.revision[:12]}" if provenance.revision else ""
    table.add_row("model", f"{provenance.model}{revision}")
    table.add_row(
        "",
        f"{provenance.model_type}, {provenance.layers} layers x {provenance.hidden_size}, {provenance.dtype} on"
        f" {provenance.device}",
    )
    if rules is not None:
        table.add_row("limits", _limits_words(rules))
        if unlimited := _unlimited(record, rules):
            table.add_row("", Text(f"no limit on max_abs for: {', '.join(unlimited)}", style="yellow"))
    digest = provenance.corpus_sha256[:12]
    table.add_row(
        "corpus",
        f"{provenance.corpus} ({digest}), {len(provenance.samples)} samples, {grouped(record.tokens)} tokens, protocol"
        f" {provenance.protocol}",
    )
    peak = f", {describe_peak(carrier.peaks[0]).removeprefix('at ')}" if carrier.peaks and not carrier.nonfinite else ""
    value = "not finite" if carrier.nonfinite else f"{carrier.max_abs:.6g}"
    table.add_row("M", Text(f"{value} in {carrier.site.name}{peak}", style="bold"))
    table.add_row("", standing(carrier.max_abs))
    if any(reading.nonfinite for reading in record.sites.values()):
        table.add_row("broken", Text(_nonfinite_words(record), style="bold red"))
    table.add_row("FP16", _fp16_words(record))
    table.add_row("INT-8", _int8_words(carrier))
    table.add_row("massive", _massive_words(record))
    if routers := [reading for reading in record.sites.values() if reading.tokens_per_expert]:
        table.add_row("experts", _experts_words(routers))
    if provenance.left_out:
        table.add_row("left out", "; ".join(provenance.left_out))
    if provenance.batching.get("alone"):
        table.add_row(
            "batches", "every sequence ran alone: in this model what a token gives depends on what else is in its batch"
        )
    if provenance.batching.get("out_of_memory"):
        table.add_row("memory", f"{provenance.batching['out_of_memory']} batches did not fit and were halved")
    return table


def _unlimited(record: Record, rules: Ruleset) -> list[str]:
    """Kinds that count toward M and that no limit of the run holds, at any layer."""
    limited = {limit.site for limit in rules.limits if limit.metric == MAX_ABS}
    counted = [reading.site for reading in record.sites.values() if reading.site.counted]
    held = {site.kind for site in counted if site.name in limited}
    return list(dict.fromkeys(site.kind for site in counted if site.kind not in held))


def _limits_words(rules: Ruleset) -> str:
    files = ", ".join(Path(file).name for file in rules.files)
    if rules.family == "generic":
        return f"generic: nothing non-finite, every site seen, FP16 range ({files})"
    if rules.shape:
        return f"family {rules.family}, shape {rules.shape} ({files})"
    if any(limit.envelope for limit in rules.limits):
        return (
            f"family {rules.family}, envelope: nobody published this shape, so the family's largest figures with a"
            f" wider headroom ({files})"
        )
    return f"family {rules.family} ({files})"


def _fp16_words(record: Record) -> str:
    beyond = beyond_fp16(record)
    if not beyond:
        largest = max(record.sites.values(), key=lambda reading: reading.max_abs)
        return (
            f"fits: no site above {grouped(int(FP16_MAX))}; {largest.site.name} uses {largest.max_abs / FP16_MAX:.2%}"
        )
    names = ", ".join(reading.site.name for reading in beyond[:4])
    more = f" and {len(beyond) - 4} more" if len(beyond) > 4 else ""
    return f"does not fit: {len(beyond)} sites above {grouped(int(FP16_MAX))} or not finite: {names}{more}"


def _nonfinite_words(record: Record) -> str:
    broken = [reading for reading in record.sites.values() if reading.nonfinite]
    total = sum(reading.nonfinite for reading in broken)
    first = worst.site.name if (worst := first_broken(broken)) else ""
    return f"{grouped(total)} NaN or infinite entries at {len(broken)} sites, the first {first}"


def _int8_words(carrier: SiteReading) -> str:
    if carrier.nonfinite:
        return f"{carrier.site.name}: no figure, it has non-finite entries"
    error, best = (integer_figures(carrier, policy) for policy in ("max_abs", "optimal"))
    return (
        f"{carrier.site.name}, per tensor max_abs: SQNR {error.sqnr_db:.2f} dB, {error.flush_to_zero:.1%} of the"
        f" non-zero entries become zero, {error.levels_used} of 128 levels used; the clip best in calibration,"
        f" {best.threshold:.4g}, gives {best.sqnr_db:.2f} dB"
    )


def _massive_words(record: Record) -> str:
    layers = [r for r in record.sites.values() if r.is_massive]
    if not layers:
        return "no layer meets the criterion of Sun et al. (|x| > 100 and > 1000 x the token's median)"
    most = max(layers, key=lambda reading: reading.massive.tokens if reading.massive else 0)
    tokens = most.massive.tokens if most.massive else 0
    first, last = layers[0].site.layer, layers[-1].site.layer
    return (
        f"layers {first} to {last}: {len(layers)} meet the criterion of Sun et al., on up to {grouped(tokens)} tokens"
        f" ({most.site.name})"
    )


def _experts_words(routers: Sequence[SiteReading]) -> RenderableType:
    """How many routed experts no token reached, and where most."""
    total = sum(len(reading.tokens_per_expert or ()) for reading in routers)
    missed = [reading for reading in routers if reading.unreached_experts]
    if not missed:
        return f"every one of {grouped(total)} routed experts in {len(routers)} layers was given tokens"
    count = sum(len(reading.unreached_experts) for reading in missed)
    most = max(missed, key=lambda reading: len(reading.unreached_experts))
    words = (
        f"no token reached {grouped(count)} of {grouped(total)} routed experts; most in {most.site.name},"
        f" {describe_unreached(most)}"
    )
    return Text(words, style="yellow")


def _layers(record: Record, findings: Sequence[Finding], solid: bool) -> Table:
    """One row per layer: its residual stream against its limit, its other maxima; a row more for any other site that
    breaches.
    """
    maxima = {f.limit.site: f for f in findings if f.limit.metric == MAX_ABS}
    failed = {f.site for f in findings if not f.accepted}
    routed = any(reading.site.kind == "router" for reading in record.sites.values())
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for name in ("max|a|", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("used", no_wrap=True)
    table.add_column("INT-8", justify="right", no_wrap=True)
    for name in ("attn", "mlp", "gate", *(("router",) if routed else ())):
        table.add_column(name, justify="right", no_wrap=True)
    rows: dict[str, dict[str, SiteReading]] = {}
    for reading in record.sites.values():
        rows.setdefault(_row_name(reading), {})[reading.site.kind] = reading
    for label, kinds in rows.items():
        main = kinds.get("hidden") or next(iter(kinds.values()))
        others = [kinds.get(kind) for kind in ("attn_output", "mlp_output", "gate", *(("router",) if routed else ()))]
        table.add_row(
            *_row(label, main, maxima.get(main.site.name), main.site.name in failed, solid),
            *(_cell(r) if r else "" for r in others),
        )
        for reading in kinds.values():
            if reading is not main and reading.site.name in failed:
                table.add_row(*_row(f"  {reading.site.kind}", reading, maxima.get(reading.site.name), True, solid))
    return table


def _row_name(reading: SiteReading) -> str:
    return {"embedding": "embed", "final_norm": "norm"}.get(reading.site.kind, str(reading.site.layer))


def _row(
    label: str, reading: SiteReading, finding: Finding | None, failed: bool, solid: bool
) -> tuple[RenderableType, ...]:
    style = "red" if failed else ""
    sqnr = integer_figures(reading, "max_abs").sqnr_db
    value = _cell(reading)
    limit = short(finding.limit.bound) if finding else "-"
    return (
        Text(label, style=style),
        Text(value, style=style),
        Text(limit, style=style),
        _bar(finding.usage, failed, solid) if finding else Text("FAIL" if failed else ""),
        Text("-" if reading.nonfinite else f"{sqnr:.1f}" if math.isfinite(sqnr) else "exact", style=style),
    )


def _bar(usage: float, failed: bool, solid: bool) -> Text:
    full, empty = ("█", "░") if solid else ("#", ".")
    if not math.isfinite(usage):
        return Text(full * _BAR + " FAIL", style="bold red")
    filled = min(_BAR, math.ceil(usage * _BAR)) if usage > 0 else 0
    words = "FAIL" if failed else f"{usage:.0%}" if usage >= 0.01 or usage == 0 else "<1%"
    style = "bold red" if failed else "yellow" if usage > 0.8 else "green"
    return Text.assemble(
        (full * filled, style), (empty * (_BAR - filled), "dim"), f" {words}", style=style if failed else ""
    )


def _notes(record: Record, rules: Ruleset | None, findings: Sequence[Finding], tighten: str) -> Iterator[str]:
    yield ""
    yield "max|a|: largest magnitude of the residual stream after the layer. INT-8: SQNR in dB, per tensor."
    if rules is not None:
        yield from footing_notes(record, rules, findings)
    if tighten and (slack := notices(findings)):
        yield slack.line(tighten)


def _cell(reading: SiteReading) -> str:
    return short(reading.max_abs)
