"""Faults of an index, of shards and of GGUF files are named; the same files without them have none, and one shard by
name is looked at with what lies in the others.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.numbers.lint import LINTS
from tests.support.exports import gguf
from tests.support.file_defects import FILE_DEFECTS, FIRST, INDEX, SECOND, sharded
from tests.support.linting import changed, export


@pytest.mark.parametrize("name", FILE_DEFECTS)
def test_a_planted_fault_is_red_and_named(name: str, tmp_path: Path) -> None:
    defect, folder = FILE_DEFECTS[name], tmp_path / "export"
    if defect.sharded:
        sharded(Path(shutil.copytree(export("compressed W4A16"), folder)))
    found = lint(defect.plant(folder))
    named = [fault for fault in found.faults if fault.code == defect.code and defect.tensor in fault.tensor]
    assert named, [(fault.code, fault.tensor, fault.what) for fault in found.faults]
    assert not LINTS[defect.code].remark
    assert named[0].layer is not None or defect.tensor in (FIRST, SECOND, INDEX, "model.gguf", "token_embd.weight")


@pytest.mark.parametrize("name", ["plain", "compressed W4A16", "modelopt NVFP4", "mxfp8"])
def test_an_export_in_shards_has_no_finding_nor_has_one_of_them_by_name(name: str, tmp_path: Path) -> None:
    folder = sharded(Path(shutil.copytree(export(name), tmp_path / "export")))
    for path in (folder, folder / FIRST, folder / SECOND):
        found = lint(path)
        assert (found.red, dict(found.counts)) == (0, {}), (path, found.faults[:3])


def test_what_is_wrong_in_a_shard_is_told_of_that_shard_alone(tmp_path: Path) -> None:
    def spoil(tensors: dict, config: dict) -> None:  # type: ignore[type-arg]
        for key in [key for key in tensors if key.endswith("weight_scale")]:
            tensors[key].fill_(float("nan"))

    folder = sharded(changed(tmp_path / "export", "compressed W4A16", spoil))
    whole, first, second = (
        {fault.tensor for fault in lint(path).faults} for path in (folder, folder / FIRST, folder / SECOND)
    )
    assert first | second == whole
    assert not first & second
    assert first


def test_one_shard_without_the_others_misses_nothing_that_may_lie_there(tmp_path: Path) -> None:
    folder = sharded(Path(shutil.copytree(export("modelopt FP8 kv"), tmp_path / "export")))
    (folder / FIRST).unlink()
    found = lint(folder / SECOND)
    assert (found.red, dict(found.counts)) == (0, {"apart": 1})
    assert FIRST in found.faults[0].what


Spoil = Callable[[Path], object]


def _without_key(folder: Path) -> str:
    """The shard that is there loses a tensor that the index places in it."""
    tensors = load_file(folder / SECOND)
    key = min(key for key in tensors if key.endswith("norm.weight"))
    del tensors[key]
    save_file(tensors, folder / SECOND)
    return key


def _in_index(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index)
        (folder / INDEX).write_text(json.dumps(index))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "code", "tensor"),
    [
        (lambda folder: (folder / "hf_quant_config.json").write_text("{"), "file", "hf_quant_config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "file", "config.json"),
        (_without_key, "index", "norm.weight"),
        (_in_index(lambda index: index.pop("weight_map")), "index", INDEX),
        (
            _in_index(lambda index: index["weight_map"].update({"model.layers.1.extra.weight": SECOND})),
            "index",
            "model.layers.1.extra.weight",
        ),
        (lambda folder: (folder / SECOND).write_bytes(b"\x10"), "file", SECOND),
    ],
    ids=["side file", "config", "a tensor that is gone", "no index", "a tensor too many in the index", "damaged"],
)
def test_what_has_no_place_in_a_shard_is_told_though_others_are_not_there(
    spoil: Spoil, code: str, tensor: str, tmp_path: Path
) -> None:
    folder = sharded(Path(shutil.copytree(export("modelopt FP8 kv"), tmp_path / "export")))
    (folder / FIRST).unlink()
    spoil(folder)
    found = lint(folder / SECOND)
    assert [fault for fault in found.faults if fault.code == code and tensor in fault.tensor], found.faults
    assert {fault.code for fault in found.faults} <= {code, "apart"}, found.faults


def test_a_tensor_that_two_shards_hold_is_told_of_either(tmp_path: Path) -> None:
    folder = sharded(Path(shutil.copytree(export("plain"), tmp_path / "export")))
    first = load_file(folder / FIRST)
    key = min(first)
    save_file({**load_file(folder / SECOND), key: first[key]}, folder / SECOND)
    for name in (FIRST, SECOND):
        assert [fault.tensor for fault in lint(folder / name).faults if "both hold it" in fault.what] == [key]


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_set_that_is_whole_lacks_is_told_of_each_of_its_files(count: int, tmp_path: Path) -> None:
    def spoil(tensors: dict, config: dict) -> None:  # type: ignore[type-arg]
        for key in [key for key in tensors if key.endswith("k_scale")]:
            del tensors[key]

    folder = changed(tmp_path / "export", "modelopt FP8 kv", spoil)
    files = [folder / "model-00001-of-00001.safetensors"]
    if count == 1:
        (folder / "model.safetensors").rename(files[0])
    else:
        files = [place / name for place in [sharded(folder)] for name in (FIRST, SECOND)]
    for path in (folder, *files):
        assert "kv_scale" in {fault.code for fault in lint(path).faults}, path


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "Q5_0", "F16"])
def test_a_sound_gguf_file_has_no_finding(kind: str, tmp_path: Path) -> None:
    found = lint(gguf.export(tmp_path / "model.gguf", kind))
    assert (found.red, dict(found.counts)) == (0, {}), found.faults[:3]
