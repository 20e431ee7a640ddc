"""One gate run held together: its plan, its Records and their judging, shared by checks, fixtures and the report.

The process that starts the run opens it, before any weights load; a worker joins it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.ledger import Ledger
from pytest_maxact.gate.opening import open_run
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import NOWHERE, Cache, Records
from pytest_maxact.gate.updating import update
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.ranks.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSession:
    """What a run is about, and what it found so far."""

    settings: Settings
    plan: Plan
    records: Records
    judging: Judging
    ledger: Ledger

    def share(self, folder: Path) -> None:
        """Leave in `folder` what workers need to join."""
        from pytest_maxact.gate.handover import Handover, write_handover

        write_handover(_handover_in(folder), Handover(settings=self.settings, plan=self.plan))
        self.records.meet(folder)
        self.ledger.meet(folder)

    def update(self) -> list[str]:
        return update(self.settings, self.plan, self.records, self.judging)

    @property
    def placed(self) -> str:
        """Where the checkpoint that is measured, or the last of a series, will live, and why; empty of a Record."""
        return f"device: {self.plan.latest.placed}" if self.plan.latest.placed else ""

    @property
    def headline(self) -> str:
        """What the run is about and what it is judged by, in a line."""
        rules, title = self.plan.latest.rules, self.plan.latest.title
        if self.plan.is_series:
            title = f"{len(self.plan.subjects)} checkpoints, {self.plan.subjects[0].name} to {self.plan.latest.name}"
        shape = f", shape {rules.shape}" if rules.shape else ""
        unwaived = (
            f", no waiver applied ({self.judging.unwaived})" if self.judging.unwaived and self.plan.waivers else ""
        )
        baselines = "".join(f", baseline {name}" for name in self.plan.baseline_names)
        return (
            f"{title}, family {rules.family}{shape}, protocol {self.settings.protocol}, limits"
            f" {' '.join(rules.files)}{baselines}{unwaived}"
        )


def open_session(
    settings: Settings, *, protocol_given: bool = False, cache: Cache = NOWHERE, unwaived: str = "",
    team: "Team | None" = None, records: Sequence[str] = (),
) -> GateSession:  # fmt: skip
    """Find out what a run is about; no weights are loaded. `unwaived`: why its waivers are not applied, empty where
    they are. `team`: ranks that share what is measured. `records`: the files of a series of Records, where they are
    named one by one. Raises InputError for a request that is wrong.
    """
    opening = open_run(settings, protocol_given, team, records)
    return _session(settings, opening.plan, Records(settings, opening.plan, opening.opened, cache, team), unwaived)


def join_session(folder: Path, cache: Cache = NOWHERE, unwaived: str = "") -> GateSession:
    """The run that another process opened and shared in `folder`."""
    from pytest_maxact.gate.handover import read_handover

    handover = read_handover(_handover_in(folder))
    records = Records(handover.settings, handover.plan, cache=cache)
    records.meet(folder)
    session = _session(handover.settings, handover.plan, records, unwaived)
    session.ledger.meet(folder)
    return session


def _session(settings: Settings, plan: Plan, records: Records, unwaived: str) -> GateSession:
    judging = Judging(plan, records, unwaived, settings.close)
    return GateSession(settings=settings, plan=plan, records=records, judging=judging, ledger=Ledger())


def _handover_in(folder: Path) -> Path:
    return folder / "handover.json"
