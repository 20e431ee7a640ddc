"""The outcome of a run, as plain data: what every report draws from, whatever its medium, and what a hook is given.
Made once, at the end; nothing that reads it judges again.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Tally, Verdict

if TYPE_CHECKING:
    from pytest_maxact.judge.figures.drawn import Drawn
    from pytest_maxact.judge.series.series import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint under test: its name in a series, empty where there is only one; what its checks' ids begin with;
    what a waiver calls it; a title; its training step, None where its name tells none.

    `portrait` is None where the run has no Record of it, and `failure` says why where it tried to. `findings` are of
    `checks` checks, those that ran and those that needed nothing more to be measured; `ran`: the names of those that
    ran.
    """

    name: str = ""
    node: str = "maxact"
    label: str = ""
    title: str = ""
    step: int | None = None
    portrait: Portrait | None = None
    failure: str | None = None
    findings: tuple[Finding, ...] = ()
    checks: int = 0
    ran: frozenset[str] = frozenset()
    drawn: "Drawn | None" = None
    """What its figures are drawn from; None where no report asked for it."""

    @property
    def judged(self) -> tuple[Finding, ...]:
        """The findings of checks that ran."""
        return tuple(finding for finding in self.findings if finding.limit.check in self.ran)

    @property
    def left(self) -> int:
        """How many checks did not run."""
        return self.checks - len(self.ran)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run. `ran`: how many of its items did, waivers among them; `series` is None where there is one
    checkpoint; `verdict` is None where nothing was judged.

    `faults`: what went wrong besides checks that do not hold, and of these `waiver_faults` what is wrong with waivers;
    `baselines`: the names of what all checkpoints were compared with, where the run has it; `tighten`: the command that
    tightens limits much wider than what was found, empty where there is none to give.
    """

    checkpoints: tuple[Checkpoint, ...]
    ran: int = 0
    verdict: Tally | None = None
    series: "Series | None" = None
    faults: tuple[str, ...] = ()
    waiver_faults: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    tighten: str = ""

    @property
    def word(self) -> Verdict:
        """The verdict in a word, as every report has it: PASS where all was run and holds, and never elsewhere."""
        if self.faults:
            return "FAIL"
        return self.verdict.word if self.verdict else "NONE"

    @property
    def checks(self) -> int:
        """How many there are, run or not."""
        return sum(checkpoint.checks for checkpoint in self.checkpoints)

    @property
    def measured(self) -> tuple[Checkpoint, ...]:
        """The checkpoints of which the run has a Record."""
        return tuple(checkpoint for checkpoint in self.checkpoints if checkpoint.portrait)
