"""The callback of transformers' Trainer: when to measure, what the loggers are told, and when to stop.

Callbacks are given no Trainer, but only `Trainer.log` reaches its history, its progress bar and its loggers, so this
one is made with it, as those of the Weights & Biases examples are.
"""

import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pytest_maxact.errors import InputError, MaxactError, MeasureError, first_line, setting, worded
from pytest_maxact.gate.github import is_asked, refused
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.places import expanded
from pytest_maxact.settings.settings import Settings
from pytest_maxact.trainer.arguments import require_arguments
from pytest_maxact.trainer.earlier import found_before, wants_measuring
from pytest_maxact.trainer.live import as_written, name_of, refuse_sharded, unwrapped
from pytest_maxact.trainer.logged import PREFIX
from pytest_maxact.trainer.preparation import prepare_run, record_path
from pytest_maxact.trainer.reports import NOTHING, RunReports
from pytest_maxact.trainer.run import Measurement, Run, logger
from pytest_maxact.trainer.sample import OverBudgetError
from pytest_maxact.trainer.words import argument

_NAMED = 3
"""So many breaches of one measurement are written out in its warning."""


class MaxActCallback(TrainerCallback):  # type: ignore[misc]
    """Measures the model that a Trainer trains, in place: `trainer.add_callback(MaxActCallback(trainer, every=500))`.

    - `every`: after every so many steps; at every save where it is None. The Record lies beside the checkpoint,
      `checkpoint-500.maxact.safetensors`.
    - `samples` of `corpus` (the built-in one) at most are read, as many as fit into `budget_seconds`, which is how long
      one measurement may hold the training up: chosen at the first measurement, the same throughout the run, and in a
      run resumed beside its Records; one that takes longer is given up between two batches. With a `baseline`, the path
      of a Record, its samples are read.
    - `limits`, `family`: as of the gate. What changed is judged against `baseline`, else against the run's first
      measurement.
    - `stop_on_breach`: a check that fails, or a measurement that cannot be made, ends the training.
    - `corpus_tokenizer`, `protocol`, `max_seq_len`, `batch_tokens`, `arithmetic`: as of the gate.
    - `json_report`, `html`, `sarif`, `codequality`, `card`, `bom`, and `junit` as pytest's `--junitxml`: files about
      the run, as those of the gate about a series, written anew after every measurement; until the last step is taken
      each says that the run did not finish. `github`: what a runner is told at the end, as of the gate.

    `findings` holds, by step, the checks that failed there, and `errors` why there could be no measurement; `verdict`
    is that of the reports when the run is over, None until then and where none was asked for. Training starts with an
    InputError where the run cannot be measured at all. In data-parallel runs the first process measures. A run that is
    resumed at a step whose measurement its log does not have begins with it.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        every: int | None = None,
        samples: int = 16,
        budget_seconds: float = 60.0,
        limits: str | Path | None = None,
        family: str | None = None,
        baseline: str | Path | None = None,
        stop_on_breach: bool = False,
        corpus: str | Path | None = None,
        corpus_tokenizer: str | Path | None = None,
        protocol: str = "paper",
        max_seq_len: int = 4096,
        batch_tokens: int = 8192,
        arithmetic: str = "auto",
        json_report: str | Path | None = None,
        html: str | Path | None = None,
        sarif: str | Path | None = None,
        codequality: str | Path | None = None,
        card: str | Path | None = None,
        bom: str | Path | None = None,
        junit: str | Path | None = None,
        github: str = "auto",
    ) -> None:
        require_arguments(
            trainer, budget_seconds, {"every": every, "samples": samples, "max_seq_len": max_seq_len,
            "batch_tokens": batch_tokens}, {"protocol": protocol, "arithmetic": arithmetic, "github": github},
        )  # fmt: skip
        self.trainer = trainer
        self.every = every
        self.budget_seconds = budget_seconds
        self.baseline = expanded(baseline) if baseline is not None else None
        self.stop_on_breach = stop_on_breach
        self.findings: dict[int, tuple[Finding, ...]] = {}
        self.errors: dict[int, str] = {}
        self._settings = Settings(
            max_samples=samples,
            limits=_path(limits),
            family=family,
            corpus=_path(corpus),
            corpus_tokenizer=_path(corpus_tokenizer),
            protocol=protocol,
            max_seq_len=max_seq_len,
            batch_tokens=batch_tokens,
            arithmetic=arithmetic,
        )
        given = {"json_report": json_report, "html": html, "sarif": sarif, "codequality": codequality, "card": card}
        self._places = {
            name: str(place) for name, place in {**given, "bom": bom, "junit": junit}.items() if place is not None
        }
        self._github = github
        self._run: Run | None = None
        self._reports: RunReports | None = None
        self._unended: weakref.finalize[Any, Any] | None = None
        self._last = -1

    @property
    def verdict(self) -> str | None:
        return self._reports.verdict if self._reports else None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Find what would keep this run from being measured. Raises InputError."""
        if self._unended:
            self._unended()  # a run before this one, which did not come to its end
        self.findings, self.errors = {}, {}
        self._run, self._reports, self._last = None, None, -1
        try:
            if state.is_world_process_zero and (self._places or is_asked(self._github)):
                folder, model = Path(args.output_dir), name_of(self.trainer)
                self._reports = RunReports(self._places, self._github, folder, self._asked, model)
            self._refuse_idle(args, state)
            refuse_sharded(self.trainer)
            if state.is_world_process_zero:
                with as_written(self.trainer.model):
                    prepared = prepare_run(self.trainer, self._settings, self.baseline, state)
                self._run = Run(prepared, self.budget_seconds)
                if self._reports:
                    before = found_before(state, Path(args.output_dir), prepared.first)
                    self._reports.begin(self._run, before)
                    self._unended = weakref.finalize(self, self._reports.broken_off)
        except InputError as error:
            said = f"MaxActCallback: {error.worded(argument)}"
            if is_asked(self._github):
                print(*refused(said), sep="\n", file=sys.stderr)
            raise InputError(said) from error
        if self._run and wants_measuring(state, Path(args.output_dir), self.every):
            values, _ = self._measure(Path(args.output_dir), state.global_step, self._run)
            return self._log(values, control)
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        return self._at(args, state, control) if self.every and state.global_step % self.every == 0 else control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        return self._at(args, state, control) if self.every is None else control

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._run is not None and not self.findings:
            logger.warning("maxact: %s", NOTHING)
        if self._reports and self._run:
            self._reports.finish(state.global_step, _left_at(args, state))
            if self._unended:
                self._unended.detach()

    def _at(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> TrainerControl:
        """Measure at this step, once; say what was found, and stop where that was asked for."""
        step = state.global_step
        if step == self._last:
            return control
        self._last = step
        reason = ""
        if self._run is not None:
            values, reason = self._measure(Path(args.output_dir), step, self._run)
            if self._reports:
                self._reports.write(step, state.max_steps)
            control = self._log(values, control)
        if self.stop_on_breach and self._agreed(args, bool(reason)):
            control.should_training_stop = True
            if reason:
                logger.warning("maxact: training stops at step %d: %s", step, reason)
        return control

    def _measure(self, folder: Path, step: int, run: Run) -> tuple[dict[str, float], str]:
        """Measure. What is to be logged, and why the run should stop, "" where nothing speaks against going on."""
        name = f"checkpoint-{step}" if self.every is None else folder.resolve().name
        try:
            with as_written(self.trainer.model):
                found = run.measure(unwrapped(self.trainer), name, step, record_path(folder, step))
        except OverBudgetError as error:
            spent = f"its budget of {self.budget_seconds:g} s is spent ({error}); allow more, or fewer samples"
            logger.warning("maxact: the measurement at step %d was given up, %s", step, spent)
            if self._reports:
                self._reports.failed(step, MeasureError(f"the measurement was given up, {spent}"))
            return {f"{PREFIX}skipped": 1.0}, ""
        except Exception as error:
            told, ours = _told(error), not isinstance(error, MaxactError)
            logger.warning("maxact: could not measure at step %d: %s", step, told, exc_info=ours)
            self.errors[step] = told
            if self._reports:
                self._reports.failed(step, error if isinstance(error, MaxactError) else MeasureError(told))
            return {f"{PREFIX}failed": 1.0}, f"could not measure: {told}"
        self.findings[step] = found.breaches
        if self._reports:
            self._reports.measured(step, found)
        return found.figures, self._report(found, step)

    def _report(self, found: Measurement, step: int) -> str:
        if not found.breaches:
            return ""
        shown = [worded(finding.message, argument) for finding in found.breaches[:_NAMED]]
        more = len(found.breaches) - len(shown)
        lines = "".join(f"\n  {message}" for message in shown) + (f"\n  and {more} more" if more else "")
        logger.warning("maxact: checks that fail at step %d: %d%s", step, len(found.breaches), lines)
        return shown[0]

    def _log(self, values: dict[str, float], control: TrainerControl) -> TrainerControl:
        """Through the Trainer, which afterwards believes that all is logged: what it still means to log at this step
        would be lost.
        """
        due = control.should_log
        self.trainer.control = control  # what callbacks before this one may have replaced
        self.trainer.log(values)
        self.trainer.control.should_log = due
        return self.trainer.control

    def _agreed(self, args: TrainingArguments, stop: bool) -> bool:
        """What the first process decided, in every process: one that trained on alone would wait for the others for
        ever.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return stop
        decision = torch.tensor(int(stop), device=args.device)
        torch.distributed.broadcast(decision, src=0)
        return bool(decision.item())

    @property
    def _asked(self) -> dict[str, str]:
        """What it was asked for besides what the gate can be asked for too."""
        every = "at every save" if self.every is None else f"every {counted(self.every, 'step')}"
        baseline = {"baseline": str(self.baseline)} if self.baseline else {}
        return {"measured": every, "budget_seconds": f"{self.budget_seconds:g}", **baseline}

    def _refuse_idle(self, args: TrainingArguments, state: TrainerState) -> None:
        """Raise InputError where no step of this run would be measured, or several runs would write to one place."""
        if state is not self.trainer.state:
            raise InputError(
                "it was made with another Trainer than the one that it was added to, whose model would be measured\n"
                "  write trainer.add_callback(MaxActCallback(trainer))"
            )
        if sum(isinstance(one, MaxActCallback) for one in self.trainer.callback_handler.callbacks) > 1:
            raise InputError(
                "this Trainer has several of it, which would write over each other's Records\n"
                "  add one; what else is to be looked at can be asked of its Records afterwards, by maxact judge"
            )
        if state.is_hyper_param_search:
            raise InputError(
                "a hyperparameter search trains many models\n"
                f"  gate the checkpoints of the best one with pytest {setting('model')}"
            )
        if self.every is None and str(getattr(args.save_strategy, "value", args.save_strategy)) == "no":
            raise InputError(
                "it measures at each save, and this run saves nothing\n"
                "  give every=N, or TrainingArguments(save_strategy=...)"
            )
        if self.every is not None and self.every > state.max_steps:
            raise InputError(
                f"every={self.every} is beyond the last step, {state.max_steps}, so nothing would be measured\n"
                "  give a smaller number"
            )


def _told(error: Exception) -> str:
    return error.worded(argument) if isinstance(error, MaxactError) else f"{type(error).__name__}: {first_line(error)}"


def _left_at(args: TrainingArguments, state: TrainerState) -> int:
    """The step whose weights a Trainer ends with: the last, or that of the best checkpoint, which it may load again."""
    best = state.best_model_checkpoint if args.load_best_model_at_end else None
    return int(Path(best).name.rpartition("-")[2]) if best else state.global_step


def _path(value: str | Path | None) -> str | None:
    return None if value is None else str(expanded(value))
