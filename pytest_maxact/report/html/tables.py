"""The tables of a page: every site of a checkpoint, its low bits by site and scheme, the schemes, and the checkpoints
of a series. Portraits in, tables out; nothing is computed but what is sorted by.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_maxact.judge.deploy.fitness import SchemeFitness
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.outcome import Checkpoint
from pytest_maxact.judge.portrait import Portrait, SchemeRow, SiteRow
from pytest_maxact.judge.series.series import Series
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.metrics.metric import WEIGHT_SQNR, Kind
from pytest_maxact.report.html.breaches import figure
from pytest_maxact.report.html.shapes import Cell, Head, Row, Table

_SAFE = re.compile(r"[a-z][A-Za-z0-9._-]*")
_SHORT = 60
"""Rows up to which a table is shown before it is asked for."""
_SITES = (
    Head(name="site"),
    Head(name="max |a|", means="largest magnitude", right=True),
    Head(name="limit", means="on the largest magnitude", right=True),
    Head(name="used", means="share of the limit", right=True),
    Head(name="INT-8 dB", means="SQNR per tensor, of the residual stream and of sites where a check fails", right=True),
    Head(name="checks"),
)
_SCHEMES = (
    Head(name="scheme"),
    Head(name="fits"),
    Head(name="inputs dB", means="lowest SQNR of a linear layer's input", right=True),
    Head(name="at"),
    Head(name="weights dB", means="lowest SQNR of a weight", right=True),
    Head(name="of"),
    Head(name="zeroed", means="largest share of the entries of an input or weight that become zero", right=True),
    Head(name="KL", means="nats per token between predictions with and without", right=True),
    Head(name="top-1", means="share of tokens predicted alike", right=True),
)


def anchors_of(checkpoints: Iterable[Checkpoint]) -> dict[tuple[str, str], str]:
    """What a link to a site leads to, by checkpoint and site; a name that may not stand in a page's address is counted
    instead.
    """
    found: dict[tuple[str, str], str] = {}
    for number, checkpoint in enumerate(checkpoints):
        for place, row in enumerate(checkpoint.portrait.rows if checkpoint.portrait else ()):
            name = row.site.name if _SAFE.fullmatch(row.site.name) else f"site-{place}"
            found[checkpoint.name, row.site.name] = f"{f'c{number}.' if checkpoint.name else ''}{name}"
    return found


def sites_table(name: str, checkpoint: str, rows: Iterable[SiteRow], anchors: dict[tuple[str, str], str]) -> Table:
    found = tuple(_site(row, anchors.get((checkpoint, row.site.name), "")) for row in rows)
    return Table(
        name=name,
        title=f"{counted(len(found), 'site')}",
        caption="What was found at every site, in the order of the layers, against the limit on its largest magnitude.",
        heads=_SITES,
        rows=found,
        is_open=len(found) <= _SHORT,
    )


def _site(row: SiteRow, anchor: str) -> Row:
    state = "bad" if row.failing else "warn" if row.waived or row.close else ""
    said = [
        *([f"FAIL {', '.join(metric.name for metric in row.failing)}"] if row.failing else []),
        *([f"waived {', '.join(metric.name for metric in row.waived)}"] if row.waived else []),
        *([f"too close to call {', '.join(metric.name for metric in row.close)}"] if row.close else []),
    ]
    if row.nonfinite:
        said.append(f"{counted(row.nonfinite, 'entry', 'is', 'are')} NaN or infinite")
    return Row(
        anchor=anchor,
        state=state,
        cells=(
            Cell(text=row.site.name),
            Cell(text=figure(row.max_abs), sort=row.max_abs),
            Cell(text="-", sort=math.nan) if row.limit is None else Cell(text=figure(row.limit)),
            Cell(text="-", sort=math.nan)
            if math.isnan(row.usage)
            else Cell(text=f"{row.usage:.1%}", sort=row.usage, bar=min(row.usage, 1.0), state=state),
            _decibel(row.int8_sqnr_db),
            Cell(text="; ".join(said) or ("holds" if row.limit is not None else "no limit"), state=state),
        ),
    )


def schemes_table(portrait: Portrait) -> Table:
    return Table(
        name="schemes",
        title="Which formats it can ship in",
        caption="A scheme fits where every bound that it is held to holds, and its predictions were compared.",
        heads=_SCHEMES,
        rows=tuple(map(_scheme, portrait.deploy)),
    )


def _scheme(row: SchemeRow) -> Row:
    found = row.fitness
    fits, state = _fits(found)
    effect = found.effect
    return Row(
        state=state if state != "good" else "",
        cells=(
            Cell(text=found.scheme),
            Cell(text=fits, state=state),
            _decibel(found.lowest[0] if found.lowest else None),
            Cell(text=found.lowest[1] if found.lowest else "-"),
            _decibel(found.lowest_weight[0] if found.lowest_weight else None),
            Cell(text=found.lowest_weight[1] if found.lowest_weight else "-"),
            _share(row.zeroed),
            Cell(text="not run", sort=math.nan)
            if effect is None
            else Cell(text=f"{effect.mean_kl:.3g}", sort=effect.mean_kl),
            Cell(text="not run", sort=math.nan)
            if effect is None
            else Cell(text=f"{effect.top1_agreement:.2%}", sort=effect.top1_agreement),
        ),
    )


def _fits(found: SchemeFitness) -> tuple[str, str]:
    if found.passed:
        return "yes", "good"
    if found.breaches:
        return f"NO: {counted(len(found.breaches), 'check', 'fails', 'fail')}", "bad"
    if found.holds_by_waiver:
        return "by waiver only", "warn"
    if found.holds:
        return "not known: predictions not compared", "warn"
    return "not known: not measured", "bad"


def low_bits_table(portrait: Portrait, drawn: Drawn | None) -> Table | None:
    """The SQNR of every site under INT-8 and every scheme that is known there, and of weights under those that were
    judged; None where nothing was. `drawn`: what figures are drawn from, None where nothing is drawn.
    """
    found: dict[str, dict[tuple[str, bool], Cell]] = {}
    columns: dict[tuple[str, bool], None] = {}

    def put(site: str, column: tuple[str, bool], value: float, mark: str, state: str) -> None:
        columns[column] = None
        plain, cells = _decibel(value), found.setdefault(site, {})
        if column not in cells or cells[column].state != "bad":  # of several checks one that fails stays
            cells[column] = Cell(text=f"{mark} {plain.text}", sort=value, state=state) if mark else plain

    for row in drawn.low_bits if drawn else ():
        put(row.site, (row.scheme, False), row.sqnr_db, *(("FAIL", "bad") if row.fails else ("", "")))
    for finding in (one for row in portrait.deploy for one in row.fitness.findings):
        metric = finding.limit.metric
        if metric.kind is Kind.SCHEME and metric.is_in_decibels:
            mark = ("", "") if finding.passed else ("waived", "warn") if finding.waiver else ("FAIL", "bad")
            put(finding.site, (metric.scheme, metric.quantity == WEIGHT_SQNR), finding.value, *mark)
    if not found:
        return None
    none = Cell(text="-", sort=math.nan)
    return Table(
        name="low-bits",
        title=f"Low bits at {counted(len(found), 'site')}",
        caption="SQNR in dB of what a low-bit kernel quantizes at a site, and of its weights: higher is better.",
        heads=(
            Head(name="site"),
            *(Head(name=f"{scheme} {'weights' if weights else 'inputs'}", right=True) for scheme, weights in columns),
        ),
        rows=tuple(
            Row(cells=(Cell(text=site), *(cells.get(column, none) for column in columns)))
            for site, cells in found.items()
        ),
        is_open=len(found) <= _SHORT,
    )


def series_table(series: Series, checkpoints: Sequence[Checkpoint]) -> Table:
    """A row for each checkpoint, in the order of their steps."""
    checks = {checkpoint.name: _checks(checkpoint) for checkpoint in checkpoints}
    heads = (
        Head(name="checkpoint"), Head(name="step", right=True), Head(name="M", right=True), Head(name="in"),
        Head(name="to previous", means="M, times that of the one before", right=True),
        Head(name="to first", means="M, times that of the first", right=True),
        Head(name="first jump", means="first layer where the residual stream jumps", right=True),
        Head(name="massive", means="layers that meet the massive-activation criterion", right=True),
        Head(name="INT-8 dB", means="SQNR per tensor of the site that carries M", right=True),
        Head(name="checks"),
    )  # fmt: skip
    rows = [
        Row(
            state=checks[one.name].state if one.name in checks and checks[one.name].state != "good" else "",
            cells=(
                Cell(text=one.name),
                Cell(text="-" if one.step is None else str(one.step), sort=math.nan if one.step is None else None),
                Cell(text=figure(one.m), sort=one.m),
                Cell(text=one.site),
                _times(one.to_previous),
                _times(one.to_first),
                Cell(text="none", sort=math.nan) if one.jump is None else Cell(text=str(one.jump)),
                Cell(text=str(one.massive_layers)),
                _decibel(one.int8_sqnr_db),
                checks.get(one.name, Cell(text="-")),
            ),
        )
        for one in series.milestones
    ]
    rows += [
        Row(state="bad", cells=(Cell(text=checkpoint.name), *[Cell(text="-", sort=math.nan)] * 8, _checks(checkpoint)))
        for checkpoint in checkpoints
        if checkpoint.portrait is None
    ]
    return Table(
        name="series",
        title="Checkpoint by checkpoint",
        caption="M is the largest magnitude of all counted sites.",
        heads=heads,
        rows=tuple(rows),
    )


def _checks(checkpoint: Checkpoint) -> Cell:
    """What became of the checks of one checkpoint that ran, and how many did not."""
    if checkpoint.portrait is None:
        return Cell(text="not measured", state="bad")
    if not checkpoint.findings:
        return Cell(text="none", state="warn")
    judged = checkpoint.judged
    failed = sum(not finding.accepted for finding in judged)
    waived = sum(finding.waiver is not None for finding in judged)
    beside = f", {checkpoint.left} not run" if checkpoint.left else ""
    if failed:
        return Cell(text=f"{failed} of {len(judged)} FAIL{beside}", state="bad")
    if waived:
        return Cell(text=f"{waived} of {len(judged)} waived{beside}", state="warn")
    held = f"{len(judged)} hold{beside}" if judged else f"{checkpoint.left} not run"
    return Cell(text=held, state="warn" if checkpoint.left else "good")


def failing_rows(rows: Iterable[SiteRow]) -> Iterator[SiteRow]:
    """Those of which a check fails or is waived."""
    return (row for row in rows if row.failing or row.waived or row.close)


def _times(value: float) -> Cell:
    return Cell(text="-", sort=math.nan) if math.isnan(value) else Cell(text=f"{value:.3f}")


def _decibel(value: float | None) -> Cell:
    if value is None:
        return Cell(text="-", sort=math.nan)
    if math.isnan(value):
        return Cell(text="none", sort=-math.inf)
    return Cell(text="exact", sort=math.inf) if value == math.inf else Cell(text=f"{value:.2f}")


def _share(share: float | None) -> Cell:
    if share is None:
        return Cell(text="-", sort=math.nan)
    return Cell(text="none", sort=math.inf) if math.isnan(share) else Cell(text=f"{share:.2%}", sort=share)
