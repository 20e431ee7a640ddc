"""A series of checkpoints: the verdict over all of them, one row per checkpoint, one trend per site kind, and what
would cross a limit soon.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.series.series import Outlook, Series
from pytest_maxact.judge.series.trend import Crossing, Milestone, Trend
from pytest_maxact.numbers.counted import counted
from pytest_maxact.report.terminal.compare import parting_words
from pytest_maxact.report.terminal.footing import footing_notes
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, grouped, short, to_text
from pytest_maxact.report.terminal.verdict import across_words, verdict_lines

CROSSINGS_SHOWN = 5
_NAME = 16
"""Columns of a checkpoint's name: `checkpoint-12345`, with which the rows of a series fit into 80."""
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*%#"


def render_series(series: Series, screen: Screen) -> str:
    """A series that nobody judged, as text of at most `screen.width` columns."""
    return to_text(_parts(series, screen, {}, alone=len(series.milestones) == 1), screen)


def series_parts(outcome: Outcome, series: Series, screen: Screen) -> Iterator[Part]:
    """The report of the outcome of a series; remarks on its last checkpoint come last."""
    measured = outcome.measured
    if outcome.verdict and (outcome.faults or any(checkpoint.findings for checkpoint in measured)):
        yield from verdict_lines(outcome.verdict, across_words(outcome), screen.whole)
    if unmeasured := [checkpoint.name for checkpoint in outcome.checkpoints if not checkpoint.portrait]:
        yield Text(f"not measured: {', '.join(unmeasured)}", style="yellow")
    if not measured:
        return
    checks = {checkpoint.name: _checks(checkpoint) for checkpoint in measured}
    alone = len(measured) == 1 and not outcome.baselines and not unmeasured
    yield from _parts(series, screen, checks, alone=alone)
    if latest := measured[-1].portrait:
        yield from (Text(note, style="dim") for note in footing_notes(latest))


def _parts(series: Series, screen: Screen, checks: Mapping[str, Text], *, alone: bool) -> Iterator[Part]:
    """`checks`: by checkpoint, what became of them, empty where nothing was judged; `alone`: whether there is but one
    checkpoint, and nothing that it was compared with.
    """
    yield _table(series.milestones, checks, "…" if screen.has_blocks else "...")
    if alone:
        yield Text("one checkpoint: there is nothing to compare it with", style="yellow")
    yield Text()
    if series.parted:
        yield from _partings(series)
        yield Text()
    yield _trends(series.trends, screen.has_blocks)
    if series.outlook:
        yield from _outlook(series.outlook, series.milestones[-1])
    yield Text(
        "M: largest magnitude of all counted sites. Trends: the largest over all layers; growth is the slope of the"
        " line that fits best.",
        style="dim",
    )


def _table(rows: Sequence[Milestone], checks: Mapping[str, Text], cut: str) -> Grid:
    labels = _labels([row.name for row in rows], cut)
    return Grid(
        columns=(
            Column(name="checkpoint", fold=True),
            Column(name="step", right=True),
            Column(name="M", right=True),
            Column(name="in"),
            *(Column(name=name, right=True) for name in ("to prev", "to first", "jump", "massive", "INT-8")),
            *([Column(name="checks")] if checks else []),
        ),
        rows=[
            [
                labels[row.name],
                str(row.step) if row.step is not None else "-",
                short(row.m),
                row.site.removeprefix("layers."),
                _factor(row.to_previous),
                _factor(row.to_first),
                "none" if row.jump is None else str(row.jump),
                str(row.massive_layers),
                f"{row.int8_sqnr_db:.1f}" if math.isfinite(row.int8_sqnr_db) else "-",
                *([checks[row.name]] if checks else []),
            ]
            for row in rows
        ],
    )


def _labels(names: Sequence[str], cut: str) -> dict[str, str]:
    """Names as a narrow column shows them: the ends of long ones, where those tell them apart."""
    short_ones = {name: name if len(name) <= _NAME else f"{cut}{name[len(cut) - _NAME :]}" for name in names}
    return short_ones if len(set(short_ones.values())) == len(set(names)) else {name: name for name in names}


def _checks(checkpoint: Checkpoint) -> Text:
    if not checkpoint.findings:
        return Text("-")
    failed = sum(not finding.accepted for finding in checkpoint.judged)
    waived = sum(finding.waiver is not None for finding in checkpoint.judged)
    if failed:
        return Text(f"{failed} FAIL", style="bold red")
    close = sum(finding.close for finding in checkpoint.judged)
    apart = ((waived, "waived"), (close, "too close"), (checkpoint.left, "not run"))
    words = ", ".join(f"{many} {what}" for many, what in apart if many)
    return Text(words or "pass", style="yellow" if words else "green")


def _partings(series: Series) -> Iterator[Text]:
    """For every checkpoint that changed too much, where it parts from the one it was compared with."""
    for parted in series.parted:
        yield Text.assemble((f"{parted.before} > {parted.after}: ", "bold"), parting_words(parted.parting))


def _trends(found: Sequence[Trend], blocks: bool) -> Grid:
    return Grid(
        columns=(
            Column(name="kind"),
            Column(name="trend"),
            *(Column(name=name, right=True) for name in ("first", "last", _per(found))),
        ),
        rows=[
            [
                trend.kind,
                _bars(trend.values, blocks),
                short(trend.values[0]),
                short(trend.values[-1]),
                _growth(trend),
            ]
            for trend in found
        ],
    )


def _per(found: Sequence[Trend]) -> str:
    return _per_steps(found[0].unit) if found else "growth"


def _per_steps(unit: int) -> str:
    return f"per {grouped(unit)} steps" if unit > 1 else "per step"


def _growth(trend: Trend) -> str:
    known = math.isfinite(trend.growth)
    return f"{trend.growth:+.3g} ({trend.relative_growth:+.1%})" if known else "steps unknown"


def _bars(values: Sequence[float], blocks: bool, most: int = 24) -> str:
    """A bar per checkpoint, from the least value to the largest; of a long series evenly chosen ones, its ends among
    them.
    """
    if len(values) > most:
        values = [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    bars = _BARS if blocks else _PLAIN_BARS
    return "".join(
        "!" if not math.isfinite(v) else bars[round(7 * (v - low) / (high - low))] if high > low else bars[3]
        for v in values
    )


def _outlook(outlook: Outlook, last: Milestone) -> Iterator[Text]:
    horizon, found = outlook.horizon, outlook.crossings
    if found is None:
        unknown = f"the step of {last.name} is not known"
        few = "fewer than two of these checkpoints have a known step"
        yield Text(f"no growth to continue: {unknown if last.step is None else few}", style="yellow")
        return
    if (last.step or 0) >= horizon:
        yield Text(f"the series has passed step {horizon}: give a horizon beyond step {last.step}", style="yellow")
        return
    if not found:
        yield Text(f"no limit would be crossed before step {horizon}, were growth to go on as it has", style="green")
    for crossing in found[:CROSSINGS_SHOWN]:
        yield Text(_crossing_words(crossing), style="yellow")
    if len(found) > CROSSINGS_SHOWN:
        yield Text(f"and {counted(len(found) - CROSSINGS_SHOWN, 'more site')} before step {horizon}", style="yellow")


def _crossing_words(crossing: Crossing) -> str:
    return (
        f"WARNING: {crossing.limit.site} is at {short(crossing.value)} of {short(crossing.limit.bound)} and grows"
        f" {crossing.growth:+.3g} {_per_steps(crossing.unit)}: it would cross its limit at step {crossing.step:.0f}"
        f" (growth seen over {counted(crossing.span, 'step')})"
    )


def _factor(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
