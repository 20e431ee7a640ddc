"""Short training runs of a tiny Qwen3 on random words, by transformers' own Trainer."""

import random
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from pytest_maxact.errors import InputError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from pytest_maxact.trainer.callback import MaxActCallback
from tests.support import tiny

STEPS = 6


def causal_lm(model_type: str = "qwen3", **overrides: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(tiny.config_of(model_type, **overrides), dtype=torch.float32)


def words(count: int = 32, length: int = 12) -> list[dict[str, list[int]]]:
    numbers = random.Random(0)
    rows = [[numbers.randrange(4, 64) for _ in range(length)] for _ in range(count)]
    return [{"input_ids": row, "labels": row} for row in rows]


def trainer_of(
    folder: Path, model: Any = None, *, kind: type[Trainer] = Trainer, callbacks: Any = None, **options: Any
) -> Trainer:
    """A Trainer of `STEPS` steps that saves every third and logs every second; `tokenizer` is its processing_class."""
    tokenizer = options.pop("tokenizer", tiny.word_tokenizer())
    evaluated = options.pop("eval_dataset", None)
    stated: dict[str, Any] = {
        "use_cpu": True, "report_to": [], "disable_tqdm": True, "max_steps": STEPS, "save_steps": 3, "logging_steps": 2,
        "per_device_train_batch_size": 4, "learning_rate": 1e-2, "seed": 3,
    }  # fmt: skip
    return kind(
        model=causal_lm() if model is None else model,
        args=TrainingArguments(output_dir=str(folder), **{**stated, **options}),
        train_dataset=words(),
        eval_dataset=evaluated,
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def train(
    folder: Path, corpus: Path, *, resume: Path | None = None, trainer: Trainer | None = None, **options: Any
) -> MaxActCallback:
    trainer = trainer or trainer_of(folder)
    callback = MaxActCallback(trainer, corpus=corpus, **options)
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return callback


def refused(folder: Path, message: str, trainer: Trainer | None = None, **options: Any) -> None:
    """The request fails at the first word of the run, or before it, and no step is taken."""
    trainer = trainer or trainer_of(folder / "out")
    with pytest.raises(InputError, match=f"^MaxActCallback: (.|\n)*{message}"):
        start_of(trainer, options)
    assert trainer.state.global_step == 0


def start_of(trainer: Trainer, options: dict[str, Any]) -> None:
    trainer.add_callback(MaxActCallback(trainer, **options))
    trainer.train()


def logged(callback: MaxActCallback, key: str = "maxact/seconds") -> list[dict[str, Any]]:
    return [entry for entry in callback.trainer.state.log_history if key in entry]


def limits_file(folder: Path, text: str) -> Path:
    path = folder / "limits.yaml"
    path.write_text(dedent(text))
    return path


FROM_SCRATCH = dedent("""\
    version: 1
    extends: builtin
    generic: {min_margin: null}
    families:
      qwen3:
        min_max_abs: {embedding: 1.0e-6, hidden: 1.0e-6, attn_output: 1.0e-6, mlp_output: 1.0e-6, gate: 1.0e-6}
        min_median: {embedding: 1.0e-6, hidden: 1.0e-6, attn_output: 1.0e-6, mlp_output: 1.0e-6, final_norm: 1.0e-6}
    """)
"""The shipped limits, but for those from below and on predictions, which a model at the beginning of its training does
not hold."""


def records_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.maxact.safetensors"))


def record_at(folder: Path, step: int) -> Record:
    return load(folder / f"checkpoint-{step}.maxact.safetensors")


def saved_record(checkpoint: Path, corpus: Path, **options: Any) -> Record:
    """What the gate measures of a checkpoint that the run saved."""
    settings = Settings(model=str(checkpoint), corpus=str(corpus), **options)
    return measure(prepare(settings), settings, "qwen3")


class Doing(TrainerCallback):  # type: ignore[misc]
    """Does something to the model at the end of a step."""

    def __init__(self, step: int, what: Any) -> None:
        self.step, self.what = step, what

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.what(model)


class Listening(TrainerCallback):  # type: ignore[misc]
    """A logger: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, Any]]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.told.append((state.global_step, dict(logs)))


def hooks_on(model: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
