"""Configs that no exporter writes, and folders that are damaged: a look at them finds faults, and never fails itself;
what exporters do write is no fault.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.formats.table import is_read
from pytest_maxact.checkpoint.lint.artifact import said_in
from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.checkpoint.lint.methods import stated_in
from pytest_maxact.errors import InputError
from tests.support.exports.source import restored
from tests.support.linting import export


def changed(folder: Path, name: str, **stated: Any) -> Path:
    """A copy of a sound export, of which the config says something else."""
    shutil.copytree(export(name), folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= stated
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("fp8 block", {"weight_block_size": [None, None]}),
        ("fp8 block", {"weight_block_size": ["a", "b"]}),
        ("fp8 block", {"modules_to_not_convert": True}),
        ("compressed W8A8", {"config_groups": {"g": {"targets": 5, "weights": {"num_bits": 8}}}}),
        ("compressed W8A8", {"config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": "eight"}}}}),
        ("compressed W8A8", {"ignore": 7}),
        ("compressed W8A8", {"config_groups": {"g": {"targets": ["Linear"], "format": "int-v2", "weights": {}}}}),
        ("gptq", {"bits": "auto"}),
        ("awq", {"bits": [4]}),
    ],
)
def test_what_is_stated_and_cannot_be_read_is_a_fault(name: str, stated: dict[str, Any], tmp_path: Path) -> None:
    found = lint(changed(tmp_path / "m", name, **stated))
    assert any(fault.code == "format" and "cannot be read" in fault.what for fault in found.faults)


@pytest.mark.parametrize("text", ["{broken", "[]", ""])
def test_a_damaged_config_is_a_fault(text: str, tmp_path: Path) -> None:
    folder = changed(tmp_path / "m", "gptq")
    (folder / "config.json").write_text(text)
    assert any(fault.tensor == "config.json" and fault.code == "file" for fault in lint(folder).faults)


def test_only_the_modules_that_gptq_names_are_to_be_quantized(tmp_path: Path) -> None:
    stated = [["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"], ["mlp.gate_proj"],
              ["mlp.up_proj"], ["mlp.down_proj"]]  # fmt: skip
    assert not lint(changed(tmp_path / "m", "gptq", modules_in_block_to_quantize=stated)).red
    partly = lint(changed(tmp_path / "n", "gptq", modules_in_block_to_quantize=stated[:3]))
    assert {fault.tensor.split(".")[-2] for fault in partly.faults} == {"down_proj"}


@pytest.mark.parametrize("name", ["fp8 block", "modelopt NVFP4 in config", "compressed FP8 llama"])
@pytest.mark.parametrize(("word", "cached"), [("static", "fp8_e4m3"), ("dynamic", "")])
def test_a_word_says_that_the_cache_has_static_scales(name: str, word: str, cached: str, tmp_path: Path) -> None:
    found = lint(folder := changed(tmp_path / "m", name, kv_cache_scheme=word))
    stated = stated_in(said_in(folder))
    assert stated is not None
    assert (stated.cache, stated.cached) == (bool(cached), cached)
    assert ("kv_scale" in {fault.code for fault in found.faults}) == bool(cached)


def test_of_several_gguf_files_one_is_to_be_named(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds 2 GGUF files\n  name the one"):
        lint(tmp_path)


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("fp8 block", {"quant_method": "torchao"}),
        ("compressed W8A8", {"quant_method": "of-tomorrow"}),
        ("modelopt NVFP4 in config", {"quant_algo": "NVFP3"}),
        ("gptq", {"quant_method": None}),
        ("gptq", {"checkpoint_format": "gptq_v3"}),
        ("gptq", {"checkpoint_format": "marlin"}),
        ("awq", {"version": "gemv"}),
    ],
)
def test_a_method_that_is_not_known_is_a_fault_by_its_name(name: str, stated: dict[str, Any], tmp_path: Path) -> None:
    found = lint(changed(tmp_path / "m", name, **stated))
    wanted = next(iter(stated.values())) or "a method that it does not name"
    assert [one.what for one in found.faults if one.code == "method" and wanted in one.what]
    assert found.red


UNREAD = [
    method
    for method in sorted(AUTO_QUANTIZATION_CONFIG_MAPPING)
    if not is_read(Quantization(method=method, detail="", where="")) and method != "gguf"
]


@pytest.mark.parametrize("method", UNREAD)
def test_every_method_of_transformers_that_is_not_read_is_refused_by_its_name(method: str, tmp_path: Path) -> None:
    folder = changed(tmp_path / "m", "fp8 block", quant_method=method)
    with pytest.raises(InputError, match=rf"quantized with {method}.*does not gate\n  gate the checkpoint before"):
        restored(folder)
    assert [one for one in lint(folder).faults if one.code == "method" and method.replace("_", "-") in one.what]


def test_those_of_transformers_that_are_not_read_are_told() -> None:
    assert {"torchao", "hqq", "quanto", "eetq", "higgs", "vptq", "spqr", "aqlm", "bitnet", "nvfp4"} <= set(UNREAD)
