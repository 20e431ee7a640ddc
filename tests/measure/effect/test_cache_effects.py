"""Predictions with keys and values in low bits are those of a model whose attention function quantizes them itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface

from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support.effects import Measured, figures, headed, measured, plain_figures, split

LENGTHS = [5, 40, 9, 36, 12, 70, 7, 33]


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Keys of layer 1 of a thousand, queries that much smaller: the same function as without."""
    model = headed("llama")
    with torch.no_grad():
        attention = model.model.layers[1].self_attn
        attention.k_proj.weight *= 1024
        attention.q_proj.weight /= 1024
    return measured(tmp_path_factory.mktemp("loud"), model, LENGTHS, sites="attention", schemes=("KV_FP8_HEAD",))


@contextmanager
def quantizing(measured: Measured, model: Any, name: str) -> Iterator[None]:
    """A model whose attention function does it, registered as users of transformers register theirs."""
    own = AttentionInterface()["sdpa"]
    how = SCHEMES[name].cache
    assert how

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **more: Any
    ) -> Any:
        given = []
        for kind, states in (("k", key), ("v", value)):
            reading = measured.readings[f"layers.{module.layer_idx}.{kind}"]
            largest = max(reading.calibration.max_abs, reading.as_deployed or 0.0)
            rows = states[0].transpose(0, 1)
            kept = through_cache(rows, how, kind == "k", [len(rows)], torch.tensor([largest]))
            given.append(kept.restored.transpose(0, 1)[None])
        return own(module, query, *given, *args, **more)

    AttentionInterface.register("quantizing", attend)
    model.set_attn_implementation("quantizing")
    yield
    model.set_attn_implementation("sdpa")


@pytest.mark.parametrize(
    "name",
    [
        "KV_FP8", "KV_FP8_ONE", "KV_INT8_PER_TOKEN_HEAD", "KV_INT4_PER_TOKEN_HEAD", "KV_INT4", "KV_NVFP4",
        "KV_NVFP4_4OVER6",
    ],
)  # fmt: skip
def test_every_figure_is_that_of_an_attention_function_that_quantizes(name: str, loud: Measured) -> None:
    evaluation = split(loud.sequences, "evaluation")
    model = loud.model

    def logits() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [model(input_ids=torch.tensor([one.ids])).logits[0].double() for one in evaluation]

    own = logits()
    with quantizing(loud, model, name):
        other = logits()
    wanted = plain_figures(own, other, evaluation)
    found = figures(loud.effects(name)[name])
    for quantity, value in wanted.items():
        assert found[quantity] == pytest.approx(value, rel=2e-1 if quantity == "kl_q99" else 5e-2, abs=1e-5), quantity


def test_a_scale_of_one_clips_large_keys_and_a_calibrated_one_does_not(loud: Measured) -> None:
    found = loud.effects("KV_FP8_ONE", "KV_FP8", "KV_FP8_EXACT", "KV_FP8_HEAD")
    assert found["KV_FP8_ONE"].mean_kl > 5 * found["KV_FP8"].mean_kl > 0
    assert found["KV_FP8_EXACT"].mean_kl < found["KV_FP8_ONE"].mean_kl / 5
    assert found["KV_FP8_HEAD"].mean_kl < found["KV_FP8_ONE"].mean_kl / 5


def test_linear_layers_and_the_cache_are_quantized_together(loud: Measured) -> None:
    found = loud.effects("W8A8", "KV_INT4", "W8A8+KV_INT4", "KV_NVFP4", "W8A8+KV_NVFP4")
    assert len({effect.mean_kl for effect in found.values()}) == 5
    assert found["W8A8+KV_NVFP4"].mean_kl > 2 * found["W8A8"].mean_kl
    assert found["W8A8+KV_INT4"].mean_kl > 5 * found["W8A8"].mean_kl
    assert loud.effects("W8A8")["W8A8"] == found["W8A8"]  # and the model is as it was


def test_the_state_of_latent_attention_is_quantized_as_it_is_cached(tmp_path: Path) -> None:
    latent = {
        "q_lora_rank": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
        "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 2, "n_routed_experts": 4,
        "head_dim": 16, "num_key_value_heads": 4,
    }  # fmt: skip
    model = headed("deepseek_v3", **latent)
    with torch.no_grad():
        attention = model.model.layers[1].self_attn
        attention.kv_a_layernorm.weight *= 4096
        attention.kv_b_proj.weight /= 4096
    checkpoint = measured(tmp_path, model, LENGTHS, sites="attention")
    found = checkpoint.effects("KV_FP8_ONE", "KV_FP8")
    assert found["KV_FP8_ONE"].mean_kl > 5 * found["KV_FP8"].mean_kl > 0


def test_a_model_whose_attention_is_not_read_is_refused(tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, headed("mamba"), [5, 9, 12, 7])
    with pytest.raises(MeasureError, match="no attention of this model is read"):
        checkpoint.effects("KV_FP8_ONE")
