"""The verdict of a run: its findings, and which checks ran, in; what holds, what does not, what is let pass and what is
not known, out. Every report shows these counts, and none counts again.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.severity import severity
from pytest_maxact.record.metrics.metric import NONFINITE
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import first_broken

Verdict = Literal["PASS", "PARTIAL", "FAIL", "NONE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finding and the name of its checkpoint, empty where there is only one."""

    checkpoint: str
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`ran` checks, of which `breaches` do not hold and `waived` are let pass; `faults`: what else went wrong.

    `close`: those that hold and are too close to call. Each of the three has its worst first (`severity`).

    `waivers`: how many waivers were checks of the run themselves, of which `failing_waivers` are among the faults: with
    the checks they are what a runner counts. `waivers_left`: how many were not run.

    `unjudged` checks ran besides, and could not be judged, which `faults` tell of.

    `left` checks did not run: of them `unknown` cannot be judged, and of the others `failing` would fail. `broken`: by
    checkpoint, the first site with non-finite values that a check found. `rests`: what stands behind PASS in words, of
    limits and text that make it less than plain; `warnings`: what is said with the verdict, whatever it is.
    """

    ran: int
    breaches: tuple[Told, ...]
    waived: tuple[Told, ...]
    faults: tuple[str, ...]
    left: int
    unknown: int
    failing: int
    broken: tuple[tuple[str, str], ...]
    rests: str = ""
    warnings: tuple[str, ...] = ()
    waivers: int = 0
    failing_waivers: int = 0
    waivers_left: int = 0
    unjudged: int = 0
    close: tuple[Told, ...] = ()

    @property
    def close_breaches(self) -> int:
        """How many of the breaches are too close to call."""
        return sum(told.finding.close for told in self.breaches)

    @property
    def holding(self) -> int:
        """How many checks hold, those too close to call among them: what a runner of tests says passed."""
        return self.ran - len(self.breaches) - len(self.waived)

    @property
    def is_counted(self) -> bool:
        """Whether counts tell why it failed; else its first fault does."""
        return bool(self.breaches or self.failing_waivers)

    @property
    def listed(self) -> tuple[str, ...]:
        """The faults that a headline leaves to be told."""
        return self.faults if self.is_counted else self.faults[1:]

    @property
    def passed(self) -> bool:
        """Whether something was checked, all of it is accepted, and nothing else went wrong."""
        return self.ran > 0 and not self.breaches and not self.faults

    @property
    def word(self) -> Verdict:
        """NONE where nothing was checked; PARTIAL where what was checked passed, and not all was."""
        if self.breaches or self.faults:
            return "FAIL"
        if not self.passed:
            return "NONE"
        return "PARTIAL" if self.left or self.waivers_left else "PASS"


def tally_of(
    findings: Iterable[Told],
    ran: Set[tuple[str, str]] | None = None,
    faults: Sequence[str] = (),
    unknown: int = 0,
    rests: str = "",
    warnings: Sequence[str] = (),
    waivers: int = 0,
    failing_waivers: int = 0,
    waivers_left: int = 0,
    unjudged: int = 0,
) -> Tally:
    """`ran`: (checkpoint, check) of those that ran, None for all; `unknown`: how many did not run and cannot be judged;
    the others: as of the tally.
    """
    run, rest = list[Told](), list[Told]()
    for told in findings:
        (run if ran is None or (told.checkpoint, told.finding.limit.check) in ran else rest).append(told)
    breaches = [told for told in run if not told.finding.accepted]
    return Tally(
        ran=len(run),
        breaches=_worst_first(breaches),
        waived=_worst_first(told for told in run if told.finding.waiver),
        faults=tuple(faults),
        left=len(rest) + unknown,
        unknown=unknown,
        failing=sum(not told.finding.accepted for told in rest),
        broken=_broken(breaches),
        rests=rests,
        warnings=tuple(warnings),
        waivers=waivers,
        failing_waivers=failing_waivers,
        waivers_left=waivers_left,
        unjudged=unjudged,
        close=_worst_first(told for told in run if told.finding.close and told.finding.passed),
    )


def _worst_first(found: Iterable[Told]) -> tuple[Told, ...]:
    return tuple(sorted(found, key=lambda told: severity(told.finding), reverse=True))


def _broken(breaches: Iterable[Told]) -> tuple[tuple[str, str], ...]:
    found: dict[str, list[SiteReading]] = {}
    for told in breaches:
        if told.finding.limit.metric == NONFINITE and told.finding.reading:
            found.setdefault(told.checkpoint, []).append(told.finding.reading)
    firsts = ((checkpoint, first_broken(readings)) for checkpoint, readings in found.items())
    return tuple((checkpoint, first.site.name) for checkpoint, first in firsts if first)
