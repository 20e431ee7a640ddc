"""What loggers are told of a measurement."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.tensor
from transformers import TrainerCallback

from tests.support.training import Doing, Listening, logged, record_at, records_in, train, trainer_of

KINDS = ("embedding", "hidden", "attn_output", "mlp_output", "gate", "final_norm")
FIGURES = {
    f"maxact/{name}"
    for name in (
        "M",
        *KINDS,
        "nonfinite",
        "int8_sqnr_db",
        "first_jump_layer",
        "massive_layers",
        "growth",
        "samples",
        "seconds",
        "breaches",
    )
}


def test_loggers_are_told_finite_figures_through_the_trainer_and_no_loss_is_lost(tmp_path: Path, corpus: Path) -> None:
    listening = Listening()
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[listening]), every=2)
    history = logged(callback)
    assert [entry["step"] for entry in history] == [2, 4, 6]
    assert all(entry.keys() >= FIGURES for entry in history)
    assert all(
        type(value) is float and math.isfinite(value)
        for entry in history
        for key, value in entry.items()
        if key in FIGURES
    )
    assert [step for step, logs in listening.told if logs.keys() >= FIGURES] == [2, 4, 6]
    assert [entry["step"] for entry in logged(callback, "loss")] == [2, 4, 6]
    record, first = record_at(tmp_path, 6), record_at(tmp_path, 2)
    assert history[-1]["maxact/M"] == record.carrier.max_abs
    assert history[-1]["maxact/growth"] == record.carrier.max_abs / first.carrier.max_abs
    assert history[0]["maxact/growth"] == 1.0
    for kind in KINDS:
        assert history[-1][f"maxact/{kind}"] == max(r.max_abs for r in record.sites.values() if r.site.kind == kind)
    assert history[-1]["maxact/samples"] == 12


def test_a_model_with_nan_is_a_breach_and_its_figures_are_left_out(tmp_path: Path, corpus: Path) -> None:
    def plant(model: Any) -> None:
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight[0, 0] = math.nan

    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(3, plant)]))
    entry = logged(callback)[0]
    assert entry["maxact/nonfinite"] > 0
    assert entry["maxact/breaches"] > 0
    assert (
        not {"maxact/M", "maxact/hidden", "maxact/growth", "maxact/int8_sqnr_db", "maxact/first_jump_layer"}
        & entry.keys()
    )
    assert entry["maxact/embedding"] > 0
    assert {finding.limit.metric.name for finding in callback.findings[3]} >= {"nonfinite", "max_abs"}


class Saving(TrainerCallback):  # type: ignore[misc]
    """Asks for a save with a control of its own."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        return replace(control, should_save=True)


def test_what_another_callback_decided_is_kept(tmp_path: Path, corpus: Path) -> None:
    train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Saving()], save_strategy="no", max_steps=2), every=1
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["checkpoint-1", "checkpoint-2"]
    assert len(records_in(tmp_path)) == 2
