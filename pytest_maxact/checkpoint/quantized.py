"""What is known of weights in low bits before any are loaded: what is said of them and headers in; whether this version
reads them, and how they lie in the files, out.

Guard: weights are measured as they are meant, or not at all. Those of a method whose values nobody gives back in 16
bits are refused by name, and so is a checkpoint whose config says one thing and whose files hold another.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.stated import Quantization, told_beside
from pytest_maxact.checkpoint.formats.table import is_read, leaves_weights, packing_of
from pytest_maxact.checkpoint.headers import FLOATS, Header
from pytest_maxact.errors import InputError, setting

_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_LOW = re.compile(r"^(?:F[468]_?\w*|[IU](?:8|16|32)|[IU]4)$")
_NO_WEIGHT = re.compile(r"(?:bias|mask|ids|idx|index|indices|inv_freq|num_batches_tracked|steps?)$")
_WEIGHT = re.compile(r"(?:\.(?:q?weight|weight_packed|weight_int8|qzeros)|_proj(?:_packed|_blocks)?|_blocks)$")


def refuse_unread(stated: Quantization | None) -> None:
    """Raise InputError for a method that this version does not read, whatever the files hold."""
    if stated and not is_read(stated):
        raise _not_gated(stated)


def with_packing(files: WeightFiles, stated: Quantization | None) -> WeightFiles:
    """The files, with what is known of those of their weights that lie in low bits.

    Raises InputError for weights in low bits that this version does not read, that lack a part, or of which nothing is
    known, and for files that hold other than is said of them.
    """
    raw = files.headers()
    low = [header for _, header in raw if _is_low(header)]
    weights = [header for header in low if _WEIGHT.search(header.key)]
    cache_alone = stated is not None and leaves_weights(stated)
    if stated and not low and not cache_alone:
        raise InputError(
            f"{stated.where} says that the weights are {stated.words}, and the files hold none in low bits, only "
            f"{_kinds(header for _, header in raw)}\n"
            "  loaders would look for scales that are not there; take that entry out, or export the checkpoint again"
        )
    if not stated and weights:
        stated = told_beside(files.folder)
        if stated is None:
            raise InputError(
                f"{files.folder}: {_counted(weights)}, of which config.json says nothing\n"
                "  their scales are unknown; give the checkpoint in 16 bits, or its quantization_config"
            )
    refuse_unread(stated)
    if stated is None:
        return files
    packing = packing_of(stated, raw)
    if not packing.packed and not cache_alone:
        raise InputError(
            f"{stated.where} says that the weights are {stated.words}, and the files hold {_kinds(low)}\n"
            "  config.json and the weight files do not belong together; export the checkpoint again"
        )
    if left := [header for header in low if header.key not in packing.used]:
        raise InputError(
            f"{files.folder}: {_counted(left)}, which {stated.words} does not explain, though {stated.where} says so\n"
            "  their scales are unknown; export the checkpoint again"
        )
    return replace(files, packing=packing)


def stored_as(files: WeightFiles, dtype: str) -> str:
    """How most of the entries lie in the files, in words, where that is not the `dtype` in which they are measured."""
    amounts: Counter[str] = Counter()
    for _, header in files.headers():
        amounts[header.dtype] += prod(header.shape)
    most = max(amounts, key=lambda name: (amounts[name], name), default="")
    if files.packing and files.packing.packed:
        return files.packing.words
    name = _NAMES.get(most, most)
    return "" if name == dtype else f"{name}, and cast on loading"


def _not_gated(stated: Quantization) -> InputError:
    return InputError(
        f"{stated.where} says that the weights are quantized with {stated.words}, which this version does not gate\n"
        f"  gate the checkpoint before it was quantized; {setting('deploy')} SCHEME tells there what low bits cost"
    )


def _is_low(header: Header) -> bool:
    if _WEIGHT.search(header.key):
        return header.dtype not in FLOATS
    return bool(_LOW.match(header.dtype)) and not _NO_WEIGHT.search(header.key)


def _kinds(headers: Iterable[Header]) -> str:
    return ", ".join(sorted({_NAMES.get(header.dtype, header.dtype) for header in headers}))


def _counted(weights: Sequence[Header]) -> str:
    more = f" and {len(weights) - 1} more weights are" if len(weights) > 1 else " is"
    return f"{weights[0].key}{more} {weights[0].dtype}"
