"""What a checkpoint says of how its weights were quantized: config and side files in, method and entries out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_maxact.errors import cut
from pytest_maxact.settings.userfiles import text_of

_KEYS = ("quantization_config", "compression_config", "quantization")
_DETAILS = ("quant_algo", "bits", "w_bit", "wbits", "format", "fmt", "quant_type", "weight_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """What a file says of how weights were quantized: the `method`, what more it says in a word, `where`, and the
    `entries` as they stand there.
    """

    method: str
    detail: str
    where: str
    entries: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        return f"{self.method}{f' ({self.detail})' if self.detail else ''}"


def stated_quantization(config: Any, folder: Path) -> Quantization | None:
    """By config.json, else by what ModelOpt writes beside it and servers read; None where neither says anything."""
    for part in (config, config.get_text_config()):
        for key in _KEYS:
            if stated := _plain(getattr(part, key, None)):
                return _told(stated, f"{folder / 'config.json'}: {key}", "mlx" if key == "quantization" else "")
    file = folder / "hf_quant_config.json"
    beside = _plain(_beside(file).get("quantization"))
    return _told(beside, str(file), "modelopt") if beside else None


def told_beside(folder: Path) -> Quantization | None:
    """By what quantizers wrote beside a config that says nothing."""
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq")):
        if stated := _beside(folder / name):
            return _told(stated, str(folder / name), method)
    return None


def without(config: Any) -> None:
    """Make a config say nothing of quantization: the model that it builds is that of the source."""
    for part in (config, config.get_text_config()):
        for key in _KEYS:
            if hasattr(part, key):
                delattr(part, key)


def _told(stated: Mapping[str, Any], where: str, otherwise: str = "") -> Quantization:
    method = stated.get("quant_method") or stated.get("method")
    method = str(getattr(method, "value", method) or "").lower()
    if not method:
        bits = any(stated.get(f"load_in_{bits}bit") for bits in (4, 8))
        method = "bitsandbytes" if bits else otherwise or "a method that it does not name"
    details = [f"{stated[key]} bits" if "bit" in key else str(stated[key]) for key in _DETAILS if stated.get(key)]
    details += [f"{bits} bits" for bits in (4, 8) if stated.get(f"load_in_{bits}bit")]
    detail = cut(", ".join(dict.fromkeys(details)), 60)
    return Quantization(method=method, detail=detail, where=where, entries=stated)


def _beside(file: Path) -> dict[str, Any]:
    try:
        return _plain(json.loads(text_of(file)))
    except (OSError, ValueError, RecursionError):
        return {}


def _plain(stated: Any) -> dict[str, Any]:
    """A part of a config as it stands there; empty for nothing."""
    return dict(stated if isinstance(stated, Mapping) else stated.to_dict() if hasattr(stated, "to_dict") else {})
