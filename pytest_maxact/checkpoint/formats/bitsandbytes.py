"""bitsandbytes, as transformers saves it: int8 with the largest magnitude of each row (`SCB`), and NF4 or FP4, two
entries in a byte, with a table of levels and the largest magnitude of each block, which may be quantized itself.

A reader of our own: the package need not be there. Shapes of weights in 4 bits stand in a small tensor of JSON; their
bytes may be stored as another dtype (`bnb_4bit_quant_storage`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.formats.bitsandbytes_state import SUFFIX, State, are_levels_of, flaws_of, state_of
from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization

NAMES = ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit")
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_FLOATS = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
_OF_127 = 7.874015718698502e-3
"""1 / 127, as bitsandbytes writes it."""


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight in 8 bits, and every one in 4."""
    for name, module in held.modules.items():
        if "weight" in module and module["weight"].dtype == "I8" and not _states_of(f"{name}.weight", held):
            yield _in_8_bits(name, module, stated)
    for key, (state, said) in _states([part for key, part in held.parts.items() if SUFFIX in key]).items():
        yield _in_4_bits(key, state, said, held, stated)


def _states_of(key: str, held: Held) -> list[str]:
    return [name for name in held.parts if name.startswith(key + SUFFIX)]


def _in_8_bits(name: str, module: Mapping[str, Part], stated: Quantization) -> Packed:
    parts = required(module, ("weight", "SCB"), "weight", stated)
    weight, scale = parts["weight"], parts["SCB"]
    if len(weight.shape) != 2 or scale.shape not in ((weight.shape[0],), (weight.shape[0], 1)):
        raise lacking(weight, f"its SCB is {list(scale.shape)}, for {list(weight.shape)}")
    if scale.dtype not in _FLOATS.values():
        raise lacking(weight, f"its SCB is {scale.dtype}, where magnitudes of rows are called for")
    if "weight_format" in module:
        parts["weight_format"] = module["weight_format"]
    return Packed(key=f"{name}.weight", shape=weight.shape, parts=parts, restore=of_8_bits, bits=8)


def of_8_bits(parts: Tensors) -> Any:
    """In float32, as bitsandbytes multiplies."""
    if "weight_format" in parts and int(parts["weight_format"]) != 0:
        raise ValueError("its weight_format is not that of rows")
    return parts["weight"] * parts["SCB"].float().view(-1, 1) * _OF_127


def _states(parts: Sequence[Part]) -> dict[str, tuple[State, Part]]:
    """By weight, what is said of how it lies, and where."""
    from safetensors import safe_open

    by_file: dict[Path, list[Part]] = {}
    for part in parts:
        by_file.setdefault(part.file, []).append(part)
    found: dict[str, tuple[State, Part]] = {}
    for file, held in by_file.items():
        with safe_open(file, framework="numpy") as opened:
            for part in held:
                key, own = part.header.key.partition(SUFFIX)[0], part.header.key
                if key in found:
                    raise lacking(part, f"is a second state of {key}, beside {found[key][1].header.key}")
                try:
                    found[key] = state_of(opened.get_tensor(own).tobytes(), own), part
                except (ValueError, TypeError) as error:
                    raise lacking(part, f"is no state of bitsandbytes: {error}") from error
    return found


def _in_4_bits(key: str, state: State, said: Part, held: Held, stated: Quantization) -> Packed:
    weight = held.parts.get(key)
    if weight is None:
        raise lacking(said, f"no {key} lies beside it, though {stated.where} says {stated.words}")
    parts = {"weight": weight}
    parts |= {name: held.parts[f"{key}.{name}"] for name in _PARTS if f"{key}.{name}" in held.parts}
    for flaw in flaws_of(state, {name: part.header for name, part in parts.items()}):
        own = parts.get(flaw.part, weight)
        raise lacking(own, f"as {said.header.key} tells of it: {flaw.what}")
    return Packed(
        key=key,
        shape=state.shape,
        parts={**parts, "state": said},
        restore=partial(of_4_bits, state=state),
        bits=4,
        group=state.block,
        dtype=_FLOATS[state.dtype],
    )


def of_4_bits(parts: Tensors, state: State) -> Any:
    """In the dtype that the weight had, of the product in float32."""
    import torch

    scale, table = parts["absmax"].flatten(), parts["quant_map"].float().flatten()
    if not are_levels_of(state, table.tolist()):
        raise ValueError(f"its quant_map holds other levels than those of {state.table}, which kernels take")
    if state.nested:
        above = parts["nested_absmax"].float().flatten().repeat_interleave(state.nested)[: scale.numel()]
        scale = parts["nested_quant_map"].float().flatten()[scale.long()] * above + state.offset
    entries = prod(state.shape)
    codes = parts["weight"].contiguous().flatten().view(torch.uint8).long()
    levels = table[torch.stack([codes >> 4, codes & 15], -1).flatten()[:entries]]
    spread = scale.float().repeat_interleave(state.block)[:entries]
    return (levels * spread).to(getattr(torch, state.dtype)).view(state.shape)
