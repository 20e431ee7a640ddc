"""A run as every file about it tells it: its outcome, what became of each of its checks and waivers, and what it was
asked for. Plain data, made once at the end; before that one that says that the run did not finish.

Guards that no file says less than another: a check that was neither judged nor run is there too, with its limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_maxact.errors import Words, named, neutral
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.statement.schema import CheckOutcome
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Verdict
from pytest_maxact.record.provenance import Provenance

UNFINISHED = "the run did not finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTold:
    """One check by its id. `finding` is None where there is none, and `why` says what kept it from being judged."""

    id: str
    became: CheckOutcome
    limit: Limit
    finding: Finding | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverTold:
    """One waiver of the run's limits files, which is a check too; `fault`: why it fails, empty where it does its
    work.
    """

    id: str
    became: CheckOutcome
    waiver: Waiver
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One checkpoint under test: `source`, as it was given, of `revision`; `limits`, the files that it is judged by;
    all its checks, run or not. `provenance`: that of its Record, None where the run has none; `protocol`: by which it
    was to be measured. `concluded`: what the outcome has of it, None where there is no outcome.
    """

    name: str
    title: str
    source: str
    is_record: bool
    family: str
    limits: tuple[str, ...]
    checks: tuple[CheckTold, ...]
    concluded: Checkpoint | None = None
    provenance: Provenance | None = None
    revision: str | None = None
    protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`verdict` is NONE where no check was run, PARTIAL where what ran passed and not all ran, and never either of PASS
    and PARTIAL where the run did not finish. `faults`: what went wrong besides checks that do not hold, the settings in
    them still to be worded, by `words`. `asked`: settings that are not the default. `root`: the top of the repository
    that the run was started in.
    """

    verdict: Verdict = "NONE"
    outcome: Outcome | None = None
    faults: tuple[str, ...] = (UNFINISHED,)
    checkpoints: tuple[Judged, ...] = ()
    waivers: tuple[WaiverTold, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    words: Words = neutral
    root: Path = Path()
    about: str = ""
    """The checkpoint or Record that was asked for."""
    model: str = ""
    """What others call the model; empty where that is what its Record says."""

    @property
    def finished(self) -> bool:
        return UNFINISHED not in self.faults

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits files of the run."""
        return tuple(dict.fromkeys(file for one in self.checkpoints for file in one.limits))

    def said(self, text: str) -> str:
        """A text of the run with its settings as the user types them."""
        return named(text, self.words)
