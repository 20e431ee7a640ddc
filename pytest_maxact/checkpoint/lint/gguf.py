"""A GGUF file, or a part of one that was split, in; what is wrong with its tensors out: infos, and the scales of
blocks, as llama.cpp checks them when it is asked to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.formats.gguf import Contents, bytes_of, header_of
from pytest_maxact.checkpoint.formats.gguf_parts import family
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.errors import first_line
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
    held: list[tuple[Path, Contents]] = []
    for part in map(file.with_name, family(file.name)):
        try:
            held.append((part, header_of(part)))
        except FileNotFoundError:
            return lint_of("GGUF", 0, 0, [fault("file", part.name, "this part of it is not there")])
        except (ValueError, KeyError, IndexError, OSError, OverflowError) as error:
            what = f"it is cut off, damaged or no GGUF file: {first_line(error)}"
            return lint_of("GGUF", 0, 0, [fault("file", part.name, what)])
    headers = [header for _, one in held for header in one.headers]
    low = [header.dtype for header in headers if header.dtype not in _FLOATS]
    faults = [*_infos(held[0][1], headers), *_data([(part, one.headers) for part, one in held], codes)]
    form = ", ".join(sorted(set(low))) or "16 bits"
    return lint_of(f"GGUF, {form}", len(headers), len(low), faults)


def _infos(said: Contents, headers: Sequence[Header]) -> Iterator[LintFault]:
    """Blocks that the header counts and the file lacks, or the reverse; rows of the vocabulary."""
    count, tokens = said.blocks, said.tokens
    held: dict[int, list[str]] = {}
    for header in headers:
        if found := _BLOCK.match(header.key):
            held.setdefault(int(found[1]), []).append(header.key)
    if count is not None and held:
        for number in range(count):
            if number not in held:
                yield fault("file", f"blk.{number}", f"no tensor of it lies in the file, and block_count is {count}")
        for number in sorted(held):
            if number >= count:
                yield fault("scale_orphan", held[number][0], f"block_count is {count}, so there is no block {number}")
    rows = next((header.shape[0] for header in headers if header.key == "token_embd.weight"), None)
    if tokens is not None and rows is not None and tokens != rows:
        yield fault("packing", "token_embd.weight", f"it has {rows} rows, and the tokenizer {tokens} tokens")


def _data(parts: Sequence[tuple[Path, Sequence[Header]]], codes: int | None) -> Iterator[LintFault]:
    left, unread = codes, 0
    held = [(header, read) for part, headers in parts for read in [bytes_of(part)] for header in headers]
    for header, read in sorted(held, key=lambda one: one[0].stop - one[0].start):
        size = header.stop - header.start
        if left is not None and size > left:
            unread += 1
            continue
        left = None if left is None else left - size
        yield from _of_tensor(header.key, header.dtype, read(header))
    if unread and codes:
        yield fault("unread", "blocks", f"the scales of {counted(unread, 'tensor')}, beyond {codes >> 30} GiB")


def _of_tensor(name: str, kind: str, raw: npt.NDArray[np.uint8]) -> Iterator[LintFault]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    raw = raw.reshape(-1)
    if kind in _FLOATS:
        whole, beyond = _FLOATS[kind]
        sign = 1 << (8 * np.dtype(whole).itemsize - 1)
        broken = int(np.count_nonzero((raw.view(whole) & whole(sign - 1)) >= whole(beyond)))
        if broken:
            yield fault("codes", name, f"{counted(broken, 'entry')} of it are NaN or infinite")
        return
    _, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
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
            yield fault("scale_zero", name, f"the scales of all {counted(len(blocks), 'block')} are zero")
    if broken:
        yield fault(
            "scale_nonfinite",
            name,
            f"the scales of {broken} of {counted(len(blocks), 'block')} are NaN or infinite",
        )
