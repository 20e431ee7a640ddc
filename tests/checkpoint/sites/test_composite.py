"""Composite wrappers: the language backbone is what is observed, whatever stands beside it, and the Record says what
that is.
"""

import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from tests.support.measuring import encoded, observed
from tests.support.zoo.composite import BACKBONES, FIRST_SPECIAL_TOKEN, NO_FINAL_NORM, RUNS, VISION, headless

NAMED_IN_THE_README = {
    "qwen2_5_vl",
    "qwen3_vl",
    "gemma3",
    "gemma3n",
    "gemma4",
    "llava",
    "mllama",
    "internvl",
    "idefics3",
    "phi4_multimodal",
}
MORE_AFTER_THE_NORM = {"embedding_gemma2", *NO_FINAL_NORM}
LENGTHS = (7, 12, 3, 9, 5)


@torch.inference_mode()
def last_hidden_maximum(decoder: nn.Module) -> float:
    """Largest magnitude of what the backbone itself returns, one sequence at a time."""
    outputs = (
        decoder(input_ids=torch.tensor([s.ids]), use_cache=False)[0]
        for s in encoded(LENGTHS, vocabulary=FIRST_SPECIAL_TOKEN)
    )
    return max(output.abs().max().item() for output in outputs)


def test_every_wrapper_that_users_ask_for_is_here() -> None:
    assert set(RUNS) >= NAMED_IN_THE_README


@pytest.mark.parametrize("model_type", sorted(BACKBONES))
def test_the_language_backbone_is_observed_and_the_rest_is_said_to_be_left_out(model_type: str) -> None:
    model = headless(model_type)
    decoder = model.get_submodule(BACKBONES[model_type])
    assert decoder_of(model) is decoder
    anatomy = resolve(model, model.config)
    beside = {id(module) for path in VISION[model_type] for module in model.get_submodule(path).modules()}
    assert not any(id(tap.module) in beside for tap in anatomy.taps)
    said = [entry.what for entry in anatomy.left_out]
    for path in VISION[model_type]:
        if any(parameter.ndim >= 2 for parameter in model.get_submodule(path).parameters()):
            assert any(path == what or path.startswith(f"{what}.") or what.startswith(f"{path}.") for what in said), (
                path
            )
    if model_type in RUNS:
        observer = observed(model, encoded(LENGTHS, vocabulary=FIRST_SPECIAL_TOKEN))
        last = "final_norm" if "final_norm" in observer.accumulators else f"layers.{anatomy.layers - 1}.hidden"
        if model_type not in MORE_AFTER_THE_NORM or last != "final_norm":
            assert abs(observer.accumulators[last].peaks[0].value) == pytest.approx(
                last_hidden_maximum(decoder), rel=1e-3
            )
