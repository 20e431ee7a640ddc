"""A series of checkpoints: the verdict over all of them, one row per checkpoint, one trend per site kind, and what
would cross a limit soon.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.errors import Words, neutral
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.series.trend import (
    Crossing,
    Milestone,
    Stage,
    Trend,
    can_be_continued,
    crossings,
    milestones,
    trends,
)
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.compare import breach_words
from pytest_maxact.report.terminal.console import is_unicode, short, to_text
from pytest_maxact.report.terminal.verdict import verdict_of

CROSSINGS_SHOWN = 5
_NAME = 16
"""Columns of a checkpoint's name: `checkpoint-12345`, with which the rows of a series fit into 80."""
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*%#"


def render(
    series: Sequence[Stage],
    findings: Mapping[str, Sequence[Finding]],
    *,
    width: int,
    color: bool,
    encoding: str = "utf-8",
    words: Words = neutral,
    limits: Iterable[Limit] = (),
    horizon: int | None = None,
    ran: Set[tuple[str, str]] | None = None,
    faults: Sequence[str] = (),
    unknown: int = 0,
    unmeasured: Sequence[str] = (),
    baselines: Mapping[str, Record] | None = None,
    notes: Iterable[str] = (),
) -> str:
    """As text of at most `width` columns.

    `findings`: by checkpoint, empty where nothing was judged; `limits`: those of the last checkpoint, for `horizon`, a
    step; `ran`: (checkpoint, check) of those that ran, None for all; `faults`: what else went wrong; `unknown`: checks
    that did not run and cannot be judged; `unmeasured`: checkpoints of which there is no Record; `baselines`: what all
    of them were compared with besides, by name; `notes`: remarks, shown last.
    """
    parts = _parts(
        series,
        findings,
        tuple(limits),
        horizon,
        ran,
        faults,
        unknown,
        unmeasured,
        baselines or {},
        is_unicode(encoding),
    )
    shown = [*parts, *(Text(note, style="dim") for note in notes)]
    return to_text(shown, width=width, color=color, encoding=encoding, words=words)


def _parts(
    series: Sequence[Stage], findings: Mapping[str, Sequence[Finding]], limits: Sequence[Limit], horizon: int | None,
    ran: Set[tuple[str, str]] | None, faults: Sequence[str], unknown: int, unmeasured: Sequence[str],
    baselines: Mapping[str, Record], solid: bool,
) -> Iterator[RenderableType]:  # fmt: skip
    judged = [(name, finding) for name, of_one in findings.items() for finding in of_one]
    if judged or faults:
        yield from verdict_of(
            judged, ran, faults, f" of {len(findings)} {'checkpoints' if len(findings) > 1 else 'checkpoint'}", unknown
        )
    if unmeasured:
        yield Text(f"not measured: {', '.join(unmeasured)}", style="yellow")
    if not series:
        return
    yield _table(milestones(series), findings, "…" if solid else "...")
    if len(series) == 1 and not baselines and not unmeasured:
        yield Text("one checkpoint: there is nothing to compare it with", style="yellow")
    yield Text()
    if partings := list(_partings({**baselines, **{stage.name: stage.record for stage in series}}, findings)):
        yield from (*partings, Text())
    yield _trends(trends(series), solid)
    if horizon is not None:
        yield from _crossings(series, limits, horizon)
    yield Text(
        "M: largest magnitude of all counted sites. Trends: the largest over all layers; growth is the slope of the"
        " line that fits best.",
        style="dim",
    )


