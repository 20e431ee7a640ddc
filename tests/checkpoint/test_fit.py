"""Names and shapes that do not fit the model: told from headers, before anything is loaded, with what made them so."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.fit import refuse_unfit
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.quantized import in_fp8, restated, rewritten

NORM, UP, EMBED = "norm.weight", "layers.1.mlp.up_proj.weight", "embed_tokens.weight"


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def fits(folder: Path) -> None:
    settings = Settings(model=str(folder))
    found = locate(settings)
    refuse_unfit(skeleton(found).whole, with_weights(found, settings))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        fits(folder)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def renamed(folder: Path, pattern: str, by: str) -> Path:
    return rewritten(folder, lambda tensors: {re.sub(pattern, by, name): t for name, t in tensors.items()})


@pytest.mark.parametrize(
    ("pattern", "by", "count", "said"),
    [
        (r"^", "_orig_mod.", 35, "as torch.compile names them (_orig_mod.), the first _orig_mod.embed_tokens.weight"),
        (r"^", "module.", 35, "as DistributedDataParallel, DataParallel or DeepSpeed names them (module.)"),
        (r"^", "module._orig_mod.", 35, "DeepSpeed and torch.compile names them (module., _orig_mod.)"),
        (r"^", "base_model.model.", 35, "as PEFT names them (base_model.model.)"),
        (r"(layers\.\d+\.)", r"_fsdp_wrapped_module.\1_fsdp_wrapped_module.", 33, "as FSDP names them"),
        (r"(layers\.\d+\.)", r"\1_checkpoint_wrapped_module.", 33, "as activation checkpointing names them"),
        (r"(q_proj|v_proj)\.", r"\1.base_layer.", 6, "as PEFT (around layers with adapters) names them (base_layer.)"),
        (r"layers\.1\.", "layers.1._orig_mod.", 11, "the first layers.1._orig_mod.input_layernorm.weight"),
        (
            r"^norm",
            "_orig_mod.norm",
            1,
            "as torch.compile names it (_orig_mod.), the first _orig_mod.norm.weight, so the model has no place for it",
        ),
        (r"^", "student.", 35, "as a wrapper names them (student.)"),
        (r"^", "policy.actor.", 35, "as a wrapper names them (policy.actor.)"),
        (r"layers\.1\.", "layers.1.wrapped.", 11, "as a wrapper names them (wrapped.)"),
    ],
)
def test_names_of_a_wrapped_model_are_told_with_who_wrote_them_and_the_line_that_strips_them(
    pattern: str, by: str, count: int, said: str, model: Path
) -> None:
    text = refusal(renamed(model, pattern, by))
    assert f"{model}: {count} of 35 tensors {'is' if count == 1 else 'are'} named" in text
    assert said in text
    stripped(text.rpartition("strip the names: ")[2], model)
    fits(model)


def stripped(line: str, folder: Path) -> None:
    """What the message says to run, run in the folder."""
    at_home = {"load_file": lambda name: load_file(folder / name), "re": re}
    exec(line, {**at_home, "save_file": lambda tensors, name, metadata: save_file(tensors, folder / name, metadata)})


@pytest.mark.parametrize("part", ["q_proj.lora_A.default.weight", "q_proj.lora_B.weight", "q_proj.ia3_l.default"])
def test_adapters_that_were_not_merged_are_told_to_be(part: str, model: Path) -> None:
    renamed(model, r"q_proj\.", "q_proj.base_layer.")
    rewritten(model, lambda tensors: {**tensors, f"layers.0.self_attn.{part}": torch.zeros(4, 64)})
    text = refusal(model)
    assert f"1 tensor is of adapters that were not merged into the weights, the first layers.0.self_attn.{part}" in text
    assert "merge_and_unload()" in text


@pytest.mark.parametrize(
    ("name", "change", "shapes", "cause"),
    [
        (EMBED, lambda t: torch.cat([t, t[:8]]), "[72, 64], and config.json makes it [64, 64]", "vocab_size to 72"),
        (EMBED, lambda t: t[:60], "[60, 64], and config.json makes it [64, 64]", "resize_token_embeddings(64)"),
        (UP, lambda t: t[:0].flatten(), "[0], and config.json makes it [96, 64]", "an empty part, as FSDP and ZeRO-3"),
        (UP, lambda t: t[:0], "[0, 64], and config.json makes it [96, 64]", "an empty part, as FSDP and ZeRO-3"),
        (UP, lambda t: t.flatten(), "[6144], and config.json makes it [96, 64]", "flattened, as FSDP keeps them"),
        (UP, lambda t: t.flatten()[:99], "[99], and config.json makes it [96, 64]", "a part of a flattened tensor"),
        (UP, lambda t: t.T, "[64, 96], and config.json makes it [96, 64]", "transposed"),
        (UP, lambda t: t[:48], "[48, 64], and config.json makes it [96, 64]", "one of 2 parts, as tensor parallelism"),
        (UP, lambda t: t[:50, :50], "[50, 50], and config.json makes it [96, 64]", "do not belong together"),
        (NORM, lambda t: t[:7], "[7], and config.json makes it [64]", "do not belong together"),
    ],
)
def test_a_shape_is_told_with_both_and_what_made_it_so(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], shapes: str, cause: str, model: Path
) -> None:
    rewritten(model, lambda tensors: {**tensors, name: change(tensors[name])})
    what, why = refusal(model).split("\n")
    assert what == f"{model}/model.safetensors: {name} is {shapes}"
    assert cause in why


def test_of_several_shapes_the_embedding_comes_first_and_the_others_are_counted(model: Path) -> None:
    restated(model, vocab_size=80, intermediate_size=128)
    assert "embed_tokens.weight is [64, 64], and config.json makes it [80, 64] (9 more tensors differ)" in refusal(
        model
    )


def test_an_expert_of_another_shape_is_told_with_what_it_goes_into(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("qwen3_moe"))
    fits(folder)
    name = "layers.1.mlp.experts.3.up_proj.weight"
    rewritten(folder, lambda tensors: {**tensors, name: torch.zeros(0)})
    text = refusal(folder)
    assert (
        f"{name} is [0], and config.json makes what it goes into, layers.1.mlp.experts.gate_up_proj, [8, 64, 64]"
        in text
    )
    assert "an empty part" in text


@pytest.mark.parametrize("model_type", ["qwen3_moe", "gemma3", "gpt_oss", "qwen3_5_moe", "mixtral"])
def test_what_fits_is_let_pass_whatever_else_the_files_hold(model_type: str, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model(model_type))
    fits(folder)
    more: Mapping[str, Any] = {"value_head.weight": torch.zeros(1, 64), "model.extra.module.weight": torch.zeros(2)}
    rewritten(folder, lambda tensors: {**tensors, **more})
    fits(folder)


def test_what_is_missing_under_no_other_name_is_left_to_loading(model: Path) -> None:
    rewritten(model, lambda tensors: {name: t for name, t in tensors.items() if name != UP})
    fits(model)
    rewritten(model, lambda tensors: {**tensors, "module.other.weight": torch.zeros(2)})
    fits(model)


def test_scales_and_codes_of_quantized_weights_are_no_misfits(model: Path) -> None:
    fits(in_fp8(model))


def test_a_run_ends_before_it_loads_with_exit_code_4(model: Path, corpus: Path, pytester: pytest.Pytester) -> None:
    renamed(model, r"^", "_orig_mod.")
    common = [f"--maxact-model={model}", f"--maxact-corpus={corpus}"]
    run_gate(pytester, *common, refuses="35 of 35 tensors are named as torch.compile names them", lacks=["mismatched"])
