"""Every format that is read: by the method that a checkpoint states, its reader and the library that owns it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_maxact.checkpoint.formats import auto_round, awq, bitsandbytes, compressed, fp8, gptq, modelopt, mxfp4
from pytest_maxact.checkpoint.formats.packed import Held, Inputs, Packing, Reader, never, weights_alone
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.errors import InputError, first_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """`methods`: how configs call it. `library`: the distribution that gives its weights back, "" for a reader of our
    own.
    """

    methods: tuple[str, ...]
    packed: Reader
    library: str = ""
    inputs: Inputs = weights_alone
    leaves_weights: Callable[[Quantization], bool] = never


FORMATS = (
    Format(
        methods=compressed.NAMES, packed=compressed.packed, library="compressed-tensors", inputs=compressed.inputs,
        leaves_weights=compressed.leaves_weights,
    ),
    Format(methods=fp8.NAMES, packed=fp8.packed, inputs=fp8.inputs),
    Format(methods=mxfp4.NAMES, packed=mxfp4.packed, library="transformers"),
    Format(methods=gptq.NAMES, packed=gptq.packed),
    Format(methods=awq.NAMES, packed=awq.packed),
    Format(methods=auto_round.NAMES, packed=auto_round.packed),
    Format(methods=bitsandbytes.NAMES, packed=bitsandbytes.packed),
    Format(
        methods=modelopt.NAMES, packed=modelopt.packed, inputs=modelopt.inputs, leaves_weights=modelopt.leaves_weights
    ),
)  # fmt: skip
_BY_METHOD = {method: one for one in FORMATS for method in one.methods}
BESIDE = (
    "input_scale", "input_zero_point", "input_global_scale", "activation_scale", "output_scale", "output_zero_point",
    "weight_zero_point", "k_scale", "v_scale", "q_scale", "prob_scale", "k_zero_point", "v_zero_point", "kv_scale",
)  # fmt: skip
"""Names of what lies beside weights and is none: scales of activations and of the cache, and zero points of a weight
that has none.
"""


def is_read(stated: Quantization) -> bool:
    """Whether there is a reader for what is stated."""
    return stated.method in _BY_METHOD


def leaves_weights(stated: Quantization) -> bool:
    """Whether what is stated leaves all weights as they are: the cache alone is quantized."""
    return is_read(stated) and _BY_METHOD[stated.method].leaves_weights(stated)


def packing_of(stated: Quantization, held: Sequence[tuple[Path, Header]]) -> Packing:
    """The weights in low bits of a checkpoint whose method is read. Raises InputError for one that lacks a part, and
    where the library that gives them back is not there.
    """
    form, parts = _BY_METHOD[stated.method], Held.of(held)
    library = _library(form, stated)
    try:
        found = {one.key: one for one in form.packed(stated, parts)}
    except (TypeError, ValueError, LookupError, AttributeError, ZeroDivisionError, re.error) as error:
        raise InputError(
            f"{stated.where}: {stated.words} cannot be read ({type(error).__name__}: {first_line(error)})\n"
            "  export the checkpoint again"
        ) from error
    taken = {part.header.key for one in found.values() for part in one.parts.values()}
    beside = {key: part for key, part in parts.parts.items() if key not in taken and key.rpartition(".")[2] in BESIDE}
    return Packing(stated=stated, library=library, packed=found, beside=beside, activations=form.inputs(stated))


def _library(form: Format, stated: Quantization) -> str:
    name = form.library or "pytest-maxact"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError as error:
        raise InputError(
            f"{stated.where} says that the weights are {stated.words}, which the package {name} gives back, and it is "
            f"not installed\n  pip install {name}"
        ) from error
