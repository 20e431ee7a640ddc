"""A path that is no model's folder: called by its name, with what to give in its place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings


def said(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        locate(Settings(model=str(path)))
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for step in (100, 200, 1000):
        (tmp_path / f"runs/checkpoint-{step}").mkdir(parents=True)
        (tmp_path / f"runs/checkpoint-{step}/config.json").write_text("{}")
    return tmp_path / "runs"


def test_the_folder_above_models_names_them_and_the_pattern_that_takes_them_all(runs: Path) -> None:
    text = said(runs)
    assert "models lie inside: checkpoint-100, checkpoint-200, checkpoint-1000\n" in text
    assert text.endswith(f"give one: {runs}/checkpoint-1000, or all of them as a series: '{runs}/checkpoint-*'")
    (runs / "logs").mkdir()
    (runs / "trainer.log").write_text("x")
    assert said(runs) == text


def test_no_pattern_is_told_that_would_take_more_than_models(runs: Path) -> None:
    (runs / "checkpoint-300").mkdir()
    assert "series" not in said(runs)
    (runs / "checkpoint-300").rmdir()
    shutil.move(runs / "checkpoint-1000", runs / "final")
    assert said(runs).endswith(f"'{runs}/*'")


def test_models_further_down_are_named_and_of_many_the_first_and_the_last(runs: Path, tmp_path: Path) -> None:
    above = said(tmp_path)
    assert "runs/checkpoint-1000\n" in above
    assert f"'{runs}/checkpoint-*'" in above
    for step in range(2000, 2009):
        shutil.copytree(runs / "checkpoint-100", runs / f"checkpoint-{step}")
    assert "checkpoint-100, ... checkpoint-2008 (12 of them)" in said(runs)


def gguf(folder: Path) -> Path:
    (folder / "model.gguf").write_bytes(b"GGUF\3\0\0\0")
    return folder / "model.gguf"


def gguf_by_another_name(folder: Path) -> Path:
    return gguf(folder).rename(folder / "weights.bin")


def folder_of_gguf(folder: Path) -> Path:
    return gguf(folder).parent


def file_of_a_model(folder: Path) -> Path:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder / "model.safetensors"


def lone(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(b"x")
        return folder / name

    return make


def folder_with(name: str) -> Callable[[Path], Path]:
    return lambda folder: lone(name)(folder).parent


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (gguf, "model.gguf is corrupt, truncated or no GGUF file"),
        (gguf_by_another_name, "weights.bin is a GGUF file of llama.cpp by another name\n  give it the ending .gguf"),
        (folder_of_gguf, "model.gguf is corrupt, truncated or no GGUF file"),
        (file_of_a_model, "is a file of a model\n  give its folder: "),
        (lone("weights.pt"), "is a file of pickled weights"),
        (lone("record.safetensors"), "a Record is judged, not measured (`replay`)"),
        (lone("notes.txt"), "is a file\n  give the folder that holds config.json and the weights"),
        (folder_with("model.safetensors"), "it has no config.json beside model.safetensors\n  copy or download"),
        (folder_with("__0_0.distcp"), "it holds shards of torch.distributed.checkpoint\n  convert it"),
        (folder_with("zero_to_fp32.py"), "a state of DeepSpeed"),
        (folder_with("consolidated.00.pth"), "weights in the form of Meta"),
        (lambda folder: folder, "it has no config.json\n  give a folder written by save_pretrained"),
    ],
)
def test_what_is_given_in_place_of_a_model_is_named(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    assert words in said(make(tmp_path))
