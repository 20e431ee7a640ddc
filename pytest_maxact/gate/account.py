"""A session and its outcome in, the account of the run out, which every file about it is made of.

Guards that what became of a check is what the gate found of it, by its ledger, and never what pytest was told.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.errors import MaxactError, Words, first_line
from pytest_maxact.gate.ledger import Found
from pytest_maxact.gate.waivers import waiver_fault
from pytest_maxact.judge.account import Account, CheckTold, Judged, WaiverTold

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject
    from pytest_maxact.judge.limits.limit import Limit
    from pytest_maxact.judge.limits.waivers import Waiver
    from pytest_maxact.judge.outcome import Outcome
    from pytest_maxact.judge.statement.schema import CheckOutcome
    from pytest_maxact.judge.verdict.finding import Finding
    from pytest_maxact.settings.settings import Settings

PLACES = ("verdict", "save", "cache", "github")
"""Settings that say where what is found is put, and nothing of what was judged."""


def note_all(session: "GateSession") -> None:
    """Write down what is found of every item, outside pytest: none was left out."""
    for subject in session.plan.subjects:
        for limit in limits_of(session, subject):
            name = f"{subject.node}::{limit.check}"
            try:
                finding = session.judging.check(subject, limit)
            except MaxactError as error:
                session.ledger.note(name, Found.UNKNOWN, first_line(error))
                continue
            found = Found.WAIVED if finding.waiver else Found.HELD if finding.passed else Found.BREACH
            session.ledger.note(name, found)
    for waiver in session.plan.waivers:
        try:
            fault = waiver_fault(session.plan, session.judging, waiver)
        except MaxactError as error:
            fault = f"could not be judged: {first_line(error)}"
        session.ledger.note(session.plan.waiver_id(waiver), Found.BREACH if fault else Found.HELD, fault or "")


def account_of(
    session: "GateSession", outcome: "Outcome | None", troubles: Sequence[str], words: Words, root: Path
) -> Account:
    """What a run found; `troubles`: why there is no outcome."""
    concluded = {one.name: one for one in outcome.checkpoints} if outcome else {}
    return Account(
        verdict=outcome.word if outcome else "FAIL",
        outcome=outcome,
        faults=outcome.faults if outcome else (*troubles, "no outcome could be put together"),
        checkpoints=tuple(
            Judged(
                name=subject.name,
                title=subject.title,
                source=subject.source.path,
                is_record=subject.source.is_record,
                family=subject.rules.family,
                limits=tuple(subject.rules.files),
                checks=tuple(check_told(session, subject, limit) for limit in limits_of(session, subject)),
                concluded=concluded.get(subject.name),
                provenance=record.provenance if (record := session.records.known(subject.source)) else None,
                revision=subject.source.revision,
                protocol=session.settings.protocol,
            )
            for subject in session.plan.subjects
        ),
        waivers=tuple(waiver_told(session, waiver) for waiver in session.plan.waivers),
        asked=asked_for(session.settings),
        words=words,
        root=root,
        about=session.settings.model or session.settings.replay or "",
    )


def limits_of(session: "GateSession", subject: "Subject") -> "list[Limit]":
    """Every limit of a checkpoint, those of single tensors at fault included, each once."""
    return list({limit.check: limit for limit in session.judging.limits(subject)}.values())


def check_told(session: "GateSession", subject: "Subject", limit: "Limit") -> CheckTold:
    """What became of a check, judged only where this run has the Records that it needs."""
    name = f"{subject.node}::{limit.check}"
    finding, why = None, ""
    if session.judging.is_settled(subject, limit):
        try:
            finding = session.judging.check(subject, limit)
        except MaxactError as error:
            why = first_line(error)
    compared = finding.limit if finding else limit  # of a check that stands for several sites, that of the worst
    return CheckTold(id=name, became=_became(session, name, finding), limit=compared, finding=finding, why=why)


def asked_for(settings: "Settings") -> dict[str, str]:
    """What was asked for and is not the default, but for where files are put."""
    from pytest_maxact.gate.reports import REPORTS

    places = {*PLACES, *(one.setting for one in REPORTS)}
    return {
        one.name: str(value)
        for one in fields(settings)
        if (value := getattr(settings, one.name)) != one.default and one.name not in places
    }


def _became(session: "GateSession", name: str, finding: "Finding | None") -> "CheckOutcome":
    """The worse of what its item found and what is found now: they are one, unless something stood between."""
    entry = session.ledger.entries.get(name)
    if entry is None:
        return "deselected" if name in session.ledger.excused else "not run"
    if finding is None or entry.found is Found.UNKNOWN:
        return "could not be judged"
    if entry.found is Found.BREACH or not finding.accepted:
        return "does not hold"
    return "waived" if entry.found is Found.WAIVED or finding.waiver else "held"


def waiver_told(session: "GateSession", waiver: "Waiver") -> WaiverTold:
    """What became of a waiver's own check."""
    name = session.plan.waiver_id(waiver)
    entry = session.ledger.entries.get(name)
    became: CheckOutcome = "deselected" if name in session.ledger.excused else "not run"
    if entry is not None:
        became = "held" if entry.found is Found.HELD else "does not hold"
    return WaiverTold(id=name, became=became, waiver=waiver, fault=entry.words if entry else "")
