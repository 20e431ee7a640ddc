"""Faults of weight files as such: of an index and its shards, and of GGUF files. Each is planted in a sound export; the
finding must name what is wrong. Those after public reports say which; nothing of theirs is copied.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from tests.support.exports import gguf
from tests.support.exports.source import source

INDEX = "model.safetensors.index.json"
FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
Plant = Callable[[Path], Path]
"""A folder in which there is a sound, sharded export, or nothing; what is to be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDefect:
    """`code` and `tensor` (or file) of the finding; `report`: the public one, if any; `sharded`: planted in an export
    of two files.
    """

    plant: Plant
    code: str
    tensor: str
    report: str = ""
    sharded: bool = True


def sharded(folder: Path) -> Path:
    """An export of one file cut into two, with an index: every other tensor lies in the second."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {key: (FIRST, SECOND)[place % 2] for place, key in enumerate(sorted(tensors))}
    for name in (FIRST, SECOND):
        save_file({key: tensors[key] for key in tensors if weight_map[key] == name}, folder / name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}))
    return folder


def _unlink(*names: str) -> Plant:
    def plant(folder: Path) -> Path:
        for name in names:
            (folder / name).unlink()
        return folder

    return plant


def _cut(folder: Path) -> Path:
    file = folder / SECOND
    file.write_bytes(file.read_bytes()[:-64])
    return folder


def _mapped(change: Callable[[dict[str, str]], None]) -> Plant:
    """The index with another weight_map."""

    def plant(folder: Path) -> Path:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))
        return folder

    return plant


def _without_map(folder: Path) -> Path:
    (folder / INDEX).write_text("{}")
    return folder


def _twice(folder: Path) -> Path:
    """A tensor of the first file in the second too, as a file taken over from another checkpoint holds it."""
    first, second = load_file(folder / FIRST), load_file(folder / SECOND)
    key = _key(first)
    save_file({**second, key: first[key].clone()}, folder / SECOND)
    return folder


def _key(names: Any) -> str:
    """The first tensor of the second layer."""
    return next(name for name in sorted(names) if name.startswith("model.layers.1."))


def _block(kind: str, name: str, scale: float, every: bool = False) -> Plant:
    """A GGUF file with the scale of one block, or of all of them, replaced."""

    def plant(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = gguf.export(folder / "model.gguf", kind)
        tensor = next(one for one in GGUFReader(file).tensors if one.name == name)
        content = bytearray(file.read_bytes())
        size = {"Q4_1": 20, "Q8_0": 34, "F32": int(tensor.n_bytes)}[kind if len(tensor.shape) > 1 else "F32"]
        raw = np.float32(scale).tobytes() if size == int(tensor.n_bytes) else np.float16(scale).tobytes()
        for block in range(int(tensor.n_bytes) // size if every else 1):
            start = int(tensor.data_offset) + block * size
            content[start : start + len(raw)] = raw
        file.write_bytes(content)
        return file

    return plant


def _cut_gguf(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = gguf.export(folder / "model.gguf", "Q8_0")
    file.write_bytes(file.read_bytes()[: -(1 << 12)])
    return file


def _other_vocabulary(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    origin = source(folder / "source", "llama", num_hidden_layers=1, vocab_size=260)
    return gguf.export(folder / "model.gguf", "Q8_0", origin)


_GIT = "https://github.com/"
_ATTENTION, _FFN = "blk.0.attn_q.weight", "blk.0.ffn_down.weight"
FILE_DEFECTS: dict[str, FileDefect] = {
    "shards: one that the index names is not there": FileDefect(
        plant=_unlink(SECOND), code="file", tensor=SECOND, report=f"{_GIT}sgl-project/sglang/pull/32279"
    ),
    "shards: one is cut off": FileDefect(
        plant=_cut, code="file", tensor=SECOND, report=f"{_GIT}osaurus-ai/vmlx-swift/pull/217"
    ),
    "shards: one is missing, and there is no index": FileDefect(
        plant=_unlink(SECOND, INDEX), code="file", tensor=SECOND
    ),
    "shards: there is no index": FileDefect(plant=_unlink(INDEX), code="index", tensor=INDEX),
    "shards: an index that is none": FileDefect(plant=_without_map, code="index", tensor=INDEX),
    "shards: the index places a tensor in the other file": FileDefect(
        plant=_mapped(lambda found: found.update({_key(found): FIRST if found[_key(found)] == SECOND else SECOND})),
        code="index", tensor="model.layers.1.",
    ),
    "shards: the index leaves a tensor out": FileDefect(
        plant=_mapped(lambda found: found.pop(_key(found)) and None), code="index", tensor="model.layers.1.",
        report=f"{_GIT}NVIDIA/TensorRT-LLM/pull/16437",
    ),
    "shards: the index names a tensor that no file holds": FileDefect(
        plant=_mapped(lambda found: found.update({"model.layers.1.mlp.up_proj.bias": FIRST})), code="index",
        tensor="model.layers.1.mlp.up_proj.bias",
    ),
    "shards: two files hold a tensor": FileDefect(
        plant=_twice, code="index", tensor="model.layers.1.", report=f"{_GIT}vllm-project/vllm/pull/54230"
    ),
    "GGUF Q4_1: a scale that is NaN": FileDefect(
        plant=_block("Q4_1", _ATTENTION, float("nan")), code="scale_nonfinite", tensor=_ATTENTION, sharded=False,
        report=f"{_GIT}ggml-org/llama.cpp/pull/6884",
    ),
    "GGUF Q8_0: an infinite scale": FileDefect(
        plant=_block("Q8_0", _FFN, float("inf")), code="scale_nonfinite", tensor=_FFN, sharded=False
    ),
    "GGUF Q8_0: scales of zero": FileDefect(
        plant=_block("Q8_0", _FFN, 0.0, every=True), code="scale_zero", tensor=_FFN, sharded=False
    ),
    "GGUF: a norm that is NaN": FileDefect(
        plant=_block("Q8_0", "blk.0.attn_norm.weight", float("nan")), code="codes", tensor="blk.0.attn_norm.weight",
        sharded=False,
    ),
    "GGUF: cut off": FileDefect(plant=_cut_gguf, code="file", tensor="model.gguf", sharded=False),
    "GGUF: a table of other rows than its tokenizer has tokens": FileDefect(
        plant=_other_vocabulary, code="packing", tensor="token_embd.weight", sharded=False
    ),
}  # fmt: skip
