"""What a measurement leaves as it was: weights, modules, random numbers, old checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.tensor

from pytest_maxact.trainer.live import as_loaded, undisturbed
from tests.support.measuring import dense, encoded, observed
from tests.support.training import STEPS, causal_lm, hooks_on, records_in, train, trainer_of


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_gives_the_same_weights_bit_for_bit_with_and_without(
    checkpointing: bool, options: dict[str, Any], tmp_path: Path, corpus: Path
) -> None:
    def run(name: str, measured: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
        trainer = trainer_of(tmp_path / name, causal_lm(attention_dropout=0.3), **options)
        trainer.model.model.layers[0].requires_grad_(False)
        if checkpointing:
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        if measured:
            assert train(tmp_path / name, corpus, trainer=trainer, every=1).findings.keys() == set(range(1, STEPS + 1))
        else:
            trainer.train()
        assert all(module.training for module in trainer.model.modules())
        assert [p.requires_grad for p in trainer.model.model.layers[0].parameters()] == [False] * 11
        return trainer.model.state_dict(), torch.get_rng_state(), hooks_on(trainer.model)

    (weights, numbers, hooks), (untouched, expected, known) = run("with", True), run("without", False)
    assert hooks == known
    assert weights.keys() == untouched.keys()
    assert all(torch.equal(weights[name], untouched[name]) for name in weights)
    assert torch.equal(numbers, expected)


def test_what_modules_note_on_themselves_in_a_measurement_is_gone_after_it() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
    model = causal_lm(rope_parameters={**rope, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}).train()
    model.model.layers[1].eval()
    rotary = model.model.rotary_emb
    keys, angles = set(vars(rotary)) | set(rotary._buffers), rotary.inv_freq.clone()
    with undisturbed(as_loaded(model)), torch.inference_mode():
        assert not any(module.training for module in model.model.modules())
        model.model(input_ids=torch.arange(4, 44)[None])
        assert not torch.equal(rotary.inv_freq, angles)
    assert torch.equal(rotary.inv_freq, angles)
    assert not rotary.inv_freq.is_inference()
    assert set(vars(rotary)) | set(rotary._buffers) == keys
    assert model.model.training
    assert not model.model.layers[1].mlp.training


def test_a_table_that_training_has_grown_is_measured_as_it_is_built_and_is_as_training_left_it() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    grown, built = (causal_lm(rope_parameters=rope, max_position_embeddings=16) for _ in range(2))
    grown.model(input_ids=torch.arange(4, 60)[None])
    table = grown.model.rotary_emb.inv_freq
    assert not torch.equal(table, built.model.rotary_emb.inv_freq)
    sequences = encoded([16, 40, 24, 9])
    with undisturbed(as_loaded(grown)):
        found = dense(observed(grown.model, sequences))
    assert all(np.array_equal(counts, found[name]) for name, counts in dense(observed(built.model, sequences)).items())
    assert grown.model.rotary_emb.inv_freq is table


def test_old_checkpoints_are_still_rotated(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, save_steps=1, save_total_limit=2))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["checkpoint-5", "checkpoint-6"]
    assert len(records_in(tmp_path)) == STEPS
