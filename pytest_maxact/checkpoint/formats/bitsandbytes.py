"""bitsandbytes, as transformers saves it: int8 with the largest magnitude of each row (`SCB`), and NF4 or FP4, two
entries in a byte, with a table of levels and the largest magnitude of each block, which may be quantized itself.

A reader of our own: the package need not be there. Shapes of weights in 4 bits stand in a small tensor of JSON.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization

NAMES = ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit")
_STATE = ".quant_state.bitsandbytes__"
_FLOATS = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
_OF_127 = 7.874015718698502e-3
"""1 / 127, as bitsandbytes writes it."""


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight in 8 bits, and every one in 4."""
    for name, module in held.modules.items():
        if "weight" in module and module["weight"].dtype == "I8":
            yield _in_8_bits(name, module, stated)
    states = [part for key, part in held.parts.items() if _STATE in key]
    for key, state in _states(states).items():
        yield _in_4_bits(key, state, held, stated)


def _in_8_bits(name: str, module: Mapping[str, Part], stated: Quantization) -> Packed:
    parts = required(module, ("weight", "SCB"), "weight", stated)
    weight, scale = parts["weight"], parts["SCB"]
    if len(weight.shape) != 2 or scale.shape not in ((weight.shape[0],), (weight.shape[0], 1)):
        raise lacking(weight, f"its SCB is {list(scale.shape)}, for {list(weight.shape)}")
    if "weight_format" in module:
        parts["weight_format"] = module["weight_format"]
    return Packed(key=f"{name}.weight", shape=weight.shape, parts=parts, restore=of_8_bits, bits=8)


def of_8_bits(parts: Tensors) -> Any:
    """In float32, as bitsandbytes multiplies."""
    if "weight_format" in parts and int(parts["weight_format"]) != 0:
        raise ValueError("its weight_format is not that of rows")
    return parts["weight"] * parts["SCB"].float().view(-1, 1) * _OF_127


def _states(parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """By weight, what is said of how it lies."""
    from safetensors import safe_open

    by_file: dict[Path, list[Part]] = {}
    for part in parts:
        by_file.setdefault(part.file, []).append(part)
    found = {}
    for file, held in by_file.items():
        with safe_open(file, framework="numpy") as opened:
            for part in held:
                try:
                    said = json.loads(bytes(opened.get_tensor(part.header.key)))
                    said["shape"] = tuple(int(side) for side in said["shape"])
                    found[part.header.key.partition(_STATE)[0]] = {**said, "state": part}
                except (ValueError, KeyError, TypeError) as error:
                    raise lacking(part, f"is no state of bitsandbytes ({type(error).__name__}: {error})") from error
    return found


def _in_4_bits(key: str, state: Mapping[str, Any], held: Held, stated: Quantization) -> Packed:
    weight = held.parts.get(key)
    if weight is None:
        raise lacking(state["state"], f"no {key} lies beside it, though {stated.where} says {stated.words}")
    nested = "nested_blocksize" in state
    names = ["absmax", "quant_map", *(("nested_absmax", "nested_quant_map") if nested else ())]
    parts = {"weight": weight}
    for name in names:
        if f"{key}.{name}" not in held.parts:
            raise lacking(weight, f"no {key}.{name} lies beside it, though {stated.where} says {stated.words}")
        parts[name] = held.parts[f"{key}.{name}"]
    entries, block = prod(state["shape"]), int(state["blocksize"])
    if prod(weight.shape) != -(-entries // 2) or parts["absmax"].shape != (-(-entries // block),):
        raise lacking(
            weight, f"has {prod(weight.shape)} bytes and scales {list(parts['absmax'].shape)}, for "
            f"{list(state['shape'])} in blocks of {block}",
        )  # fmt: skip
    return Packed(
        key=key,
        shape=state["shape"],
        parts={**parts, "state": state["state"]},
        restore=partial(of_4_bits, state={name: one for name, one in state.items() if name != "state"}),
        bits=4,
        group=block,
        dtype=_FLOATS.get(str(state.get("dtype")), "BF16"),
    )


def of_4_bits(parts: Tensors, state: Mapping[str, Any]) -> Any:
    """In the dtype that the weight had, of the product in float32."""
    import torch

    scale = parts["absmax"]
    if "nested_absmax" in parts:
        above = parts["nested_absmax"].float().repeat_interleave(int(state["nested_blocksize"]))[: scale.numel()]
        scale = parts["nested_quant_map"].float()[scale.long()] * above + float(state["nested_offset"])
    entries = prod(state["shape"])
    codes = parts["weight"].flatten().long()
    levels = parts["quant_map"].float()[torch.stack([codes >> 4, codes & 15], -1).flatten()[:entries]]
    spread = scale.float().repeat_interleave(int(state["blocksize"]))[:entries]
    return (levels * spread).to(getattr(torch, str(state["dtype"]))).view(state["shape"])
