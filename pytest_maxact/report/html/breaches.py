"""Checks that do not hold, as a page tells them: breaches in, one account for each kind of them out, the worst in full
and those like it in a table, with where the entry sat and what to do.

Guards that none is left out: what is not told in full stands in the table beside it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytest_maxact.errors import InputError, name_in_id
from pytest_maxact.judge.explain.lookup import explain
from pytest_maxact.judge.limits.weights import is_of_weights
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.quote import place_of, quote_of
from pytest_maxact.judge.verdict.severity import worst_of
from pytest_maxact.judge.verdict.tally import Told
from pytest_maxact.judge.verdict.words import RELATIONS
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.peaks import NonFinite
from pytest_maxact.report.html.shapes import Advice, Breach, Cell, Head, Place, Row, Table

Rows = Mapping[tuple[str, str], str]
"""The anchor of a site's row, by checkpoint and site."""
_INTERVAL = (
    "of an average: what 95 of 100 other sets of samples give; of a maximum: what other text of this size reaches"
    " nearly always, and what the same text may give when it is measured again; nobody knows how far unseen text goes"
)
_CHECKS = (
    Head(name="check"), Head(name="value", right=True), Head(name="limit", right=True),
    Head(name="interval", means=_INTERVAL),
    Head(name="written in", whole=True),
)  # fmt: skip


def breaches_of(told: Iterable[Told], anchors: Rows) -> tuple[Breach, ...]:
    """An account for each kind of breach, in the order of the verdict."""
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for one in told:
        kinds.setdefault((one.checkpoint, *_kind(one.finding)), []).append(one.finding)
    said = set[str]()
    return tuple(
        _breach(number, checkpoint, found, anchors, said)
        for number, ((checkpoint, *_), found) in enumerate(kinds.items(), 1)
    )


def checks_table(name: str, title: str, caption: str, told: Iterable[Told], anchors: Rows) -> Table | None:
    """These checks in a row each; None where there is none."""
    rows = tuple(_row(one, anchors) for one in told)
    return Table(name=name, title=title, caption=caption, heads=_CHECKS, rows=rows) if rows else None


def waived_table(told: Iterable[Told], anchors: Rows) -> Table | None:
    """Checks that fail and are let pass, with who answers for them until when."""
    heads = (*_CHECKS, Head(name="waived"))
    rows = tuple(
        Row(
            cells=(*_row(one, anchors).cells, Cell(text=one.finding.waiver.words if one.finding.waiver else "")),
            state="warn",
        )
        for one in told
    )
    caption = "These checks do not hold. Somebody answers for them until a day."
    return Table(name="waived", title="Waived", caption=caption, heads=heads, rows=rows) if rows else None


def _kind(finding: Finding) -> tuple[str, str]:
    """What breaches are told together by: the kind of the site, or weights, and the check."""
    site = finding.reading.site.kind if finding.reading else finding.limit.site
    return "weights" if is_of_weights(finding.limit.site) else site, finding.limit.name


def _breach(number: int, checkpoint: str, found: list[Finding], anchors: Rows, said: set[str]) -> Breach:
    """`said`: what was explained further up, and will have been."""
    worst = worst_of(found)
    limit, whose = worst.limit, f"{checkpoint}: " if checkpoint else ""
    others = [Told(checkpoint=checkpoint, finding=finding) for finding in found if finding is not worst]
    caption = f"{counted(len(others), 'more check')} of this kind that {'do' if len(others) > 1 else 'does'} not hold"
    return Breach(
        title=f"{whose}{worst.site} {limit.name}",
        check="::".join(["maxact", *([name_in_id(checkpoint)] if checkpoint else []), limit.check]),
        value=figure(worst.value),
        relation="keeps, too close to call," if worst.is_failed_as_close else RELATIONS[limit.sense, False],
        bound=figure(limit.bound),
        interval=interval_of(worst),
        meaning=worst.interval.meaning if worst.interval else "",
        used=f"{worst.usage:.1%} of the limit" if math.isfinite(worst.usage) else "",
        written=written(worst),
        file=limit.file,
        rule=limit.rule,
        source=limit.source,
        message=worst.message,
        href=anchors.get((checkpoint, worst.site), ""),
        place=_place(worst),
        advice=tuple(_advice(worst, said)),
        others=checks_table(f"breach-{number}", caption, "", others, anchors),
    )


def _row(told: Told, anchors: Rows) -> Row:
    finding, whose = told.finding, f"{told.checkpoint}: " if told.checkpoint else ""
    return Row(
        cells=(
            Cell(
                text=f"{whose}{finding.site} {finding.limit.name}",
                href=anchors.get((told.checkpoint, finding.site), ""),
            ),
            Cell(text=figure(finding.value), sort=finding.value),
            Cell(text=figure(finding.limit.bound)),
            Cell(text=interval_of(finding) or "-"),
            Cell(text=written(finding) or "-"),
        )
    )


def figure(value: float) -> str:
    """In six digits, as every report has it."""
    return f"{value:.6g}" if math.isfinite(value) else "not to be told" if math.isnan(value) else f"{value}"


def interval_of(finding: Finding) -> str:
    return finding.interval.words if finding.interval else finding.untold


def written(finding: Finding) -> str:
    """The file's name and line of its limit; empty for a bound in a test."""
    return f"{Path(finding.limit.file).name}:{finding.limit.line}" if finding.limit.file else ""


def _place(finding: Finding) -> Place | None:
    reading, peak = finding.reading, place_of(finding)
    if reading is None or peak is None:
        return None
    quote = quote_of(peak)
    before, after = (quote.before, quote.after) if quote else ("", "")
    if isinstance(peak, NonFinite):
        return Place(
            what="the first that is not finite", value="NaN or infinite", sample=peak.sample,
            position=f"{peak.position}", token=peak.token, channel=f"{peak.channel}", before=before, after=after,
        )  # fmt: skip
    channel = f"{peak.channel}"
    if reading.heads:
        head, own = divmod(peak.channel, reading.width // reading.heads)
        channel = f"{own} of head {head}"
    return Place(
        what="the largest entry",
        value=f"{peak.value:.6g}",
        sample=peak.sample,
        position=f"{peak.position}" if peak.sample else "",
        token=peak.token,
        channel=f"{channel} of {peak.part}" if peak.part else channel,
        before=before,
        after=after,
    )


def _advice(finding: Finding, said: set[str]) -> Iterator[Advice]:
    try:
        entries = explain(f"{finding.limit.site}::{finding.limit.name}")
    except InputError:
        return
    for entry in entries:
        yield Advice(name=entry.name, again=entry.name in said, what=entry.what, breach=entry.breach, todo=entry.todo)
        said.add(entry.name)
