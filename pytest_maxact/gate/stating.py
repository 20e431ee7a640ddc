"""The verdict of a run as a file that a release can rest on: computed from what the gate found, and never from what
pytest was told or returned.

Guards that no verdict of an earlier run is left where this one was to write: from its beginning until it is done, the
file says that the run did not finish.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

from pytest_maxact.errors import InputError, Words, message
from pytest_maxact.gate.account import asked_for, check_told, limits_of, waiver_told
from pytest_maxact.judge.statement.schema import (
    VERIFIER,
    WHOLE,
    Artifact,
    CheckMade,
    Details,
    Digest,
    Figure,
    Reference,
    Statement,
    Subject,
    Summary,
    Verifier,
    WaiverInForce,
)
from pytest_maxact.judge.statement.seal import is_statement, rendered
from pytest_maxact.judge.statement.whole import shortfalls, subjects
from pytest_maxact.record.file import content_digest
from pytest_maxact.record.output import Kind, require_place, unwritten, write_output
from pytest_maxact.settings.userfiles import content_of, is_piped

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject as Candidate
    from pytest_maxact.judge.account import CheckTold, WaiverTold
    from pytest_maxact.judge.outcome import Outcome

VERDICT = Kind(called="the verdict", is_one=is_statement)


class VerdictFile:
    """The file of one run's verdict. Raises InputError where it cannot be written, or would destroy something."""

    def __init__(self, path: Path, about: str | None) -> None:
        self._path, self._about = path, about or ""
        self._apart = [Path(about)] if about else []
        self._limits: tuple[Reference, ...] = ()
        require_place(path, VERDICT, self._apart)
        self._write(_statement(self._about, Details(verdict="NONE", finished=False)))

    def opened(self, session: "GateSession") -> None:
        """Note by what it is judged, as it is now."""
        self._apart = [Path(subject.source.path) for subject in session.plan.subjects if not subject.source.is_record]
        rules = [subject.rules for subject in session.plan.subjects]
        waivers = (waiver.file for one in rules for waiver in one.waivers)
        own = [session.settings.limits] if session.settings.limits else []
        files = dict.fromkeys([*own, *(file for one in rules for file in one.files), *waivers])
        places = [(file, Path(file)) for file in files]
        self._limits = tuple(
            Reference(uri=file, digest=_digest_of(path)) for file, path in places if path.is_file() or is_piped(path)
        )

    def finish(self, session: "GateSession", outcome: "Outcome | None", troubles: Sequence[str], words: Words) -> str:
        """Write what became of the run, last and whole; what was written, in a line. Raises InputError."""
        statement = statement_of(session, outcome, troubles, self._limits, self._about, words)
        self._write(statement)
        details = statement.predicate.details
        lacking = shortfalls(details)
        return f"verdict {details.verdict} written to {self._path}{f': {lacking[0]}' if lacking else ''}"

    def _write(self, statement: Statement) -> None:
        try:
            write_output(self._path, rendered(statement).encode(), VERDICT, self._apart)
        except OSError as error:
            raise InputError(f"cannot write the verdict to {self._path}: {unwritten(error)}") from error


def statement_of(
    session: "GateSession", outcome: "Outcome | None", troubles: Sequence[str], limits: tuple[Reference, ...],
    about: str, words: Words,
) -> Statement:  # fmt: skip
    """What a run found, as a statement; `troubles`: why there is no outcome."""
    reasons = outcome.faults if outcome else (*troubles, "no outcome could be put together")
    details = Details(
        verdict="FAIL",
        finished=True,
        reasons=tuple(message(reason, words) for reason in reasons),
        checkpoints=tuple(_artifact(session, subject) for subject in session.plan.subjects),
        waivers=tuple(_waiver(waiver_told(session, waiver)) for waiver in session.plan.waivers),
        limits=limits,
        baselines=tuple(_baselines(session)),
        settings=asked_for(session.settings),
    )
    passed, said = not shortfalls(details), outcome.word if outcome else "FAIL"
    word = "PASS" if passed else "FAIL" if said == "PASS" else said
    return _statement(about, details.model_copy(update={"verdict": word}), passed)


def _statement(about: str, details: Details, passed: bool = False) -> Statement:
    return Statement(
        subject=tuple(Subject(name=name, digest=Digest(sha256=digest)) for name, digest in subjects(details)),
        predicate=Summary(
            verifier=Verifier(
                id=VERIFIER,
                version={
                    "pytest-maxact": version("pytest-maxact"), "pytest": version("pytest"), "python": python_version()
                },
            ),
            time_verified=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
            resource_uri=about,
            policy=details.limits[0] if details.limits else None,
            input_attestations=tuple(
                Reference(uri=f"record:{one.name}", digest=Digest(sha256=one.record))
                for one in details.checkpoints
                if one.record
            ),
            verification_result="PASSED" if passed else "FAILED",
            verified_levels=(WHOLE,) if passed else ("FAILED",),
            details=details,
        ),
    )  # fmt: skip


def _artifact(session: "GateSession", subject: "Candidate") -> Artifact:
    record = session.records.known(subject.source)
    known = record.provenance if record else None
    return Artifact(
        name=subject.name,
        title=subject.title,
        files=dict(known.files) if known else {},
        record=content_digest(record) if record else None,
        revision=known.revision if known else None,
        corpus=known.corpus_sha256 if known else None,
        tokens=known.tokens if known else 0,
        samples=len(known.samples) if known else 0,
        family=subject.rules.family,
        measured_with=dict(known.versions) if known else {},
        checks=tuple(_check(check_told(session, subject, limit)) for limit in limits_of(session, subject)),
    )


def _check(told: "CheckTold") -> CheckMade:
    finding, limit = told.finding, told.limit
    interval = finding.interval if finding else None
    return CheckMade(
        check=told.id,
        outcome=told.became,
        site=finding.site if finding else limit.site,
        metric=limit.metric.name,
        value=_figure(finding.value) if finding else None,
        limit=_figure(limit.bound),
        sense="min" if limit.sense == "min" else "max",
        baseline=limit.against,
        message=finding.message if finding else told.why,
        too_close=bool(finding and finding.close),
        inside_noise=bool(finding and finding.is_noise),
        low=_figure(interval.low) if interval else None,
        high=_figure(interval.high) if interval else None,
    )


def _waiver(told: "WaiverTold") -> WaiverInForce:
    waiver = told.waiver
    return WaiverInForce(
        check=told.id,
        outcome=told.became,
        site=waiver.site,
        metric=waiver.metric,
        checkpoint=waiver.checkpoint,
        reason=waiver.reason,
        owner=waiver.owner,
        until=waiver.until.isoformat(),
        up_to=_figure(waiver.up_to) if waiver.up_to is not None else None,
        written=f"{waiver.file}:{waiver.line}",
    )


def _baselines(session: "GateSession") -> list[Reference]:
    records = ((source, session.records.known(source)) for source in session.plan.baselines)
    return [
        Reference(uri=source.path, digest=Digest(sha256=content_digest(record))) for source, record in records if record
    ]


def _figure(value: float) -> Figure:
    if math.isnan(value):
        return "nan"
    return float(value) if math.isfinite(value) else "inf" if value > 0 else "-inf"


def _digest_of(file: Path) -> Digest:
    return Digest(sha256=hashlib.sha256(content_of(file)).hexdigest())
