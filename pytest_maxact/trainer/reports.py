"""The reports of a training run: what was found at each step in, the files and the summary that a gate gives out, made
as it makes them and written anew after every measurement. Nothing is judged here.

Guards that a breach of an earlier step, or a step that could not be measured, stands in every later report, and that
until training has come to its end each of them says that it did not.
"""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from pytest_maxact.errors import MaxactError, marked, message, setting
from pytest_maxact.gate.account import account_of, note_all
from pytest_maxact.gate.conclude import all_reported, conclude
from pytest_maxact.gate.github import is_asked, refused, summary_place, tell
from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.ledger import Ledger
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.reports import ReportFiles, repository, require_apart, with_faults
from pytest_maxact.gate.session import GateSession
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.account import UNFINISHED, Account
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.waivers import about
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.weights import with_tensors
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.report.markdown.summary import verdict_words
from pytest_maxact.trainer.preparation import record_path, step_name
from pytest_maxact.trainer.run import Measurement, Run, logger
from pytest_maxact.trainer.words import argument

NOTHING = "nothing was measured in this run, so nothing is known of its activations"
_SPARE = 9.0
"""So many times as long as the files took to write, they are not written again while a run trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What was found at a step: a Record and, by the names of its checks, findings; or why there is no Record."""

    subject: Subject
    found: Record | MaxactError
    findings: Mapping[str, Finding]

    @property
    def fails(self) -> bool:
        return isinstance(self.found, MaxactError) or not all(one.accepted for one in self.findings.values())


