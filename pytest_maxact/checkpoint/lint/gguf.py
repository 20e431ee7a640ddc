"""A GGUF file, or a part of one that was split, in; what is wrong with its tensors out: infos, and the scales of
blocks, as llama.cpp checks them when it is asked to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_maxact.checkpoint.formats.gguf_parts import family
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.errors import InputError, first_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import Lint, LintFault, lint_of

_SCALES: Mapping[str, tuple[int, ...]] = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,), "IQ2_XXS": (0,), "IQ2_XS": (0,),
    "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ1_S": (0,), "TQ1_0": (52,), "TQ2_0": (64,),
}  # fmt: skip
"""Where in a block its scales in float16 lie, by type."""
_FLOATS: Mapping[str, tuple[Any, int]] = {
    "F64": (np.uint64, 0x7FF << 52), "F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}  # fmt: skip
_BLOCK = re.compile(r"^blk\.(\d+)\.")


def lint_gguf(file: Path, codes: int | None) -> Lint:
    """`codes`: how many bytes of tensors are read, None for all."""
    try:
        from gguf import GGMLQuantizationType, GGUFReader
    except ImportError as error:
        raise InputError(f"{file}: reading it takes the package gguf\n  pip install gguf") from error
    readers: list[Any] = []
    for part in map(file.with_name, family(file.name)):
        try:
            readers.append(GGUFReader(part))
        except FileNotFoundError:
            return lint_of("GGUF", 0, 0, [fault("file", part.name, "this part of it is not there")])
        except (ValueError, KeyError, IndexError, OSError, UnicodeDecodeError, OverflowError) as error:
            what = f"it is cut off, damaged or no GGUF file: {first_line(error)}"
            return lint_of("GGUF", 0, 0, [fault("file", part.name, what)])
    reader, tensors = readers[0], [tensor for one in readers for tensor in one.tensors]
    kinds = {tensor.name: GGMLQuantizationType(tensor.tensor_type).name for tensor in tensors}
    faults = [*_infos(reader, tensors), *_data(tensors, kinds, codes)]
    low = [name for name in kinds.values() if name not in _FLOATS]
    form = ", ".join(sorted(set(low))) or "16 bits"
    return lint_of(f"GGUF, {form}", len(kinds), len(low), faults)


def _field(reader: Any, key: str) -> Any:
    found = reader.get_field(key)
    return found.contents() if found is not None else None


def _infos(reader: Any, tensors: Sequence[Any]) -> Iterator[LintFault]:
    """Blocks that the header counts and the file lacks, or the reverse; rows of the vocabulary."""
    architecture = _field(reader, "general.architecture")
    count = _field(reader, f"{architecture}.block_count")
    held: dict[int, list[str]] = {}
    for tensor in tensors:
        if found := _BLOCK.match(tensor.name):
            held.setdefault(int(found[1]), []).append(tensor.name)
    if isinstance(count, int) and held:
        for number in range(count):
            if number not in held:
                yield fault("file", f"blk.{number}", f"no tensor of it lies in the file, and block_count is {count}")
        for number in sorted(held):
            if number >= count:
                yield fault("scale_orphan", held[number][0], f"block_count is {count}, so there is no block {number}")
    tokens = reader.get_field("tokenizer.ggml.tokens")
    table = next((tensor for tensor in tensors if tensor.name == "token_embd.weight"), None)
    if tokens is not None and table is not None and len(tokens.data) != int(table.shape[-1]):
        yield fault(
            "packing", table.name, f"it has {int(table.shape[-1])} rows, and the tokenizer {len(tokens.data)} tokens"
        )


def _data(tensors: Sequence[Any], kinds: Mapping[str, str], codes: int | None) -> Iterator[LintFault]:
    left, unread = codes, 0
    for tensor in sorted(tensors, key=lambda tensor: int(tensor.n_bytes)):
        size = int(tensor.n_bytes)
        if left is not None and size > left:
            unread += 1
            continue
        left = None if left is None else left - size
        yield from _of_tensor(tensor, kinds[tensor.name])
    if unread and codes:
        yield fault("unread", "blocks", f"the scales of {counted(unread, 'tensor')}, beyond {codes >> 30} GiB")


def _of_tensor(tensor: Any, kind: str) -> Iterator[LintFault]:
    from gguf import GGML_QUANT_SIZES

    raw = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1)
    if kind in _FLOATS:
        whole, beyond = _FLOATS[kind]
        sign = 1 << (8 * np.dtype(whole).itemsize - 1)
        broken = int(np.count_nonzero((raw.view(whole) & whole(sign - 1)) >= whole(beyond)))
        if broken:
            yield fault("codes", tensor.name, f"{counted(broken, 'entry')} of it are NaN or infinite")
        return
    _, size = GGML_QUANT_SIZES[tensor.tensor_type]
    blocks = raw.reshape(-1, size)
    if kind == "MXFP4":
        broken = int(np.count_nonzero(blocks[:, 0] == 0xFF))
    else:
        places = _SCALES.get(kind, ())
        wrong = np.zeros(len(blocks), bool)
        for place in places:
            wrong |= (blocks[:, place + 1] & 0x7C) == 0x7C
        broken = int(np.count_nonzero(wrong))
        if places and not blocks[:, places[0] : places[0] + 2].any() and blocks.any():
            yield fault("scale_zero", tensor.name, f"the scales of all {counted(len(blocks), 'block')} are zero")
    if broken:
        yield fault(
            "scale_nonfinite",
            tensor.name,
            f"the scales of {broken} of {counted(len(blocks), 'block')} are NaN or infinite",
        )
