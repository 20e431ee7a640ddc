"""What is known of weights in low bits before any are loaded: config, side files and headers in; whether this version
measures them, and how they lie in the files, out.

Guard: weights are measured as they are meant, or not at all. Those of a method whose values nobody gives back in 16
bits are refused by name, and so is a checkpoint whose config says one thing and whose files hold another.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.headers import FLOATS, Header
from pytest_maxact.errors import InputError, cut, setting
from pytest_maxact.settings.userfiles import text_of

_MEASURED = {"fp8": ("F8_",), "mxfp8": ("F8_",), "mxfp4": ("U8", "F4")}
"""Methods whose weights transformers gives back in 16 bits, in the modules of the model that was quantized, and how the
dtypes begin in which they lie.
"""
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_LOW = re.compile(r"^(?:F[468]_?\w*|[IU](?:8|16|32)|[IU]4)$")
_NO_WEIGHT = re.compile(r"(?:bias|mask|ids|idx|index|indices|inv_freq|num_batches_tracked|steps?)$")
_WEIGHT = re.compile(r"(?:\.(?:q?weight|weight_packed|weight_int8|qzeros)|_proj(?:_packed|_blocks)?|_blocks)$")
_DETAILS = ("quant_algo", "bits", "w_bit", "wbits", "format", "fmt", "quant_type", "weight_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """What a file says of how weights were quantized: the `method`, what more it says in a word, and `where`."""

    method: str
    detail: str
    where: str

    @property
    def words(self) -> str:
        return f"{self.method}{f' ({self.detail})' if self.detail else ''}"


def stated_quantization(config: Any, folder: Path) -> Quantization | None:
    """By config.json, else by what ModelOpt writes beside it and servers read; None where neither says anything."""
    for part in (config, config.get_text_config()):
        for key in ("quantization_config", "compression_config", "quantization"):
            if stated := _plain(getattr(part, key, None)):
                return _told(stated, f"{folder / 'config.json'}: {key}", "mlx" if key == "quantization" else "")
    file = folder / "hf_quant_config.json"
    beside = _plain(_beside(file).get("quantization"))
    return _told(beside, str(file), "modelopt") if beside else None


def refuse_unmeasured(config: Any, folder: Path, files: WeightFiles | None) -> None:
    """Raise InputError for weights in low bits that this version does not measure, and for files that hold other than
    is said of them. Without `files` only what is said is looked at.
    """
    stated = stated_quantization(config, folder)
    held = [header for _, header in files.headers()] if files else []
    low = [header for header in held if _is_low(header)]
    if stated and files and not low:
        raise InputError(
            f"{stated.where} says that the weights are {stated.words}, and the files hold none in low bits, only "
            f"{_kinds(held)}\n"
            "  loaders would look for scales that are not there; take that entry out, or export the checkpoint again"
        )
    if stated and stated.method not in _MEASURED:
        raise _not_gated(stated)
    if stated and low and not any(header.dtype.startswith(_MEASURED[stated.method]) for header in low):
        raise InputError(
            f"{stated.where} says that the weights are {stated.words}, and the files hold {_kinds(low)}\n"
            "  config.json and the weight files do not belong together; export the checkpoint again"
        )
    weights = [header for header in low if _WEIGHT.search(header.key)]
    if stated and (bare := _unscaled(held, weights)):
        raise InputError(
            f"{folder}: {_counted(bare)}, and no scale lies beside them, though {stated.where} says {stated.words}\n"
            "  their scales are unknown; export the checkpoint again"
        )
    if weights and not stated:
        if told := _told_beside(folder):
            raise _not_gated(told)
        raise InputError(
            f"{folder}: {_counted(weights)}, of which config.json says nothing\n"
            "  their scales are unknown; give the checkpoint in 16 bits, or its quantization_config"
        )


def stored_as(config: Any, files: WeightFiles, dtype: str) -> str:
    """How most of the entries lie in the files, in words, where that is not the `dtype` in which they are measured."""
    amounts: Counter[str] = Counter()
    for _, header in files.headers():
        amounts[header.dtype] += prod(header.shape)
    most = max(amounts, key=lambda name: (amounts[name], name), default="")
    if stated := stated_quantization(config, files.folder):
        low = Counter({name: count for name, count in amounts.items() if _LOW.match(name)})
        held = low.most_common(1)[0][0] if low else ""
        return f"{stated.words}, {held}, and dequantized on loading" if held else ""
    name = _NAMES.get(most, most)
    return "" if name == dtype else f"{name}, and cast on loading"


def dequantized(config: Any) -> None:
    """Make a config ask for the weights in 16 bits on every device, rather than for kernels where there are some."""
    for part in (config, config.get_text_config()):
        if stated := _plain(getattr(part, "quantization_config", None)):
            part.quantization_config = {**stated, "dequantize": True}


def _not_gated(stated: Quantization) -> InputError:
    return InputError(
        f"{stated.where} says that the weights are quantized with {stated.words}, which this version does not gate\n"
        f"  gate the checkpoint before it was quantized; {setting('deploy')} SCHEME tells there what low bits cost"
    )


def _told(stated: Mapping[str, Any], where: str, otherwise: str = "") -> Quantization:
    method = stated.get("quant_method") or stated.get("method")
    method = str(getattr(method, "value", method) or "").lower()
    if not method:
        bits = any(stated.get(f"load_in_{bits}bit") for bits in (4, 8))
        method = "bitsandbytes" if bits else otherwise or "a method that it does not name"
    details = [f"{stated[key]} bits" if "bit" in key else str(stated[key]) for key in _DETAILS if stated.get(key)]
    details += [f"{bits} bits" for bits in (4, 8) if stated.get(f"load_in_{bits}bit")]
    return Quantization(method=method, detail=cut(", ".join(dict.fromkeys(details)), 60), where=where)


def _told_beside(folder: Path) -> Quantization | None:
    """By what quantizers wrote beside a config that says nothing."""
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq")):
        if stated := _beside(folder / name):
            return _told(stated, str(folder / name), method)
    return None


def _beside(file: Path) -> dict[str, Any]:
    try:
        return _plain(json.loads(text_of(file)))
    except (OSError, ValueError, RecursionError):
        return {}


def _plain(stated: Any) -> dict[str, Any]:
    """A part of a config as it stands there; empty for nothing."""
    return dict(stated if isinstance(stated, Mapping) else stated.to_dict() if hasattr(stated, "to_dict") else {})


def _is_low(header: Header) -> bool:
    if _WEIGHT.search(header.key):
        return header.dtype not in FLOATS
    return bool(_LOW.match(header.dtype)) and not _NO_WEIGHT.search(header.key)


def _unscaled(held: Iterable[Header], low: Sequence[Header]) -> list[Header]:
    """Those of the weights in low bits that have nothing but a bias beside them: neither scale nor packing."""
    modules = {header.key: header.key.removesuffix(".weight").removesuffix("_blocks") for header in low}
    scaled = {
        key[:end]
        for key in (header.key for header in held)
        if not key.endswith(".bias") and key not in modules
        for end, mark in enumerate(key)
        if mark in "._"
    }
    return [header for header in low if modules[header.key] not in scaled]


def _kinds(headers: Iterable[Header]) -> str:
    return ", ".join(sorted({_NAMES.get(header.dtype, header.dtype) for header in headers}))


def _counted(weights: Sequence[Header]) -> str:
    more = f" and {len(weights) - 1} more weights are" if len(weights) > 1 else " is"
    return f"{weights[0].key}{more} {weights[0].dtype}"