class RunReports:
    """The reports of one training run, in the process that measures. `places`: where files go, by setting; `github`: as
    of the gate; `folder`: that of the run; `asked`: what else it was asked for; `model`: what the model is called.
    Raises InputError, before the first step, where a file could not be written, or not without destroying something.

    `verdict` is PASS, FAIL or NONE when the run is over, None until then.
    """

    def __init__(
        self, places: Mapping[str, str], github: str, folder: Path, asked: Mapping[str, str], model: str
    ) -> None:
        self.verdict: str | None = None
        self._folder, self._places, self._github, self._asked = folder, places, github, asked
        self._process, self._model = os.getpid(), model
        self._steps: dict[int, _Step] = {}
        self._remarks: list[str] = []
        self._spared, self._failed = 0.0, False
        root = Path.cwd()
        require_apart({setting(one): place for one, place in places.items()} | summary_place(github), root)
        self._files = ReportFiles(places, str(folder), root, own=folder)

    def begin(self, run: Run, before: Iterable[tuple[int, Record | MaxactError | str]]) -> None:
        """No request was refused. `before`: what was found of a run that goes on. Raises InputError."""
        self._run = run
        for step, found in before:
            if isinstance(found, str):
                self._remarks.append(found)
            elif isinstance(found, Record):
                try:
                    self.measured(step, run.judged(found, step))
                except MaxactError as error:
                    self.failed(step, error)
            else:
                self.failed(step, found)
        self._files.begun()

    def measured(self, step: int, found: Measurement) -> None:
        """Of earlier steps, figures are kept and no distributions: only the latest is drawn whole."""
        self._steps = {place: _slim(one) for place, one in self._steps.items()}
        limits = with_tensors(found.record, found.rules.limits)
        findings = {limit.check: finding for limit, finding in zip(limits, found.findings, strict=True)}
        subject = self._subject(step, replace(found.rules, limits=limits))
        self._steps[step] = _Step(subject=subject, found=found.record, findings=findings)

    def failed(self, step: int, why: MaxactError) -> None:
        subject = self._subject(step, self._run.rules(self._run.reference))
        self._steps[step] = _Step(subject=subject, found=why, findings={})

    def write(self, step: int, last: int) -> None:
        """The files, as of a run that did not finish. A long run does not spend more than a tenth of its time on them:
        then they are left for the next measurement, unless nothing failed before.
        """
        begun, fails = monotonic(), any(one.fails for one in self._steps.values())
        if begun < self._spared and fails == self._failed:
            return
        self._failed = fails
        self._put(step, (f"measured until step {step} of {last}",), (UNFINISHED,))
        self._spared = monotonic() + _SPARE * (monotonic() - begun)

    def finish(self, step: int, best: int) -> None:
        """The files, and what a runner of GitHub's kind is told. `best`: the step whose weights the model has now."""
        measured = max(self._steps, default=step)
        ended = f"training ended at step {step}, and nothing is known of the model after step {measured}"
        told = f", and the last that was measured is step {measured}" if best in self._steps else ", not measured"
        remarks = [f"training ended with the weights of its best step, {best}{told}"] if best != step else []
        account = self._put(step, (*remarks, ended) if measured < step else tuple(remarks))
        self.verdict = account.verdict if account else "FAIL"
        words = verdict_words(account)[0] if account else "FAIL"
        level = logging.INFO if self.verdict == "PASS" else logging.WARNING
        logger.log(level, "maxact: this training run: %s", words)
        self._tell(account)

    def broken_off(self) -> None:
        """The run is gone, and did not come to its end."""
        if self.verdict is None and os.getpid() == self._process:
            self.verdict = "FAIL"
            self._tell(None, (UNFINISHED,))

    def _put(self, step: int, remarks: tuple[str, ...], faults: tuple[str, ...] = ()) -> Account | None:
        """Write what can be written; a run that trains is not ended by what cannot. The account, None where there is
        none.
        """
        try:
            account = self._account(remarks)
            account = with_faults(account, faults) if faults else account
            more = self._files.write(account)
        except Exception as error:
            ours = not isinstance(error, MaxactError)
            why = message(marked(error), argument)
            logger.warning("maxact: no report was written at step %d: %s", step, why, exc_info=ours)
            return None
        for fault in more:
            logger.warning("maxact: at step %d %s", step, message(fault, argument))
        return with_faults(account, more) if more else account

    def _tell(self, account: Account | None, faults: tuple[str, ...] = ()) -> None:
        """Of an account, or of a run that has none yet and `faults`. What cannot be told ends no training."""
        if not is_asked(self._github):
            return
        try:
            if account is None and faults:
                account = with_faults(self._account(), faults)
            lines = tell(account) if account else refused("the training run came to no verdict")
        except Exception as error:
            lines = refused(f"the training run came to no verdict: {message(marked(error), argument)}")
        print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)

    def _account(self, remarks: tuple[str, ...] = ()) -> Account:
        root, folder = repository(self._files.root), str(self._folder)
        if not self._steps:
            return Account(
                verdict="FAIL", faults=(NOTHING,), words=argument, root=root, about=folder, model=self._model
            )
        session = self._session()
        note_all(session)
        outcome = conclude(session, all_reported(session), drawn="html" in self._places)
        if outcome.verdict:
            warnings = (*remarks, *self._remarks, *outcome.verdict.warnings)
            outcome = replace(outcome, verdict=replace(outcome.verdict, warnings=warnings))
        account = account_of(session, outcome, (), argument, root)
        return replace(account, about=folder, model=self._model, asked={**account.asked, **self._asked})

    def _session(self) -> GateSession:
        """The run as the gate has one, with all that was found in it."""
        settings = self._run.preparation.settings
        steps = [self._steps[step] for step in sorted(self._steps)]
        labels = [one.subject.label for one in steps]
        subjects = [_about(one.subject, labels) for one in steps]
        name, reference = self._run.preparation.against, self._run.reference
        compared = any(limit.against for one in subjects for limit in one.rules.limits)
        baseline = Source(name=name, path=name, is_record=True)
        plan = Plan(subjects=tuple(subjects), baselines=(baseline,) if compared else ())
        found = [(subject.source, one.found) for subject, one in zip(subjects, steps, strict=True)]
        records = Records(settings, plan, found=[*found, *([(baseline, reference)] if compared and reference else [])])
        judging = Judging(plan, records)
        for subject, one in zip(subjects, steps, strict=True):
            judging.take(subject, one.findings)
        return GateSession(settings=settings, plan=plan, records=records, judging=judging, ledger=Ledger())

    def _subject(self, step: int, rules: Ruleset) -> Subject:
        identity = self._run.preparation.prepared.identity
        name, place = step_name(step), str(record_path(self._folder, step))
        return Subject(
            source=Source(name=name, path=place, is_record=True, step=step),
            title=f"{name} ({identity.model_type}, {identity.shape}, in training)",
            rules=rules,
        )


def _slim(one: _Step) -> _Step:
    if isinstance(one.found, MaxactError) or one.found.is_summary:
        return one
    limits = one.subject.rules.limits
    try:
        record = summary(one.found, (limit.metric.name for limit in limits if not limit.against))
    except MaxactError:
        return one
    findings = {
        check: replace(finding, reading=record.sites[finding.reading.site.name]) if finding.reading else finding
        for check, finding in one.findings.items()
    }
    return replace(one, found=record, findings=findings)


def _about(subject: Subject, labels: list[str]) -> Subject:
    return replace(subject, rules=replace(subject.rules, waivers=about(subject.rules.waivers, labels)))
