"""What the files lack, or hold otherwise than the config calls for, in parts that the measurement does not run: found
by name from headers, as transformers would load them, and nothing found in a sound checkpoint.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMaskedLM
from transformers.core_model_loading import revert_weight_conversion

from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.checkpoint.load import whole_skeleton
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.checkpoint.weights.presence import misfits_of
from pytest_maxact.checkpoint.weights.stored import Stored, headers
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.exports import fp8_block
from tests.support.zoo import composite, encoders

Tensors = dict[str, torch.Tensor]
ABSENT = "no weight file holds it"


def found_in(folder: Path) -> dict[str, str]:
    settings = Settings(model=str(folder))
    checkpoint = locate(settings, weights=False)
    files = with_weights(checkpoint, settings) if checkpoint.quantized else weight_files(folder)
    return misfits_of(whole_skeleton(checkpoint), headers(files))


def headed(folder: Path, model_type: str = "qwen3", auto: Any = AutoModelForCausalLM, **overrides: Any) -> Path:
    torch.manual_seed(0)
    config = tiny.config_of(model_type)
    for name, value in overrides.items():
        setattr(config, name, value)
    return tiny.save(folder, auto.from_config(config, dtype=torch.bfloat16))


def changed(folder: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def restated(folder: Path, **values: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config.update(values)
    (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value != "-"}))
    return folder


@pytest.fixture
def untied(tmp_path: Path) -> Path:
    return headed(tmp_path / "untied", tie_word_embeddings=False)


def test_a_head_that_is_missing_is_named(untied: Path) -> None:
    assert found_in(untied) == {}
    assert found_in(changed(untied, lambda t: t.pop("lm_head.weight"))) == {"lm_head.weight": ABSENT}


@pytest.mark.parametrize("shape", [(0,), (64,), (63, 64), (64, 64, 1)])
def test_a_head_of_another_shape_is_named_with_both(shape: tuple[int, ...], untied: Path) -> None:
    changed(untied, lambda t: t.update({"lm_head.weight": torch.zeros(shape)}))
    told = f"model.safetensors holds it as {list(shape)}, and the config makes it [64, 64]"
    assert found_in(untied) == {"lm_head.weight": told}


def test_a_head_that_is_no_float_is_named(untied: Path) -> None:
    changed(untied, lambda t: t.update({"lm_head.weight": torch.zeros(64, 64, dtype=torch.int64)}))
    assert "I64" in found_in(untied)["lm_head.weight"]


def test_a_tied_head_need_not_lie_in_the_files_and_fits_where_it_does(tmp_path: Path) -> None:
    folder = headed(tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert found_in(folder) == {}
    changed(folder, lambda t: t.update({"lm_head.weight": torch.zeros(0)}))
    assert found_in(folder).keys() == {"lm_head.weight"}
    changed(folder, lambda t: t.update({"lm_head.weight": t.pop("model.embed_tokens.weight")}))
    assert found_in(folder) == {}, "transformers ties the embedding to the head then"


def test_a_config_that_unties_a_head_which_the_files_lack_is_found(tmp_path: Path) -> None:
    folder = restated(headed(tmp_path / "tied", tie_word_embeddings=True), tie_word_embeddings=False)
    assert found_in(folder) == {"lm_head.weight": ABSENT}


@pytest.mark.parametrize("stated", ["-", None, [], ["SomebodysForCausalLM"], ["MistralForCausalLM"]])
def test_without_a_known_architecture_the_head_of_the_type_counts(stated: Any, untied: Path) -> None:
    changed(untied, lambda t: t.pop("lm_head.weight"))
    assert found_in(restated(untied, architectures=stated)) == {"lm_head.weight": ABSENT}


def test_a_base_model_has_no_head(checkpoint: Path) -> None:
    assert found_in(checkpoint) == {}


@pytest.mark.parametrize(
    ("part", "what"),
    [("vision", "patch"), ("vision", "mlp"), ("multi_modal_projector", "mm_input_projection_weight")],
)
def test_a_tensor_of_a_tower_or_projector_is_named_where_it_is_missing_or_misshapen(
    part: str, what: str, tmp_path: Path
) -> None:
    folder = headed(tmp_path / "gemma3", "gemma3", AutoModelForImageTextToText)
    names = [name for name in load_file(folder / "model.safetensors") if part in name and what in name]
    changed(folder, lambda t: t.update({names[0]: torch.zeros(0)}))
    assert found_in(folder).keys() == {names[0]}
    changed(folder, lambda t: t.pop(names[0]))
    assert list(found_in(folder).values()) == [ABSENT]


def test_one_of_several_experts_that_is_missing_is_found(tmp_path: Path) -> None:
    folder = headed(tmp_path / "moe", "qwen3_moe")
    changed(folder, lambda t: t.pop("model.layers.1.mlp.experts.3.up_proj.weight"))
    assert any("mlp.experts" in name for name in found_in(folder))


def test_of_a_quantized_checkpoint_weights_count_as_those_they_are_given_back_as(untied: Path, tmp_path: Path) -> None:
    export = fp8_block.export(tmp_path / "fp8", untied, block=32)
    assert found_in(export) == {}
    changed(export, lambda t: t.pop("lm_head.weight"))
    assert found_in(export) == {"lm_head.weight": ABSENT}


@pytest.mark.parametrize("model_type", tiny.FAMILIES)
def test_base_models_of_the_papers_families_lack_nothing(model_type: str, tmp_path: Path) -> None:
    assert found_in(tiny.save(tmp_path / "m", tiny.random_model(model_type))) == {}


def saved_of(model: Any) -> list[Stored]:
    """What save_pretrained would write of a model on the meta device."""
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in model.all_tied_weights_keys}
    return [
        Stored(file=Path("model.safetensors"), key=name, dtype="F32", shape=tuple(tensor.shape))
        for name, tensor in revert_weight_conversion(model, state).items()
    ]


@pytest.mark.parametrize("model_type", encoders.TYPES)
def test_no_encoder_of_the_zoo_lacks_anything(model_type: str) -> None:
    """Causal language models are saved and asked in `sites/test_architectures.py`."""
    with torch.device("meta"):
        model = AutoModel.from_config(encoders.tiny(model_type))
    assert misfits_of(model, saved_of(model)) == {}


@pytest.mark.parametrize("model_type", ["llava", "qwen2_5_vl", "gemma4", "voxtral"])
def test_composites_lack_nothing(model_type: str, tmp_path: Path) -> None:
    model: nn.Module = composite.headless(model_type)
    assert found_in(tiny.save(tmp_path / "m", model)) == {}


def test_an_encoder_with_its_head_lacks_nothing(tmp_path: Path) -> None:
    model = AutoModelForMaskedLM.from_config(encoders.tiny("bert"), dtype=torch.float32)
    folder = tiny.save(tmp_path / "m", model)
    assert found_in(folder) == {}
    changed(folder, lambda t: t.pop("cls.predictions.transform.dense.weight"))
    assert found_in(folder) == {"cls.predictions.transform.dense.weight": ABSENT}
