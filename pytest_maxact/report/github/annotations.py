"""The account of a run as annotations: what does not hold on the line of its limit, waivers at fault on theirs, what
could not be measured, what was not run and what is too close to call; the worst first, in as many as a step shows.

Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands, ten errors and ten warnings
a step; the rest is not shown, and nobody says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_maxact.errors import Words, cut, message, setting
from pytest_maxact.judge.account import Account
from pytest_maxact.report.data.problems import RUN, WAIVER, Problem, problems_of
from pytest_maxact.report.github.commands import Annotation, Level

MOST = 10
"""Of each level, the one that counts the rest among them."""
_TITLE = 200
_TEXT = 4000


def annotations(account: Account, workspace: Path) -> list[Annotation]:
    """`workspace`: the folder that a runner checked the project out to; only files in it have lines there."""
    problems = problems_of(replace(account, root=workspace))
    errors = [_annotation("error", one, workspace) for one in problems if one.level == "error"]
    left = [_annotation("warning", one, workspace) for one in problems if one.level == "warning" and one.rule == RUN]
    close = [_annotation("warning", one, workspace) for one in problems if one.level == "warning" and one.rule != RUN]
    shown = (*left, *_warnings(account), *close)
    told = (errors, "what does not hold"), (shown, "what is to be known")
    return [one for found, what in told for one in _at_most(found, what, account.words)]


def refusal(text: str) -> Annotation:
    """Of a request that is wrong: nothing began."""
    return Annotation(level="error", title="maxact: no verdict", text=cut(text, _TEXT))


def _annotation(level: Level, problem: Problem, workspace: Path) -> Annotation:
    there = not Path(problem.file).is_absolute() and (workspace / problem.file).is_file()
    return Annotation(
        level=level,
        title=cut(_title(problem), _TITLE),
        text=cut(problem.text, _TEXT),
        file=problem.file if there else "",
        line=problem.line if there else 0,
    )


def _title(problem: Problem) -> str:
    if problem.rule == RUN:
        return "maxact: no whole verdict"
    if problem.rule == WAIVER:
        return "maxact: a waiver fails"
    close = "too close to call, " if problem.told and problem.told.finding and problem.told.finding.close else ""
    return f"maxact: {close}{problem.id.removeprefix('maxact::')}"


def _warnings(account: Account) -> Iterator[Annotation]:
    verdict = account.outcome.verdict if account.outcome else None
    for warning in verdict.warnings if verdict else ():
        yield Annotation(level="warning", title="maxact", text=cut(message(warning, account.words), _TEXT))


def _at_most(found: Sequence[Annotation], what: str, words: Words) -> list[Annotation]:
    if len(found) <= MOST:
        return list(found)
    shown = list(found[: MOST - 1])
    where = f"the summary of the step has as many as it has room for, {setting('json_report')} FILE all"
    text = message(f"{len(found) - len(shown)} more of {what}: {where}", words)
    return [*shown, Annotation(level=found[0].level, title="maxact", text=text)]
