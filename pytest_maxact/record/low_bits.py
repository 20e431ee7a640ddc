"""What is known of a checkpoint whose weights lie in low bits, as plain data: how they were given back, and what its
files say of activations and of the cache, which are measured as they are in 16 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import LATER, Count, FigureAboveZero
from pytest_maxact.numbers.static import StaticScale


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBits:
    """`method` and `detail` as the checkpoint states them; `library`, with its version, that gave its `weights` back.

    `bits` and `group` of most entries, a group of 0 where a row, a block or a tensor shares a scale. `activations`: how
    inputs of linear layers are quantized as it is deployed, in words, empty where they are not. `reach`: by module, the
    largest input that a static scale of it represents. `cache`: by name, scales of keys and values.

    `calls`: of `input` and `cache`, what a runtime is told to quantize by static scales; `static`: these scales.
    """

    method: str
    detail: str
    library: str
    weights: Count
    bits: Count
    group: Count
    activations: str = ""
    reach: Mapping[str, FigureAboveZero] = field(default_factory=dict)
    cache: Mapping[str, FigureAboveZero] = field(default_factory=dict)
    calls: tuple[str, ...] = field(default=(), metadata=LATER)
    static: tuple[StaticScale, ...] = field(default=(), metadata=LATER)
