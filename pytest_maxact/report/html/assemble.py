"""The account of a run and its figures in, all that a page says out, from the verdict at its top to the provenance at
its end.

Guards that no page is green over a run that failed, that checked nothing, or of which not all ran.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pytest_maxact.errors import cut
from pytest_maxact.judge.account import Account
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.judge.verdict.tally import Tally
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.report.html.breaches import breaches_of, checks_table, figure, waived_table
from pytest_maxact.report.html.shapes import Cell, Drawing, Fact, Head, Page, Row, Section, Table
from pytest_maxact.report.html.tables import (
    anchors_of,
    failing_rows,
    low_bits_table,
    schemes_table,
    series_table,
    sites_table,
)
from pytest_maxact.report.terminal.compare import against_grid
from pytest_maxact.report.terminal.facts import facts_grid
from pytest_maxact.report.terminal.footing import footing_notes
from pytest_maxact.report.terminal.screen import Grid, Text, grouped
from pytest_maxact.report.terminal.source import source_parts
from pytest_maxact.report.terminal.verdict import across_words, headline

_TITLE = 120
_CLOSE = "These hold, and their intervals reach over the limit: on other text, or measured again, they may not."
_STYLES = (("red", "bad"), ("yellow", "warn"), ("green", "good"))


def page_of(account: Account, drawings: Sequence[Drawing]) -> Page:
    outcome = account.outcome
    checkpoints = outcome.checkpoints if outcome else ()
    verdict = outcome.verdict if outcome else None
    anchors = anchors_of(checkpoints)
    state = _state(account, verdict)
    sentences = tuple(_sentences(account, verdict))
    subject = _subject(checkpoints) if checkpoints else "a run without an outcome"
    return Page(
        title=cut(f"{_word(account, state)}: {subject}", _TITLE),
        subject=subject,
        state=state,
        word=_word(account, state),
        sentences=sentences,
        warnings=verdict.warnings if verdict else (),
        faults=_faults(account, verdict, sentences),
        breaches=breaches_of(verdict.breaches, anchors) if verdict else (),
        waived=waived_table(verdict.waived, anchors) if verdict else None,
        close=checks_table("close", "Too close to call", _CLOSE, verdict.close, anchors) if verdict else None,
        tiles=tuple(_tiles(outcome)) if outcome else (),
        figures=tuple(drawings),
        drawn=outcome.measured[-1].name if outcome and outcome.series and outcome.measured else "",
        series=series_table(outcome.series, checkpoints) if outcome and outcome.series else None,
        sections=tuple(_sections(outcome, anchors)) if outcome else (),
        provenance=tuple(_provenance(account, checkpoints)),
        unjudged=_unjudged(account),
    )


def _state(account: Account, verdict: Tally | None) -> str:
    """Green where everything was checked and holds as it is, and nowhere else."""
    if account.verdict == "FAIL" or account.faults:
        return "bad"
    if account.verdict == "NONE" or verdict is None or not verdict.passed:
        return "bad" if verdict and verdict.ran else "none"
    return "warn" if account.verdict == "PARTIAL" or verdict.waived or verdict.close or verdict.warnings else "good"


def _word(account: Account, state: str) -> str:
    if state in ("good", "warn"):
        return account.verdict
    return "FAIL" if account.verdict == "FAIL" else "NOT CHECKED"


def _subject(checkpoints: Sequence[Checkpoint]) -> str:
    latest = checkpoints[-1]
    if latest.name:
        return f"{counted(len(checkpoints), 'checkpoint')}, {checkpoints[0].name} to {latest.name}"
    return latest.title or (latest.portrait.provenance.model if latest.portrait else "a checkpoint")


def _sentences(account: Account, verdict: Tally | None) -> Iterator[str]:
    outcome = account.outcome
    if verdict is None or outcome is None or not outcome.measured:
        yield f"Nothing was checked: {account.faults[0]}" if account.faults else "Nothing was checked."
        return
    first, *rest = (line.plain for line in headline(verdict, across_words(outcome)))
    yield _without(first, _word(account, _state(account, verdict)))
    yield from rest
    for name, site in verdict.broken:
        yield f"the first site with non-finite values{f' in {name}' if name else ''} is {site}"


def _without(sentence: str, word: str) -> str:
    """A headline without the word that stands before it in large letters."""
    return sentence.removeprefix(f"{word}:").removeprefix(word).strip()


def _faults(account: Account, verdict: Tally | None, sentences: Sequence[str]) -> tuple[str, ...]:
    """What went wrong besides, but for what the sentences say."""
    told = dict.fromkeys((*account.faults, *(verdict.faults if verdict else ())))
    return tuple(fault for fault in told if not any(sentence.endswith(fault) for sentence in sentences))


def _unjudged(account: Account) -> Table | None:
    """Checks of which nothing was found."""
    rows = tuple(
        Row(
            cells=(
                Cell(text=check.id),
                Cell(text=check.became),
                Cell(text=figure(check.limit.bound)),
                Cell(text=check.why),
            )
        )
        for one in account.checkpoints
        for check in one.checks
        if check.became in ("not run", "deselected", "could not be judged")
    )
    heads = (Head(name="check"), Head(name="became"), Head(name="limit", right=True), Head(name="why"))
    caption = "Of these the verdict says nothing."
    title = f"{counted(len(rows), 'check')} not judged"
    return (
        Table(name="unjudged", title=title, caption=caption, heads=heads, rows=rows, is_open=len(rows) <= 20)
        if rows
        else None
    )


def _tiles(outcome: Outcome) -> Iterator[Fact]:
    """The figures that are asked for first, of the latest checkpoint."""
    latest = outcome.measured[-1].portrait if outcome.measured else None
    if latest is None:
        return
    m = latest.m
    yield Fact(label="M", lines=((figure(m.value), ""), (m.site.name, "soft")))
    if outcome.verdict:
        tally = outcome.verdict
        apart = ((len(tally.close), "too close to call"), (len(tally.waived), "waived"), (tally.left, "not run"))
        beside = tuple((f"{many} {what}", "warn") for many, what in apart if many)
        yield Fact(label="checks that hold", lines=((f"{tally.holding} of {tally.ran}", ""), *beside))
    if latest.limits:
        shape = latest.limits.shape or ("envelope" if latest.limits.envelope else "")
        yield Fact(label="judged as", lines=((latest.limits.family, ""), (shape, "soft")))
    text = f"{counted(len(latest.provenance.samples), 'sample')} of {latest.provenance.corpus}"
    yield Fact(label="tokens read", lines=((grouped(latest.tokens), ""), (text, "soft")))


def _sections(outcome: Outcome, anchors: dict[tuple[str, str], str]) -> Iterator[Section]:
    for number, checkpoint in enumerate(outcome.checkpoints):
        portrait = checkpoint.portrait
        if portrait is None:
            continue
        latest = checkpoint is outcome.measured[-1]
        rows = portrait.rows if latest else tuple(failing_rows(portrait.rows))
        if not latest and not rows:
            continue
        name = f"checkpoint-{number}" if checkpoint.name else "checkpoint"
        tables = [sites_table(f"sites-{number}", checkpoint.name, rows, anchors)]
        if latest:
            low_bits = low_bits_table(portrait, checkpoint.drawn)
            tables += [*([schemes_table(portrait)] if portrait.deploy else []), *([low_bits] if low_bits else [])]
        yield Section(
            name=name,
            title=f"Site by site{f', {checkpoint.name}' if checkpoint.name else ''}",
            facts=tuple(_facts(portrait)) if latest else (),
            notes=tuple(_notes(portrait)) if latest else (("Sites of which a check fails or is waived.", ""),),
            tables=(*tables, *(_source_tables(portrait) if latest else ())),
        )


def _facts(portrait: Portrait) -> Iterator[Fact]:
    yield from _of_grid(facts_grid(portrait))
    for against in portrait.against:
        yield from _of_grid(against_grid(against))


def _of_grid(grid: Grid) -> Iterator[Fact]:
    """Labels with all their lines."""
    label, lines = "", list[tuple[str, str]]()
    for name, said in grid.rows:
        if f"{name}" and lines:
            yield Fact(label=label, lines=tuple(lines))
            lines = []
        label = f"{name}" or label
        lines.append(_said(said))
    if lines:
        yield Fact(label=label, lines=tuple(lines))


def _said(said: str | Text) -> tuple[str, str]:
    """A text and its state."""
    if isinstance(said, str):
        return said, ""
    styles = " ".join(map(str, (said.style, *(span.style for span in said.spans))))
    return said.plain, next((state for colour, state in _STYLES if colour in styles), "")


def _notes(portrait: Portrait) -> Iterator[tuple[str, str]]:
    for note in footing_notes(portrait):
        yield note, ""
    for row in portrait.deploy:
        for line in (*([row.fitness.unmeasured] if row.fitness.unmeasured else []), *row.fitness.advice):
            yield f"{row.fitness.scheme}: {line}", "warn"
    if portrait.source:
        yield from (_said(part) for part in source_parts(portrait.source) if isinstance(part, Text) and part.plain)


def _source_tables(portrait: Portrait) -> Iterator[Table]:
    """What an artifact departs from its source by."""
    grids = [part for part in source_parts(portrait.source) if isinstance(part, Grid)] if portrait.source else []
    for number, grid in enumerate(grids, 1):
        yield Table(
            name=f"source-{number}",
            title="Against its source" if number == 1 else "By how sure the source is",
            caption=f"{portrait.source.name if portrait.source else ''}; 95 %: on other text of the same kind.",
            heads=tuple(Head(name=column.name, right=column.right) for column in grid.columns),
            rows=tuple(
                Row(cells=tuple(Cell(text=text, state=state) for text, state in map(_said, row))) for row in grid.rows
            ),
        )


def _provenance(account: Account, checkpoints: Sequence[Checkpoint]) -> Iterator[Section]:
    for number, checkpoint in enumerate(checkpoints):
        if checkpoint.portrait:
            yield Section(
                name=f"provenance-{number}",
                title=checkpoint.name or checkpoint.portrait.provenance.model,
                facts=tuple(_of_provenance(checkpoint.portrait.provenance)),
            )
    asked = tuple(Fact(label=name, lines=((value, ""),)) for name, value in account.asked.items())
    if asked:
        yield Section(name="asked", title="What was asked for", facts=asked)


def _of_provenance(provenance: Provenance) -> Iterator[Fact]:
    """All of it but single samples; what is not known is left out."""
    left = {"samples", "sample_digests", "text_digests"}
    for field in fields(provenance):
        value = getattr(provenance, field.name)
        if field.name not in left and value not in (None, "", (), {}):
            yield Fact(label=field.name.replace("_", " "), lines=tuple((line, "") for line in _lines(value)))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{name}: {one}" for name, one in value.items())
    elif isinstance(value, tuple):
        yield from (": ".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    elif is_dataclass(value):
        for field in fields(value):
            said = ", ".join(_lines(getattr(value, field.name)))
            if said:
                yield f"{field.name.replace('_', ' ')}: {said}"
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    elif value is not None:
        yield str(value)
