"""The measurements of one training run: from a live model to a judged Record, on one sample throughout."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import vocabulary
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights.live import scan_live
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.predict import Predicting, predicting
from pytest_maxact.measure.run import measure_loaded, observe
from pytest_maxact.record.file import RECORD, put
from pytest_maxact.record.output import require_harmless
from pytest_maxact.record.record import Record
from pytest_maxact.trainer.live import as_loaded, undisturbed
from pytest_maxact.trainer.logged import figures
from pytest_maxact.trainer.preparation import Preparation, step_name
from pytest_maxact.trainer.sample import Budget, within

logger = logging.getLogger("pytest_maxact.trainer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement: its Record, what it was judged by, a finding for each of those limits, and what is logged of
    it.
    """

    record: Record
    rules: Ruleset
    findings: tuple[Finding, ...]
    figures: dict[str, float]

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """The checks that fail and are not waived."""
        return tuple(finding for finding in self.findings if not finding.accepted)


class Run:
    """A training run under measurement. `budget_seconds`: how long one measurement may hold it up."""

    def __init__(self, preparation: Preparation, budget_seconds: float) -> None:
        self.preparation = preparation
        self.budget_seconds = budget_seconds
        self.first = preparation.first
        self._sample = preparation.prepared.sequences if preparation.chosen else None
        self._owed = preparation.seconds
        if why := preparation.prepared.unpredicted:
            logger.warning("maxact: what the model predicts is unchecked in this run: %s", why)

    def measure(self, model: Any, name: str, step: int, target: Path) -> Measurement:
        """Measure the model as it is now, write its Record to `target`, and judge it; `name` is what the Record says it
        is of.

        Raises OverBudgetError, InputError or MeasureError. Where there is no Record nothing lies at `target`, for what
        lay there was of other weights.
        """
        require_harmless(target, RECORD, own=target.parent)
        target.unlink(missing_ok=True)
        budget = Budget(self.budget_seconds, spent=self._owed)
        self._owed = 0.0
        settings, prepared = self.preparation.settings, self.preparation.prepared
        loaded = as_loaded(model, prepared.unpredicted)
        with undisturbed(loaded):
            if self._sample is None:
                self._sample = tuple(self._choose(budget, lambda pilot: self._pass(loaded, pilot, budget)))
            named = replace(
                prepared, sequences=self._sample, whole=self._sample, checkpoint=replace(prepared.checkpoint, name=name)
            )
            family = self.preparation.limits.family
            adapted = ", with its adapters" if loaded.adapters else ""
            record = measure_loaded(
                named, settings, loaded, family, lambda: f"in training, step {step}{adapted}", lambda: scan_live(model),
                lambda _, done, total, __: budget.check(done, total), self._telling,
            )  # fmt: skip
        put(record, target, own=target.parent)
        judged = self.judged(record, step)
        if self.first is None:
            self.first = record
        logged = figures(record, self.first, len(judged.breaches), budget.spent)
        return replace(judged, figures=logged)

    def judged(self, record: Record, step: int) -> Measurement:
        """A Record of this run, by the limits that hold at its step. Raises MaxactError."""
        reference = self.reference if record is not self.first else self.preparation.reference
        rules = self.rules(reference)
        against = {self.preparation.against: reference} if reference else None
        findings = judge(record, rules.limits, against, rules.waivers, step_name(step))
        return Measurement(record=record, rules=rules, findings=tuple(findings), figures={})

    @property
    def reference(self) -> Record | None:
        """What is to be compared with: the baseline, or else the run's first Record, once there is one."""
        return self.preparation.reference or self.first

    def rules(self, reference: Record | None) -> Ruleset:
        """What a measurement is judged by, of which relative limits need a `reference`."""
        preparation = self.preparation
        return preparation.changes if preparation.changes and reference else preparation.limits

    def _choose(self, budget: Budget, run: Callable[[Sequence[corpus.Sequence]], None]) -> list[corpus.Sequence]:
        wanted = self.preparation.prepared.sequences
        chosen = within(budget, wanted, self.preparation.settings.seed, run)
        tokens = sum(map(len, chosen))
        level = logging.WARNING if len(chosen) < len(wanted) else logging.INFO
        logger.log(
            level, "maxact: this run is measured on %d of %d samples, %d tokens, within %g s each time",
            len(chosen), len(wanted), tokens, self.budget_seconds,
        )  # fmt: skip
        return chosen

    def _pass(self, loaded: LoadedModel, sequences: Sequence[corpus.Sequence], budget: Budget) -> None:
        """A pass over some of the samples, with all that a measurement of them takes."""
        anatomy = resolve(loaded.model, self.preparation.prepared.checkpoint.config, adapters=loaded.adapters)
        told, _ = self._telling(loaded, sequences, vocabulary(anatomy))
        settings = self.preparation.settings
        with computing(settings.arithmetic, loaded.device, loaded.dtype):
            observe(
                loaded, anatomy, sequences, settings.batch_tokens, lambda done, total, _: budget.check(done, total),
                told=told,
            )  # fmt: skip

    def _telling(
        self, loaded: LoadedModel, sequences: Sequence[corpus.Sequence], vocabulary: int
    ) -> tuple[Predicting | None, str]:
        """As `predicting`, by the head that was tried before the first step."""
        headed = self.preparation.headed
        if headed is None or headed.model is not loaded.headed:
            return predicting(loaded, sequences, vocabulary)
        return Predicting(headed, sequences, vocabulary), ""
