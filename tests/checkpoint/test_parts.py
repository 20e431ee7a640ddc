"""Which files of a folder decide what a model is: one list for what is sealed, hashed and stated."""

from pathlib import Path

import pytest

from pytest_maxact.checkpoint.parts import is_small, parts

SMALL = [
    "config.json", "generation_config.json", "preprocessor_config.json", "model.safetensors.index.json",
    "pytorch_model.bin.index.json", "special_tokens_map.json", "added_tokens.json", "dict.txt", "modules.json",
    "params.json", "tokenizer.json", "tokenizer.model", "tekken.json", "vocab.txt", "merges.txt", "chat_template.jinja",
    "other.jinja", "spiece.model", "qwen.tiktoken", "sentencepiece.spm", "bpe.codes", "modeling_x.py", "optimizer.py",
]  # fmt: skip
LARGE = [
    "model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin", "consolidated.00.pth", "x.pt",
    "model.ckpt", "model-Q4.gguf", "tf_model.h5", "flax_model.msgpack", "model.onnx",
]  # fmt: skip
NEITHER = [
    "README.md", "LICENSE", "trainer_state.json", "training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt",
    "scaler.pt", "rng_state.pth", "rng_state_0.pth", "model.safetensors.part", "xconfig.json.bak", ".gitattributes",
    "events.bin",
]  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_decides(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert parts(tmp_path) == [tmp_path / name]
    assert is_small(tmp_path / name)


@pytest.mark.parametrize("name", LARGE)
def test_weights_of_every_format_decide(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert parts(tmp_path) == [tmp_path / name]
    assert not is_small(tmp_path / name)


@pytest.mark.parametrize("name", NEITHER)
def test_what_a_training_or_a_person_leaves_does_not(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert parts(tmp_path) == []


def test_templates_beside_are_parts_and_folders_are_none(tmp_path: Path) -> None:
    templates = tmp_path / "additional_chat_templates"
    templates.mkdir()
    (templates / "tools.jinja").touch()
    (tmp_path / "z.safetensors").touch()
    (tmp_path / "tokenizer").mkdir()
    assert parts(tmp_path) == [templates / "tools.jinja", tmp_path / "z.safetensors"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parts(tmp_path / "none")
