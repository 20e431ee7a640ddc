"""The methods of quantization that configs name, each read from its own words to `Stated`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pytest_maxact.checkpoint.formats.auto_round import LAYOUTS
from pytest_maxact.checkpoint.lint.artifact import Artifact
from pytest_maxact.checkpoint.lint.compressed import cache_in, compressed
from pytest_maxact.checkpoint.lint.stated import Spec, Stated, names
from pytest_maxact.errors import first_line


def _fp8(stated: Mapping[str, Any], where: str) -> Stated:
    block = stated.get("weight_block_size")
    ignored = names([*(stated.get("modules_to_not_convert") or ()), *(stated.get("ignored_layers") or ())])
    own = Spec(
        forms=("fp8",), bits=8, strategy="block" if block else "tensor", symmetric=True,
        block=(int(block[0]), int(block[1])) if isinstance(block, list) and len(block) == 2 else (0, 0),
        static_inputs=stated.get("activation_scheme") == "static", inputs="fp8_e4m3", codes=_codes(stated),
    )  # fmt: skip
    cache, cached = cache_in(stated)
    return Stated(
        method=f"fp8{' in blocks' if block else ''}", where=where, ignored=ignored, cache=cache, cached=cached,
        spec=lambda name: None if ignored(name) else own, static=own.static_inputs,
    )  # fmt: skip


def method_of(stated: Mapping[str, Any]) -> str:
    return str(stated.get("quant_method") or "").lower().replace("_", "-")


def _codes(stated: Mapping[str, Any]) -> str:
    """The dtype that `fmt` says, as in `e4m3` and `float8_e5m2`."""
    said = str(stated.get("fmt") or "e4m3").lower()
    return next((f"F8_{one.upper()}" for one in ("e4m3fnuz", "e5m2fnuz", "e4m3", "e5m2") if one in said), "")


def _mxfp8(stated: Mapping[str, Any], where: str) -> Stated:
    fp8 = _fp8({**stated, "weight_block_size": stated.get("weight_block_size") or [1, 32]}, where)
    return replace(
        fp8, method="mxfp8",
        spec=lambda name: replace(own, forms=("fp8", "mxfp8")) if (own := fp8.spec(name)) else None,
    )  # fmt: skip


def _fbgemm(stated: Mapping[str, Any], where: str) -> Stated:
    fp8 = _fp8(stated, where)
    return replace(
        fp8,
        method="fbgemm_fp8",
        spec=lambda name: replace(own, strategy="channel") if (own := fp8.spec(name)) else None,
    )


def _mxfp4(stated: Mapping[str, Any], where: str) -> Stated:
    ignored = names(stated.get("modules_to_not_convert"))
    own = Spec(forms=("mxfp4 blocks",), bits=4, strategy="group", group=32, symmetric=True)
    return Stated(
        method="mxfp4", where=where, ignored=ignored,
        spec=lambda name: own if ".experts" in f".{name}" and not ignored(name) else None,
    )  # fmt: skip


def _auto_round(stated: Mapping[str, Any], where: str) -> Stated:
    form = str(stated.get("packing_format") or "auto_round")
    if form not in LAYOUTS:
        raise ValueError(f"packing_format is {form}, of {', '.join(LAYOUTS)}")
    found = _gptq({**stated, "packing_format": form}, where)
    return replace(found, method=f"auto-round, as {LAYOUTS[form]}")


def _gptq(stated: Mapping[str, Any], where: str) -> Stated:
    rules: dict[str, tuple[Any, Any]] = {}
    for key, matches in (("dynamic", re.match), ("extra_config", re.fullmatch)):
        found = stated.get(key)
        rules |= {one: (matches, change) for one, change in found.items()} if isinstance(found, Mapping) else {}
    blocks = stated.get("modules_in_block_to_quantize") or ()
    only = tuple(str(one) for entry in blocks for one in (entry if isinstance(entry, list | tuple) else [entry]))
    form = str(stated.get("checkpoint_format") or LAYOUTS.get(str(stated.get("packing_format")), ""))
    version = 2 if "v2" in form else 1
    own = Spec(
        forms=("gptq",) if "awq" not in form else ("awq",), bits=int(stated.get("bits") or 4),
        **_grouped(int(stated.get("group_size") or -1)), version=version,
        symmetric=None if stated.get("sym") is None else bool(stated["sym"]),
        reordered=None if stated.get("desc_act") is None else bool(stated["desc_act"]),
        signed=method_of(stated) == "auto-round" or "autoround_version" in stated,
    )  # fmt: skip

    def rule(name: str) -> tuple[str, Any]:
        for pattern, (matches, change) in rules.items():
            try:
                if matches(str(pattern).removeprefix("-:").removeprefix("+:"), name):
                    wide = isinstance(change, Mapping) and _whole(change.get("bits"), 0) >= 16
                    return f"{'-:' if wide else ''}{pattern}", change
            except re.error:
                continue
        return "", None

    def spec(name: str) -> Spec | None:
        pattern, change = rule(name)
        if pattern.startswith("-:") or (only and not any(one in name for one in only)):
            return None
        return _changed(own, change) if isinstance(change, Mapping) else own

    def ignored(name: str) -> str:
        pattern, _ = rule(name)
        return pattern if pattern.startswith("-:") else ""

    return Stated(
        method=f"gptq{', format v2' if version == 2 else ''}", where=where, spec=spec, ignored=ignored,
        head=stated.get("lm_head") is True,
    )  # fmt: skip


def _whole(value: Any, otherwise: int) -> int:
    """A number as it is stated; another where that is none."""
    return int(value) if isinstance(value, int) or str(value).lstrip("-").isdigit() else otherwise


def _grouped(size: int) -> dict[str, Any]:
    return {"strategy": "group", "group": size} if size > 0 else {"strategy": "channel", "group": 0}


def _changed(own: Spec, change: Mapping[str, Any]) -> Spec:
    found = replace(own, bits=_whole(change.get("bits"), own.bits), symmetric=change.get("sym", own.symmetric))
    found = replace(found, reordered=change.get("desc_act", own.reordered))
    return replace(found, **_grouped(_whole(change["group_size"], -1))) if change.get("group_size") else found


def _awq(stated: Mapping[str, Any], where: str) -> Stated:
    ignored = names(stated.get("modules_to_not_convert"))
    own = Spec(
        forms=("awq",), bits=int(stated.get("bits") or stated.get("w_bit") or 4),
        **_grouped(int(stated.get("group_size") or stated.get("q_group_size") or -1)),
        symmetric=not stated.get("zero_point", True),
    )  # fmt: skip
    lenient = names(stated.get("modules_to_not_convert"), substrings=True)
    return Stated(method="awq", where=where, ignored=ignored, spec=lambda name: None if lenient(name) else own)


_NVFP4 = Spec(
    forms=("nvfp4",), bits=4, strategy="group", group=16, static_inputs=True, symmetric=True, inputs="fp4_e2m1"
)
_ALGORITHMS = {
    **dict.fromkeys(("NVFP4", "NVFP4_AWQ"), _NVFP4),
    "FP8": Spec(
        forms=("fp8",),
        bits=8,
        strategy="tensor",
        static_inputs=True,
        symmetric=True,
        inputs="fp8_e4m3",
        codes="F8_E4M3",
    ),
    "FP8_PER_CHANNEL_PER_TOKEN": Spec(forms=("fp8",), bits=8, strategy="channel", symmetric=True, codes="F8_E4M3"),
    "FP8_PB_WO": Spec(forms=("fp8",), bits=8, strategy="block", block=(128, 128), symmetric=True, codes="F8_E4M3"),
    "W4A16_NVFP4": Spec(forms=("nvfp4",), bits=4, strategy="group", group=16, symmetric=True),
    "MXFP8": Spec(forms=("mxfp8",), bits=8, strategy="group", group=32, symmetric=True),
    "MXFP4": Spec(forms=("mxfp4",), bits=4, strategy="group", group=32, symmetric=True),
}


def _modelopt(stated: Mapping[str, Any], where: str) -> Stated:
    inner = stated.get("quantization")
    stated = inner if isinstance(inner, Mapping) else stated
    if isinstance(stated.get("config_groups"), Mapping) and not stated.get("quant_algo"):
        return replace(compressed(stated, where), status=None)
    algorithm = str(stated.get("quant_algo") or "").upper()
    ignored = names([*(stated.get("exclude_modules") or ()), *(stated.get("ignore") or ())])
    layers = stated.get("quantized_layers")
    by_layer = {
        str(name): str(entry.get("quant_algo", "")).upper()
        for name, entry in (layers.items() if isinstance(layers, Mapping) else ())
        if isinstance(entry, Mapping)
    }

    def spec(name: str) -> Spec | None:
        if ignored(name):
            return None
        own = by_layer.get(name) if by_layer else algorithm
        return _ALGORITHMS.get(own) if own else None

    cache = str(stated.get("kv_cache_quant_algo") or "").upper()
    by_scheme, cached = cache_in(stated)
    return Stated(
        method=f"modelopt, {algorithm or 'no algorithm'}", where=where, spec=spec, ignored=ignored,
        cache=cache in ("FP8", "INT8", "NVFP4") or by_scheme,
        cached={"FP8": "fp8_e4m3", "INT8": "int8", "NVFP4": "fp4_e2m1"}.get(cache) or cached,
        known=algorithm in _ALGORITHMS or bool(by_layer),
        static=any(own.static_inputs for one in (by_layer.values() or [algorithm]) if (own := _ALGORITHMS.get(one))),
    )  # fmt: skip


def _bitsandbytes(stated: Mapping[str, Any], where: str) -> Stated:
    four = bool(stated.get("load_in_4bit") or stated.get("_load_in_4bit"))
    skipped = stated.get("llm_int8_skip_modules")
    ignored = names(["lm_head"] if skipped is None else skipped)
    own = Spec(forms=("bnb4",) if four else ("bnb8",), bits=4 if four else 8)
    return Stated(
        method=f"bitsandbytes, {own.bits} bits", where=where, ignored=ignored,
        spec=lambda name: None if ignored(name) else own,
    )  # fmt: skip


METHODS: Mapping[str, Callable[[Mapping[str, Any], str], Stated]] = {
    "compressed-tensors": compressed, "fp8": _fp8, "mxfp8": _mxfp8, "mxfp4": _mxfp4, "gptq": _gptq, "awq": _awq,
    "auto-round": _auto_round, "modelopt": _modelopt, "modelopt-fp4": _modelopt, "modelopt-mixed": _modelopt,
    "bitsandbytes": _bitsandbytes, "fbgemm-fp8": _fbgemm,
}  # fmt: skip


def stated_in(found: Artifact) -> Stated | None:
    """None where nothing says that weights are quantized."""
    for part in (found.config, found.text_config):
        for key in ("quantization_config", "compression_config", "quantization"):
            stated = part.get(key)
            if isinstance(stated, Mapping) and stated:
                merged = _with_modelopt(stated, found)
                return _of(merged, f"config.json: {key}", "mlx" if key == "quantization" else "")
    for name, method in (
        ("hf_quant_config.json", "modelopt"),
        ("quantize_config.json", "gptq"),
        ("quant_config.json", "awq"),
    ):
        if name in found.beside:
            return _of(found.beside[name], name, method)
    return None


def _with_modelopt(stated: Mapping[str, Any], found: Artifact) -> Mapping[str, Any]:
    beside = found.beside.get("hf_quant_config.json", {}).get("quantization")
    if str(stated.get("quant_method", "")).startswith("modelopt") and isinstance(beside, Mapping):
        return {**beside, **stated}
    return stated


def _of(stated: Mapping[str, Any], where: str, otherwise: str) -> Stated:
    method = method_of(stated) or otherwise
    if not method and "config_groups" in stated:
        method = "compressed-tensors"
    if not method and any(stated.get(f"load_in_{bits}bit") for bits in (4, 8)):
        method = "bitsandbytes"
    read = METHODS.get(method)
    if read is None:
        return Stated(
            method=method or "a method that it does not name", where=where, spec=lambda name: None,
            ignored=lambda name: "", known=False,
        )  # fmt: skip
    try:
        return read(stated, where)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, re.error) as error:
        return Stated(
            method=method, where=where, spec=lambda name: None, ignored=lambda name: "", known=False,
            unreadable=first_line(error),
        )  # fmt: skip
