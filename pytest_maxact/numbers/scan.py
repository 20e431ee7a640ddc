"""What the tensors of weight files hold: figures of one tensor, and of all of them what is worth naming.

Guards that a tensor is never taken for sound because nobody ran it: what is not finite, empty, absent or of another
shape has a name here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import LATER, Count, Magnitude
from pytest_maxact.numbers.lint import Lint

_MATRIX = re.compile(r"(?:^|\.)(?:weight|qweight|weight_packed)$|experts?\.(?:.*[._])?(?:proj|weight|blocks|[wv]\d)$")
_MAY_BE_ZERO = re.compile(r"token_type|lora_|adapter|zero_conv|mask|relative_position|rel_pos")
"""Matrices that a sound checkpoint may leave at the zeros they began with: types of tokens that never differ, adapters
and positions that add to something, masks.
"""
_WITHOUT_BOUND = re.compile(r"(?:^|[._])(?:(?:in|out)put_(?:min|max)|mask)$")
"""Bounds of a clip, and masks: there infinity says that there is none, and what is hidden."""
_WEIGHT_DTYPE = re.compile(r"B?F(?!8_E8M0)")
"""Dtypes whose largest magnitudes are compared: floats, but for E8M0, which is one of scales."""
_STACKED = re.compile(r"(?:^|[._])experts?(?:[._]|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorScan:
    """One tensor: its file, dtype and shape as the header says; how many entries are NaN or infinite, and the largest
    finite magnitude, 0.0 where there is none.

    `empty`: how many of its matrices hold nothing but zeros, of a tensor that is one matrix or a stack of experts';
    0 where zeros are no fault.
    """

    file: str
    dtype: str
    shape: tuple[Count, ...]
    elements: Count
    nonfinite: Count = 0
    largest: Magnitude = 0.0
    empty: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightScan:
    """Every tensor of the files that were loaded, read once: how many, and by name those worth naming, which are what
    is broken or empty, and the `largest`.

    `misfits`: by name, in words, the tensors that the config calls for and the files lack or hold otherwise, in parts
    of the model that the measurement does not run too. `lint`: what a look at the scales and codes of a quantized
    checkpoint found, None of one in 16 bits and in a Record of an earlier version.
    """

    files: tuple[str, ...]
    tensors: Count
    elements: Count
    largest: str = ""
    named: Mapping[str, TensorScan] = field(default_factory=dict)
    misfits: Mapping[str, str] = field(default_factory=dict)
    lint: Lint | None = field(default=None, metadata=LATER)

    @property
    def broken(self) -> dict[str, TensorScan]:
        """Tensors with entries that are NaN or infinite."""
        return {name: tensor for name, tensor in self.named.items() if tensor.nonfinite}

    @property
    def empty(self) -> dict[str, TensorScan]:
        """Tensors with matrices of nothing but zeros."""
        return {name: tensor for name, tensor in self.named.items() if tensor.empty}


def matrices_of(name: str, shape: tuple[int, ...]) -> int:
    """How many matrices a tensor is that should not be zero: one, those of a stack of experts, or none."""
    if sum(side > 1 for side in shape) < 2 or not _MATRIX.search(name) or _MAY_BE_ZERO.search(name):
        return 0
    return shape[0] if len(shape) == 3 and _STACKED.search(name) else 1


def may_be_infinite(name: str) -> bool:
    """Whether infinity, though never NaN, is meant in a tensor of this name."""
    return _WITHOUT_BOUND.search(name) is not None


def weight_scan(
    files: tuple[str, ...], tensors: Mapping[str, TensorScan], misfits: Mapping[str, str], lint: Lint | None = None
) -> WeightScan:
    """Of every tensor, by name."""
    floats = {name: tensor for name, tensor in tensors.items() if _WEIGHT_DTYPE.match(tensor.dtype)}
    largest = min(floats, key=lambda name: (-floats[name].largest, name), default="")
    return WeightScan(
        files=files,
        tensors=len(tensors),
        elements=sum(tensor.elements for tensor in tensors.values()),
        largest=largest,
        named={name: tensor for name, tensor in tensors.items() if tensor.nonfinite or tensor.empty or name == largest},
        misfits=dict(sorted(misfits.items())),
        lint=lint,
    )


def printable(key: str) -> str:
    """A tensor's name as it may be shown: what a terminal would obey is spelled out."""
    return key if key.isprintable() else key.encode("unicode_escape").decode("ascii")