def _table(rows: Sequence[Milestone], findings: Mapping[str, Sequence[Finding]], cut: str) -> Table:
    labels = _labels([row.name for row in rows], cut)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("checkpoint", overflow="fold")
    for name in ("step", "M"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for name in ("to prev", "to first", "jump", "massive", "INT-8"):
        table.add_column(name, justify="right", no_wrap=True)
    if findings:
        table.add_column("checks", no_wrap=True)
    for row in rows:
        table.add_row(
            labels[row.name],
            str(row.step) if row.step is not None else "-",
            short(row.m),
            row.site.removeprefix("layers."),
            _factor(row.to_previous),
            _factor(row.to_first),
            "none" if row.jump is None else str(row.jump),
            str(row.massive_layers),
            f"{row.int8_sqnr_db:.1f}" if math.isfinite(row.int8_sqnr_db) else "-",
            *([_outcome(findings.get(row.name, ()))] if findings else []),
        )
    return table


def _labels(names: Sequence[str], cut: str) -> dict[str, str]:
    """Names as a narrow column shows them: the ends of long ones, where those tell them apart."""
    short_ones = {name: name if len(name) <= _NAME else f"{cut}{name[len(cut) - _NAME :]}" for name in names}
    return short_ones if len(set(short_ones.values())) == len(set(names)) else {name: name for name in names}


def _outcome(findings: Sequence[Finding]) -> Text:
    if not findings:
        return Text("-")
    failed = sum(not finding.accepted for finding in findings)
    waived = sum(finding.waiver is not None for finding in findings)
    if failed:
        return Text(f"{failed} FAIL", style="bold red")
    return Text(f"{waived} waived" if waived else "pass", style="yellow" if waived else "green")


def _partings(records: Mapping[str, Record], findings: Mapping[str, Sequence[Finding]]) -> Iterator[RenderableType]:
    """For every checkpoint that changed too much, where it parts from the one it was compared with."""
    for name, of_one in findings.items():
        broken = [finding for finding in of_one if finding.limit.against and not finding.passed]
        for against in dict.fromkeys(finding.limit.against for finding in broken):
            if name in records:
                words = breach_words(records[name], [finding for finding in broken if finding.limit.against == against])
                yield Text.assemble((f"{against} > {name}: ", "bold"), words)


def _trends(found: Sequence[Trend], solid: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("kind", no_wrap=True)
    table.add_column("trend", no_wrap=True)
    for name in ("first", "last", "per 1 000 steps"):
        table.add_column(name, justify="right", no_wrap=True)
    for trend in found:
        growth = (
            f"{trend.growth:+.3g} ({trend.relative_growth:+.1%})" if math.isfinite(trend.growth) else "steps unknown"
        )
        table.add_row(trend.kind, _bars(trend.values, solid), short(trend.values[0]), short(trend.values[-1]), growth)
    return table


def _bars(values: Sequence[float], solid: bool, most: int = 24) -> str:
    """A bar per checkpoint, from the least value to the largest; of a long series evenly chosen ones, its ends among
    them.
    """
    if len(values) > most:
        values = [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    bars = _BARS if solid else _PLAIN_BARS
    return "".join(
        "!" if not math.isfinite(v) else bars[round(7 * (v - low) / (high - low))] if high > low else bars[3]
        for v in values
    )


def _crossings(series: Sequence[Stage], limits: Sequence[Limit], horizon: int) -> Iterator[RenderableType]:
    if not can_be_continued(series):
        unknown = f"the step of {series[-1].name} is not known"
        few = "fewer than two of these checkpoints have a known step"
        yield Text(f"no growth to continue: {unknown if series[-1].step is None else few}", style="yellow")
        return
    if (series[-1].step or 0) >= horizon:
        yield Text(
            f"the series has passed step {horizon}: give a horizon beyond step {series[-1].step}", style="yellow"
        )
        return
    found = crossings(series, limits, horizon)
    if not found:
        yield Text(f"no limit would be crossed before step {horizon}, were growth to go on as it has", style="green")
    for crossing in found[:CROSSINGS_SHOWN]:
        yield Text(_crossing_words(crossing), style="yellow")
    if len(found) > CROSSINGS_SHOWN:
        yield Text(f"and {len(found) - CROSSINGS_SHOWN} more sites before step {horizon}", style="yellow")


def _crossing_words(crossing: Crossing) -> str:
    return (
        f"WARNING: {crossing.limit.site} is at {short(crossing.value)} of {short(crossing.limit.bound)} and grows"
        f" {crossing.growth:+.3g} per 1 000 steps: it would cross its limit at step {crossing.step:.0f}"
    )


def _factor(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
