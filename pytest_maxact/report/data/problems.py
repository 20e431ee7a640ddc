"""What a run found to be told on a line of a file: an account in, one entry for each check that does not hold, or was
left out and would not, is let pass or is too close to call, and for each fault out, with where it is written. Views of
code draw from these.

Guards that a run which could not measure, or did not finish, is never empty: that would read as one that passed.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_maxact.errors import cut, in_a_line
from pytest_maxact.judge.account import Account, CheckTold
from pytest_maxact.judge.limits.file import builtin_path
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.severity import severity
from pytest_maxact.numbers.counted import counted

RUN, WAIVER = "run", "waiver"
"""Rules of what is no metric: what kept the run from judging, and a waiver that fails."""
NOTHING_RUN = "no check was run: nothing is known of the checkpoint"
_LEFT = ("deselected", "not run")
_LEFT_OUT = "checks were left out"
SHIPPED = "pytest_maxact/judge/limits/thresholds.yaml"
"""Where the limits that come with the package lie in it."""
NOWHERE = "maxact"
"""Stands for a file where none is known, as it does in the ids of checks."""

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`rule`: the name of a metric, or one of the rules above; `id`: the same from run to run, whatever the figures;
    `text`: one line, with nothing in it that a terminal would obey. `file` is a path below the root of the repository
    with `/`, where it lies there. `waiver` lets it pass, which `waived` says in words.
    """

    level: Level
    rule: str
    id: str
    text: str
    file: str = NOWHERE
    line: int = 1
    told: CheckTold | None = None
    waiver: Waiver | None = None
    waived: str = ""

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.rule}\n{self.id}".encode(errors="surrogatepass")).hexdigest()


def problems_of(account: Account) -> tuple[Problem, ...]:
    """Faults first, then what does not hold, what is too close to call and what is let pass, of each the worst."""
    of_checks = sorted(_of_checks(account), key=_rank, reverse=True)
    return (*_faults(account), *_waivers(account), *of_checks)


def _rank(problem: Problem) -> tuple[int, tuple[bool, bool, float]]:
    finding = problem.told.finding if problem.told else None
    assert finding
    return ("note", "warning", "error").index(problem.level), severity(finding)


def about(account: Account) -> str:
    """What tells problems of this checkpoint from those of others, the same on every machine: the end of its path, or
    its id.
    """
    return cut("-".join(re.sub(r"[^\w.-]+", "-", part) for part in Path(account.about).parts[-2:]), 100).strip("-")


def below(file: str, root: Path) -> str:
    """A path as a repository has it, with `/`; of a file elsewhere as it is, and of the shipped limits the end of it,
    which is the same on every machine.
    """
    path = Path(file)
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except (ValueError, OSError):
        parts = path.parts
        if "pytest_maxact" in parts:
            return Path(*parts[parts.index("pytest_maxact") :]).as_posix()
        return SHIPPED if path == builtin_path() else path.as_posix()


def _faults(account: Account) -> Iterator[Problem]:
    """What kept the run from judging, on the line of the first limit that it left unjudged."""
    told = set(account.outcome.waiver_faults) if account.outcome else set[str]()
    faults = account.faults or ((NOTHING_RUN,) if account.verdict == "NONE" else ())
    first = next(_unjudged(account), None)
    file, line = (first.limit.file, first.limit.line) if first else (next(iter(account.limits), ""), 1)
    for fault in faults:
        if fault not in told:
            yield Problem(
                level="warning" if fault == NOTHING_RUN and _is_left_out(account) else "error",
                rule=RUN,
                id=fault.partition("\n")[0].partition(": ")[0],
                text=_line(account, fault),
                file=below(file, account.root) if file else NOWHERE,
                line=line,
            )
    if account.verdict == "PARTIAL":
        yield _left_out(account)


def _left_out(account: Account) -> Problem:
    """What was not run of a run that would else read as one that passed, on the line of the first such limit."""
    checks = [told for one in account.checkpoints for told in one.checks]
    left = [told.limit for told in checks if told.became in _LEFT]
    waivers = [told.waiver for told in account.waivers if told.became in _LEFT]
    counts = [counted(len(left), "check")] if left else []
    counts += [counted(len(waivers), "waiver")] if waivers else []
    places: list[Limit | Waiver] = [*left, *waivers]
    first = places[0] if places else None
    return Problem(
        level="warning",
        rule=RUN,
        id=_LEFT_OUT,
        text=f"not run: {' and '.join(counts)}; this is no verdict on the whole checkpoint",
        file=below(first.file, account.root) if first and first.file else NOWHERE,
        line=first.line if first else 1,
    )


def _is_left_out(account: Account) -> bool:
    """Whether the user chose to run none of the checks, as a step does that runs other tests of a project, or waivers
    alone.
    """
    checks = [told.became for one in account.checkpoints for told in one.checks]
    waivers = (told.became for told in account.waivers)
    return bool(checks) and all(one == "deselected" for one in checks) and "not run" not in waivers


def _unjudged(account: Account) -> Iterator[CheckTold]:
    for one in account.checkpoints:
        yield from (told for told in one.checks if told.became in ("could not be judged", "not run"))


def _waivers(account: Account) -> Iterator[Problem]:
    for one in account.waivers:
        if one.became == "does not hold":
            yield Problem(
                level="error",
                rule=WAIVER,
                id=one.id,
                text=_line(account, one.fault),
                file=below(one.waiver.file, account.root),
                line=one.waiver.line,
            )


def _of_checks(account: Account) -> Iterator[Problem]:
    for one in account.checkpoints:
        for told in one.checks:
            finding = told.finding
            if finding is None or (level := _level(told)) is None:
                continue
            whose = f"{one.name}: " if one.name else ""
            left = "left out of this run, and would fail: " if _is_left_failing(told) else ""
            yield Problem(
                level=level,
                rule=told.limit.metric.name,
                id=told.id,
                text=_line(account, f"{whose}{left}{finding.message}"),
                file=below(told.limit.file, account.root),
                line=told.limit.line,
                told=told,
                waiver=finding.waiver,
                waived=_line(account, finding.waiver.words) if finding.waiver else "",
            )


def _level(told: CheckTold) -> Level | None:
    if told.became == "does not hold":
        return "error"
    if told.became == "waived":
        return "note"
    if _is_left_failing(told):
        return "warning"
    return "warning" if told.became == "held" and told.finding and told.finding.close else None


def _is_left_failing(told: CheckTold) -> bool:
    """Whether it was left out of the run and would have failed."""
    return told.became in ("deselected", "not run") and told.finding is not None and not told.finding.accepted


def _line(account: Account, text: str) -> str:
    return in_a_line(text, account.words)
