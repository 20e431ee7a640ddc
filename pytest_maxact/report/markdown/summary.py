"""The account of a run as a page of Markdown of a given size: the verdict first, then what does not hold, what went
wrong besides and what is waived, then M, how far it can be trusted and what follows for low bits. It judges nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_maxact.errors import in_a_line
from pytest_maxact.judge.account import Account, Judged
from pytest_maxact.judge.outcome import Checkpoint
from pytest_maxact.judge.verdict.tally import Tally, Told
from pytest_maxact.report.data.problems import below
from pytest_maxact.report.markdown.facts import facts, figure, interval, low_bits, maximum, token
from pytest_maxact.report.markdown.fitting import Part, fitted
from pytest_maxact.report.markdown.text import code, heading, prose, row
from pytest_maxact.report.terminal.verdict import across_words, headline

_SENTENCE = 600
_TITLE = 200
_RELATIONS = {"max": "at most", "min": "at least"}


def summary(account: Account, most: int) -> str:
    """At most so many bytes; with several checkpoints a row for each."""
    outcome = account.outcome
    verdict = outcome.verdict if outcome else None
    parts = [Part(fixed=list(_head(account, verdict)))]
    if verdict and verdict.breaches:
        parts.append(breaches_part(verdict.breaches, account.root))
    faults = verdict.listed if verdict else account.faults[1:]
    parts.append(list_of([_said(account, fault) for fault in faults], "fault"))
    if verdict:
        parts.append(close_part(verdict.close, account.root))
        parts.append(waived_part(verdict.waived, account.root))
        parts.append(list_of([f"warning: {_said(account, warning)}" for warning in verdict.warnings], "warning"))
    found = [one.concluded for one in account.checkpoints if one.concluded and one.concluded.portrait]
    if len(account.checkpoints) > 1:
        parts.append(_series(account.checkpoints))
    elif found:
        parts += _of_one(found[0])
    return fitted(parts, most)


def refusal_summary(text: str, most: int) -> str:
    """Of a request that was wrong."""
    lines = [prose(line.strip(), _SENTENCE) for line in text.split("\n")]
    return fitted([Part(fixed=["## maxact: no verdict", "", f"**{lines[0]}**  "]), list_of(lines[1:], "line")], most)


def verdict_words(account: Account) -> list[str]:
    """The verdict in words, what was not run after it, as a report for the terminal begins."""
    outcome = account.outcome
    if outcome and outcome.verdict:
        return [in_a_line(text.plain, account.words) for text in headline(outcome.verdict, across_words(outcome))]
    word = "no verdict" if account.verdict == "NONE" else account.verdict
    if account.faults:
        return [in_a_line(f"{word}: {account.faults[0]}", account.words)]
    return ["no check was run" if account.verdict == "NONE" else word]


def relation(told: Told) -> str:
    """The limit as it is written: `at most 4`."""
    limit = told.finding.limit
    return f"{_RELATIONS[limit.sense]} {limit.bound:.6g}"


def written(file: str, line: int, root: Path) -> str:
    """Where a limit or a waiver stands, by its path in the repository; elsewhere by its name."""
    place = below(file, root)
    return f"{Path(place).name if Path(place).is_absolute() else place}:{line}" if file else ""


def _head(account: Account, verdict: Tally | None) -> Iterator[str]:
    judged = account.checkpoints[0] if len(account.checkpoints) == 1 else None
    of = f" {prose(judged.title, _TITLE)}" if judged else ""
    yield f"## maxact: {account.verdict}{of}"
    yield ""
    yield from (
        f"{'**' if place == 0 else ''}{prose(words, _SENTENCE)}{'**' if place == 0 else ''}  "
        for place, words in enumerate(verdict_words(account))
    )
    for name, site in (verdict.broken if verdict else ())[:1]:
        yield f"The first site with values that are not finite{f' in {code(name)}' if name else ''} is {code(site)}."


def breaches_part(breaches: Sequence[Told], root: Path) -> Part:
    names = ["check", "value", "limit", "interval", "stands in", "token"]
    return Part(
        fixed=heading(names, right=(1, 2)),
        rows=[row([*_cells(told, root), token(told.finding)]) for told in breaches],
        what="check",
        which=("that does not hold", "that do not hold"),
    )


def _cells(told: Told, root: Path) -> list[str]:
    finding, limit = told.finding, told.finding.limit
    whose = f"{told.checkpoint} " if told.checkpoint else ""
    place = written(limit.file, limit.line, root)
    value = figure(finding.value)
    return [code(f"{whose}{finding.site}::{limit.name}"), value, relation(told), interval(finding), code(place)]


def close_part(close: Sequence[Told], root: Path) -> Part:
    """What holds, and too near its limit to be sure of it."""
    names = ["too close to call", "value", "limit", "interval", "stands in"]
    rows = [row(_cells(told, root)) for told in close]
    which = ("that is too close to call", "that are too close to call")
    return Part(fixed=heading(names, right=(1, 2)) if rows else (), rows=rows, what="check", which=which)


def waived_part(waived: Sequence[Told], root: Path) -> Part:
    rows = [
        row(
            [
                *_cells(told, root),
                prose(told.finding.waiver.words),
                code(written(told.finding.waiver.file, told.finding.waiver.line, root)),
            ]
        )
        for told in waived
        if told.finding.waiver
    ]
    names = ["waived", "value", "limit", "interval", "stands in", "by", "waiver"]
    which = ("that is waived", "that are waived")
    return Part(fixed=heading(names, right=(1, 2)) if rows else (), rows=rows, what="check", which=which)


def list_of(lines: Sequence[str], what: str, mark: str = "- ") -> Part:
    return Part(rows=[f"{mark}{line}" for line in lines], what=what)


def _said(account: Account, text: str) -> str:
    return prose(in_a_line(text, account.words), _SENTENCE)


def _of_one(checkpoint: Checkpoint) -> Iterator[Part]:
    portrait = checkpoint.portrait
    if portrait is None:
        return
    yield Part(fixed=[*heading(["", ""]), *(row([label, said]) for label, said in facts(portrait))])
    if portrait.deploy:
        table = low_bits(portrait)
        yield Part(fixed=table[:2], rows=table[2:], what="scheme")


def _series(checkpoints: Sequence[Judged]) -> Part:
    """A row per checkpoint, in order."""
    return Part(
        fixed=heading(["checkpoint", "step", "M", "checks that do not hold"], right=(1, 3)),
        rows=[row(_milestone(one)) for one in checkpoints],
        what="checkpoint",
    )


def _milestone(one: Judged) -> list[str]:
    found = one.concluded
    if found is None or found.portrait is None:
        why = found.failure if found and found.failure else "not measured"
        return [code(one.name), "-", prose(why.split("\n")[0]), "-"]
    failing = sum(not finding.accepted for finding in found.judged)
    step = "-" if found.step is None else str(found.step)
    beside = f", {found.left} not run" if found.left else ""
    return [code(one.name), step, maximum(found.portrait.m), f"{failing} of {len(found.judged)}{beside}"]
