"""Effects fail closed: what is not finite is no small number, what cannot be predicted is refused with its reason."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.effect.effects import (
    measure_effects,
    require_head,
)
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.reading import distributions_of
from tests.support import records, tiny
from tests.support.effects import LENGTHS, Measured, headed, measured, prepared, watched


def test_an_overflow_in_float16_is_no_small_number(tmp_path: Path) -> None:
    planted = tiny.planted_model("qwen3", layer=1, value=70000.0)
    model = AutoModelForCausalLM.from_config(tiny.config_of("qwen3"), dtype=torch.bfloat16).eval()
    model.model.load_state_dict(planted.state_dict())
    texts = [(name, f"{text} {tiny.PEAK_WORD} w1") for name, text in tiny.sentences([4] * 6)]
    path = tiny.write_corpus(tmp_path / "corpus.jsonl", texts)
    effects = prepared(tiny.save(tmp_path / "model", model), corpus=str(path)).effects("FP16", "BF16")
    effect = effects["FP16"]
    assert math.isnan(effect.mean_kl)
    assert math.isnan(effect.kl_q99)
    assert math.isnan(effect.perplexity_ratio)
    assert effect.top1_agreement <= 4 / 6
    assert effects["BF16"].mean_kl == 0.0


def test_a_scale_that_is_not_finite_is_no_small_number(qwen3: Measured) -> None:
    """The residual stream of a sample that overflows in calibration: its static scale is infinite."""
    name = "layers.0.down_in"
    reading = qwen3.readings[name]
    channels = distributions_of(reading).channels
    assert channels is not None
    (part,) = channels.parts
    broken = Channels({**channels.parts, part: np.full(256, np.inf, np.float32)})
    readings = {**qwen3.readings, name: records.holding(reading, channels=broken)}
    effect = measure_effects(qwen3.checkpoint, qwen3.settings, [SCHEMES["FP8"]], readings, qwen3.sequences)["FP8"]
    assert math.isnan(effect.mean_kl)
    assert math.isnan(effect.kl_q99)
    assert math.isnan(effect.perplexity_ratio)
    assert effect.top1_agreement == 0.0


def checkpoint_of(model_type: str, **overrides: Any) -> Checkpoint:
    config = AutoConfig.for_model(model_type, **overrides)
    return Checkpoint(
        name="some/model", folder=Path(), revision=None, config=config, trust_remote_code=False, is_hub=False
    )


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "t5", "bart", "vit"])
def test_a_model_without_a_next_token_distribution_is_refused_before_weights_load(model_type: str) -> None:
    with pytest.raises(InputError) as error:
        require_head(checkpoint_of(model_type))
    assert str(error.value).splitlines() == [
        (
            f"some/model ({model_type}) has no next-token distribution that transformers can build, on which the effect"
            " of a scheme is measured"
        ),
        "  leave out `effect` and `deploy`; `schemes` reports without it",
    ]


@pytest.mark.parametrize(
    "model_type", ["llama", "gpt2", "gemma3", "qwen2_5_vl", "qwen3_5", "gpt_oss", "bailing_hybrid"]
)
def test_causal_language_models_have_a_head(model_type: str) -> None:
    require_head(checkpoint_of(model_type))


def test_a_decoder_made_of_an_encoder_has_a_head() -> None:
    require_head(checkpoint_of("bert", is_decoder=True))


def test_a_model_whose_tokens_see_those_after_them_is_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("xlnet", d_model=64, n_layer=2, n_head=4, d_inner=96, vocab_size=64)
    torch.manual_seed(0)
    tiny.save(tmp_path / "model", AutoModelForCausalLM.from_config(config).eval())
    texts = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    checkpoint = prepared(tmp_path / "model", corpus=str(texts))
    with pytest.raises(MeasureError) as error:
        checkpoint.effects("W8A8")
    assert str(error.value).splitlines() == [
        "XLNetLMHeadModel has no next-token distribution: a token sees those after it",
        "  leave out `effect`, which is for causal language models",
    ]


def test_a_checkpoint_without_its_head_is_refused(tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, tiny.random_model("qwen3"))
    with pytest.raises(MeasureError) as error:
        checkpoint.effects("W8A8")
    assert str(error.value).splitlines() == [
        (
            f"the weights of {checkpoint.checkpoint.name} lack the LM head (lm_head.weight), without which there are no"
            " predictions to compare"
        ),
        ("  save the model with its head, or leave out `effect` and `deploy`: `schemes` needs no head"),
    ]


def test_a_head_that_is_the_embedding_need_not_be_stored(tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, tiny.random_model("qwen3", tie_word_embeddings=True))
    assert 0 < checkpoint.effects("W8A8")["W8A8"].mean_kl < 1


@pytest.mark.parametrize(("name", "operand", "group"), [("FP8_BLOCK", "input", 128), ("MXFP4", "weight", 32)])
def test_a_width_that_a_scheme_cannot_quantize_is_refused_with_the_layers_name(
    name: str, operand: str, group: int, tmp_path: Path
) -> None:
    checkpoint = measured(tmp_path, headed("llama", intermediate_size=72))
    stored = load_file(checkpoint.checkpoint.folder / "model.safetensors")
    with watched() as (models, _), pytest.raises(MeasureError) as error:
        checkpoint.effects(name)
    assert str(error.value).splitlines() == [
        (
            f"model.layers.0.mlp.down_proj: {name} cannot quantize its {operand}, 72 is no multiple of its groups of"
            f" {group}"
        ),
        "  keep layers.0.down_in in 16 bits, or choose another scheme",
    ]
    (model,) = models
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in stored.items())
    assert not [module for module in model.modules() if "forward" in vars(module)]
    kept = {name: ("layers.0.down_in", "layers.1.down_in")}
    assert checkpoint.effects(name, kept=kept)[name].mean_kl > 0


def test_a_static_scheme_without_calibration_is_refused(qwen3: Measured) -> None:
    without = Measured(qwen3.checkpoint, qwen3.settings, {}, qwen3.sequences)
    with pytest.raises(MeasureError) as error:
        without.effects("FP8")
    assert str(error.value).splitlines() == [
        "model.layers.0.self_attn.q_proj: FP8 needs the calibration maximum of its input, and the Record has none",
        "  measure again with `schemes` FP8",
    ]


def test_a_site_that_does_not_exist_cannot_be_kept(qwen3: Measured) -> None:
    with pytest.raises(
        InputError,
        match=r"^layers\.7\.down_in is to stay in 16 bits under W8A8, and is no input of linear layers of this model$",
    ):
        qwen3.effects("W8A8", kept={"W8A8": ("layers.7.down_in",)})


def test_a_cast_keeps_no_site(qwen3: Measured) -> None:
    with pytest.raises(
        InputError, match=r"^FP16 casts every tensor, and no site can stay as it is\n  keep no site under FP16$"
    ):
        qwen3.effects("FP16", kept={"FP16": ("layers.0.down_in",)})


def test_samples_of_one_token_predict_nothing(qwen3: Measured) -> None:
    short = [Encoded(sample=Sample(id=f"s{i}", category="a", text=f"{i}"), ids=(5 + i,)) for i in range(3)]
    effect = measure_effects(qwen3.checkpoint, qwen3.settings, [SCHEMES["W8A8"]], {}, short)["W8A8"]
    assert effect.mean_kl > 0
    assert math.isnan(effect.perplexity)
    assert math.isnan(effect.perplexity_ratio)
