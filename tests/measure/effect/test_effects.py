"""Predictions under a scheme are those of the whole model quantized the plain way: full logits, plain hooks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.measure.effect.effects import (
    measure_effects,
)
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.sound.effects import require_sound_samples
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.effects import (
    ARCHITECTURES,
    COMPARED,
    LENGTHS,
    Measured,
    Plain,
    figures,
    headed,
    measured,
    plain_figures,
    prepared,
    restored,
    split,
)
from tests.support.measuring import encoded
from tests.support.paths import TRAINED


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_figure_is_that_of_full_logits_and_plain_hooks(model_type: str, tmp_path: Path) -> None:
    checkpoint = measured(tmp_path, headed(model_type))
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits(calibration)
    own = Plain(checkpoint.model).logits(evaluation)
    effects = checkpoint.effects(*COMPARED)
    # products of one row differ from those of many in their last bits
    tolerance = 1e-2 if model_type in ("qwen3_moe", "mixtral") else 1e-5
    assert list(effects) == list(COMPARED)
    for name, effect in effects.items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        expected = plain_figures(own, other, evaluation)
        assert expected["mean_kl"] > 1e-6
        assert figures(effect) == pytest.approx(expected, rel=tolerance), name
        alone = [plain_figures([p], [q], [one])["mean_kl"] for p, q, one in zip(own, other, evaluation, strict=True)]
        kept = [one.kl / one.tokens for one in effect.by_sample]
        assert sorted(kept) == pytest.approx(sorted(alone), rel=15 * tolerance), name
        require_sound_samples(name, effect)
        assert (effect.scheme, effect.samples, effect.tokens) == (name, len(evaluation), sum(map(len, evaluation)))


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_the_way_in_which_experts_are_run_does_not_matter(implementation: str, tmp_path: Path) -> None:
    """Rows of one expert after another, all rows in turn, each as a column; the reference is token by token."""
    checkpoint = measured(tmp_path, headed("qwen3_moe"))
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits(calibration)
    own = Plain(checkpoint.model).logits(evaluation)

    def choose(module: nn.Module, args: Any) -> None:
        if isinstance(module, PreTrainedModel):
            module.config._experts_implementation = implementation

    handle = nn.modules.module.register_module_forward_pre_hook(choose)
    try:
        effects = checkpoint.effects("FP8", "NVFP4")
    finally:
        handle.remove()
    for name, effect in effects.items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        assert figures(effect) == pytest.approx(plain_figures(own, other, evaluation), rel=1e-2), name


def test_a_trained_checkpoint_in_bfloat16_gives_the_plain_figures() -> None:
    checkpoint = prepared(TRAINED, max_samples=6, max_seq_len=48)
    calibration, evaluation = split(checkpoint.sequences, "calibration"), split(checkpoint.sequences, "evaluation")
    observer = Plain(checkpoint.model)
    observer.logits([*calibration, *checkpoint.beside])
    own = Plain(checkpoint.model).logits(evaluation)
    for name, effect in checkpoint.effects("W8A8", "FP8", "NVFP4").items():
        other = Plain(checkpoint.model, scheme=name, amax=observer.amax).logits(evaluation)
        assert figures(effect) == pytest.approx(plain_figures(own, other, evaluation), rel=5e-3), name
    assert effect.mean_kl > 0.01


@pytest.mark.parametrize("model_type", ["gpt_oss", "llama4_text"])
def test_stacked_experts_that_are_stored_transposed_are_quantized_along_their_inputs(
    model_type: str, tmp_path: Path
) -> None:
    options = (
        {"intermediate_size": 96, "intermediate_size_mlp": 64}
        if model_type == "llama4_text"
        else {"intermediate_size": 64}
    )
    checkpoint = measured(tmp_path, headed(model_type, **options))
    evaluation = split(checkpoint.sequences, "evaluation")
    own, quantized = checkpoint.model, checkpoint.model
    for path, parameter in quantized.named_parameters():
        if "experts." in path and path.endswith("_proj"):
            parameter.data = torch.stack([restored(m.T.contiguous(), "MXFP8A16", "weights").T for m in parameter.data])
        elif "proj.weight" in path:
            parameter.data = restored(parameter.data, "MXFP8A16", "weights")
    expected = plain_figures(
        *([m(torch.tensor([s.ids])).logits[0].double().detach() for s in evaluation] for m in (own, quantized)),
        evaluation,
    )
    assert expected["mean_kl"] > 1e-6
    assert figures(checkpoint.effects("MXFP8A16")["MXFP8A16"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("model_type", ["gemma3", "qwen2_5_vl", "qwen3_5_moe", "bailing_hybrid"])
def test_composite_and_hybrid_models_are_run_with_their_head(model_type: str, tmp_path: Path) -> None:
    config = tiny.config_of(model_type)
    auto = (
        AutoModelForImageTextToText
        if type(config) in AutoModelForImageTextToText._model_mapping
        else AutoModelForCausalLM
    )
    torch.manual_seed(0)
    tiny.save(tmp_path, auto.from_config(config, dtype=torch.float32).eval())
    settings = Settings(model=str(tmp_path), batch_tokens=64)
    effects = measure_effects(locate(settings), settings, [SCHEMES["W8A8"], SCHEMES["FP16"]], {}, encoded(LENGTHS))
    assert 0 < effects["W8A8"].mean_kl < 1
    assert 0 < effects["FP16"].mean_kl < effects["W8A8"].mean_kl


def test_float16_is_the_whole_model_in_float16(qwen3: Measured) -> None:
    evaluation = split(qwen3.sequences, "evaluation")
    own, other = qwen3.model, AutoModelForCausalLM.from_pretrained(qwen3.checkpoint.folder, dtype=torch.float16).eval()
    logits = (
        [m(torch.tensor([s.ids]), use_cache=False).logits[0].double().detach() for s in evaluation]
        for m in (own, other)
    )
    assert figures(qwen3.effects("FP16")["FP16"]) == pytest.approx(plain_figures(*logits, evaluation), rel=0.05)
