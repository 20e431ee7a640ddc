"""What bitsandbytes says of a weight in 4 bits, as JSON in a tensor beside it: its bytes in; shape, blocks and levels
out, and what of the tensors beside it disagrees.

Guard: kernels on a GPU know the levels of `nf4` and `fp4` by heart and leave the table of a file unread, so a table of
other levels is a fault, and no third kind is read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

from pytest_maxact.checkpoint.headers import Header

SUFFIX = ".quant_state.bitsandbytes__"
_STORED = {"U8": 1, "I8": 1, "BF16": 2, "F16": 2, "F32": 4}
"""Dtypes that `bnb_4bit_quant_storage` gives the bytes of codes, and how many bytes they have."""
_MAXIMA = ("F32", "F16", "BF16")
_DTYPES = ("float16", "bfloat16", "float32")
_NF4 = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0, 0.0795803, 0.1609302, 0.2461123,
    0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
"""Dettmers et al., QLoRA (2023), appendix E."""
_FP4 = tuple(level / 12.0 for level in (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0))
LEVELS: Mapping[str, tuple[float, ...]] = {"nf4": _NF4, "fp4": (*_FP4, *(-level for level in _FP4))}
_NEAR = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`table`: `nf4` or `fp4`; `shape` and `dtype` of the weight in 16 bits; `block`: so many entries share a maximum;
    `nested`: so many maxima share one above, 0 where they are floats themselves, and `offset`, added to them.
    """

    table: str
    shape: tuple[int, ...]
    dtype: str
    block: int
    nested: int = 0
    offset: float = 0.0

    @property
    def blocks(self) -> int:
        return -(-prod(self.shape) // self.block)


def state_of(raw: bytes, key: str) -> State:
    """`key`: of the tensor, by which the table is named again. Raises ValueError with what is wrong."""
    told = json.loads(raw)
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    if lacking := [name for name in ("shape", "blocksize", "dtype", "quant_type") if name not in told]:
        raise ValueError(f"it has no {' and no '.join(lacking)}")
    nested = any(name.startswith("nested_") for name in told)
    if nested and (absent := [name for name in ("nested_blocksize", "nested_offset") if name not in told]):
        raise ValueError(f"its maxima are quantized themselves, and it has no {' and no '.join(absent)}")
    state = State(
        table=str(told["quant_type"]), shape=tuple(_whole(side, "a side of shape") for side in told["shape"]),
        dtype=str(told["dtype"]).removeprefix("torch."), block=_whole(told["blocksize"], "blocksize"),
        nested=_whole(told["nested_blocksize"], "nested_blocksize") if nested else 0,
        offset=float(told["nested_offset"]) if nested else 0.0,
    )  # fmt: skip
    if state.table not in LEVELS or key.partition(SUFFIX)[2] not in ("", state.table):
        raise ValueError(f"quant_type is {state.table}, and {key.rpartition('.')[2]} is {' or '.join(LEVELS)}")
    if state.dtype not in _DTYPES:
        raise ValueError(f"dtype is {state.dtype}, and weights are {', '.join(_DTYPES)}")
    if not isfinite(state.offset):
        raise ValueError(f"nested_offset is {state.offset}")
    return state


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value}, and is to be a whole number from 1")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """`part` of a weight that disagrees with its state, and `what` of it; `kind`: missing, shape, dtype or codes."""

    part: str
    what: str
    kind: str


def flaws_of(state: State, parts: Mapping[str, Header]) -> Iterator[Flaw]:
    """`parts`: by the names `weight`, `absmax`, `quant_map`, `nested_absmax` and `nested_quant_map`."""
    weight, entries = parts["weight"], prod(state.shape)
    held = prod(weight.shape) * _STORED.get(weight.dtype, 0)
    if held != -(-entries // 2):
        what = f"{held} bytes, for {_by(state.shape)} in two to a byte" if held else f"dtype {weight.dtype}"
        yield Flaw(part="weight", what=f"it has {what}", kind="codes")
    nested = {"nested_absmax": (-(-state.blocks // state.nested),), "nested_quant_map": (256,)} if state.nested else {}
    wanted = {"absmax": (state.blocks,), "quant_map": (16,), **nested}
    for name, shape in wanted.items():
        dtypes = ("U8",) if name == "absmax" and nested else _MAXIMA
        if name not in parts:
            yield Flaw(part=name, what=f"no {name} lies beside it", kind="missing")
        elif parts[name].dtype not in dtypes:
            is_nested = "nested" if nested else "no nested"
            yield Flaw(
                part=name, what=f"it is {parts[name].dtype}, and its state tells of {is_nested} maxima", kind="dtype"
            )
        elif prod(parts[name].shape) != shape[0]:
            yield Flaw(
                part=name, kind="shape",
                what=f"it is {_by(parts[name].shape)}, and {_by(state.shape)} by {state.block} has {shape[0]}",
            )  # fmt: skip
    for name in ("nested_absmax", "nested_quant_map"):
        if name in parts and not nested:
            yield Flaw(part=name, what="it lies beside maxima of which the state tells no others", kind="codes")


def are_levels_of(state: State, levels: Sequence[float]) -> bool:
    """Whether a table of a file is that of its kind; not where it holds NaN."""
    wanted = LEVELS[state.table]
    return len(levels) == len(wanted) and all(
        abs(one - other) < _NEAR for one, other in zip(levels, wanted, strict=True)
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"
