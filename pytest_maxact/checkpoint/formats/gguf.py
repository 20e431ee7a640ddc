"""GGUF files of llama.cpp, as data: a file, or the parts of one that was split, in; its tensors, what is said of them,
and their values out, each given back by the package gguf. Config, tokenizer and the names of a model are transformers'
to tell.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.formats.gguf_parts import refuse_unlike
from pytest_maxact.checkpoint.formats.gguf_quick import quick_reader
from pytest_maxact.checkpoint.formats.packed import Packed, Packing
from pytest_maxact.checkpoint.formats.part import Part
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.errors import InputError, first_line

SUFFIX = ".gguf"
_PLAIN = ("F32", "F16", "BF16", "F64")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Of a GGUF file: its tensors in their order, the architecture it names, how many blocks and tokens it says that
    there are (None where it does not say), of how many parts it is one, and which, from 0.
    """

    architecture: str
    headers: tuple[Header, ...]
    blocks: int | None
    tokens: int | None
    parts: int
    number: int


def is_gguf(file: Path) -> bool:
    """Whether a file that is there is called as GGUF files are."""
    return file.suffix.lower() == SUFFIX and file.is_file()


def contents(file: Path) -> Contents:
    """What a file says that it holds. Raises InputError for one that is cut off or no GGUF file, and without the
    packages that read it.
    """
    for name in ("gguf", "accelerate"):
        _require(name, file)
    try:
        return header_of(file)
    except Exception as error:
        raise InputError(
            f"{file} is corrupt, truncated or no GGUF file: {first_line(error) or type(error).__name__}\n"
            "  copy or download it again"
        ) from error


def header_of(file: Path) -> Contents:
    """What a file says that it holds, read once as long as it is the same. Raises what the package gguf does for one
    that it cannot read.
    """
    _require("gguf", file)
    stat = file.stat()
    return _header(file, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@functools.lru_cache(maxsize=256)
def _header(file: Path, stamp: tuple[int, ...]) -> Contents:
    reader = quick_reader()(file)
    if reader.byte_order != "I":
        raise ValueError("its numbers lie in the byte order of another kind of machine")

    def said(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    architecture = str(said("general.architecture") or "")
    blocks, tokens = said(f"{architecture}.block_count"), reader.get_field("tokenizer.ggml.tokens")
    headers = tuple(
        Header(
            key=tensor.name,
            dtype=tensor.tensor_type.name,
            shape=tuple(int(side) for side in reversed(tensor.shape)),
            start=int(tensor.data_offset),
            stop=int(tensor.data_offset + tensor.n_bytes),
        )
        for tensor in reader.tensors
    )
    return Contents(
        architecture=architecture, headers=headers, blocks=blocks if isinstance(blocks, int) else None,
        tokens=None if tokens is None else len(tokens.data), parts=max(1, int(said("split.count") or 1)),
        number=int(said("split.no") or 0),
    )  # fmt: skip


def bytes_of(file: Path) -> Callable[[Header], npt.NDArray[np.uint8]]:
    """What gives a tensor of a file as it lies there, [rows, bytes of one]."""
    whole = np.memmap(file, np.uint8, "r")
    return lambda header: whole[header.start : header.stop].reshape(max(1, prod(header.shape[:-1])), -1)


def packing_of_gguf(parts: Sequence[Path]) -> Packing:
    """How the tensors of a file, or of all of its parts in order, lie in them. Raises InputError for parts that do not
    make up one file.
    """
    held = [(file, contents(file)) for file in parts]
    refuse_unlike([(file, one.number, one.parts, [header.key for header in one.headers]) for file, one in held])
    amounts: dict[str, int] = {}
    for header in (header for _, one in held for header in one.headers):
        amounts[header.dtype] = amounts.get(header.dtype, 0) + prod(header.shape)
    most = max(amounts, key=lambda name: (name not in _PLAIN, amounts[name]), default="")
    packed = {
        header.key: Packed(
            key=header.key,
            shape=header.shape,
            parts={header.key: Part(file=file, header=header)},
            restore=functools.partial(_restored, kind=header.dtype, shape=header.shape),
            bits=8 * (header.stop - header.start) // max(1, prod(header.shape)),
            group=_group(header.dtype),
        )
        for file, one in held
        for header in one.headers
    }
    file = parts[0]
    stated = Quantization(method="gguf", detail=most, where=str(file), entries={"quant_method": "gguf", "type": most})
    return Packing(stated=stated, library=f"gguf {version('gguf')}", packed=packed)


def values_of(file: Path) -> Iterator[tuple[Header, Iterator[npt.NDArray[Any]]]]:
    """Every tensor with its values, in pieces of whole rows. Raises InputError likewise."""
    headers, raw = contents(file).headers, bytes_of(file)
    for header in headers:
        yield header, _pieces(raw(header), header)


def _pieces(raw: npt.NDArray[np.uint8], header: Header) -> Iterator[npt.NDArray[Any]]:
    from gguf import GGMLQuantizationType, dequantize

    height = max(1, _PIECE // max(1, raw.shape[1]))
    for start in range(0, len(raw), height):
        with np.errstate(all="ignore"):  # a scale that is infinite makes NaN of entries that are zero
            values = dequantize(raw[start : start + height], GGMLQuantizationType[header.dtype])
        yield values


def _restored(parts: Any, kind: str, shape: tuple[int, ...]) -> Any:
    import torch
    from gguf import GGMLQuantizationType, dequantize

    (raw,) = parts.values()
    return torch.from_numpy(dequantize(raw, GGMLQuantizationType[kind])).reshape(shape)


def _group(kind: str) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    size = int(GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0])
    return size if size > 1 else 0


def _require(package: str, file: Path) -> None:
    try:
        version(package)
    except PackageNotFoundError as error:
        raise InputError(
            f"{file} is a GGUF file, for which the packages gguf and accelerate are needed, and {error.name} is not "
            f"installed\n  pip install gguf accelerate"
        ) from error
