"""A weight in low bits: under which name and shape a model knows it, which tensors of the files make it up, and how
they are given back. No torch is imported until one is.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.formats.given import Given
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.errors import InputError

AGAIN = "  its values cannot be told; export the checkpoint again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A weight that lies in low bits. `key`, `shape` and `dtype` (as safetensors writes it): those it has in 16 bits,
    as a file of its source would hold it. `parts`: by the names that `restore` knows them by, the largest first.

    `bits` of an entry; `group`: so many neighbours in a row share a scale, 0 for a row, a block or a tensor that does.
    `given`: how what it is multiplied with is quantized where it is deployed; None where that stays in 16 bits.
    """

    key: str
    shape: tuple[int, ...]
    parts: Mapping[str, Part]
    restore: Callable[[Tensors], Any]
    bits: int
    group: int = 0
    dtype: str = "BF16"
    given: Given | None = None

    @property
    def file(self) -> Path:
        """Where the largest of its parts lies."""
        return next(iter(self.parts.values())).file


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """All weights in low bits of a checkpoint, by the names they have in 16 bits, and what lies `beside` them that is
    no weight: scales of activations and of the cache. `library`: what gives the weights back, with its version.
    """

    stated: Quantization
    library: str
    packed: Mapping[str, Packed]
    beside: Mapping[str, Part] = field(default_factory=dict)
    activations: str = ""
    """How inputs of linear layers are quantized where it is deployed, in words; empty where they are not."""

    @property
    def usual(self) -> tuple[int, int]:
        """Bits and group of most entries."""
        kinds: Counter[tuple[int, int]] = Counter()
        for one in self.packed.values():
            kinds[one.bits, one.group] += prod(one.shape)
        return max(kinds, key=lambda kind: (kinds[kind], kind), default=(16, 0))

    @property
    def words(self) -> str:
        """As in `compressed-tensors (pack-quantized), 4 bits in groups of 128, dequantized by ...`, of most entries."""
        bits, group = self.usual
        shared = f" in groups of {group}" if group else ""
        return f"{self.stated.words}, {bits} bits{shared}, dequantized by {self.library}"

    @property
    def used(self) -> set[str]:
        """Names of all tensors of the files that are no tensor of the model as they are."""
        return {part.header.key for one in self.packed.values() for part in one.parts.values()} | self.beside.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Every tensor of the loaded files by name, and by module and the name in it."""

    parts: Mapping[str, Part]
    modules: Mapping[str, Mapping[str, Part]]

    @classmethod
    def of(cls, held: Sequence[tuple[Path, Header]]) -> "Held":
        modules: dict[str, dict[str, Part]] = {}
        parts = {header.key: Part(file=file, header=header) for file, header in held}
        for key, part in parts.items():
            module, _, name = key.rpartition(".")
            modules.setdefault(module, {})[name] = part
        return cls(parts=parts, modules=modules)


Reader = Callable[[Quantization, Held], Iterator[Packed]]
"""The weights in low bits of a checkpoint. Raises InputError for one that lacks a part, or cannot be read."""


Inputs = Callable[[Quantization], str]
"""How inputs of linear layers are quantized, in words."""


def never(stated: Quantization) -> bool:
    """Of a format that weights always lie in."""
    return False


def weights_alone(stated: Quantization) -> str:
    """Of a format that leaves inputs as they are."""
    return ""


def lacking(part: Part, what: str) -> InputError:
    """The error for a weight without what it takes to give it back."""
    return InputError(f"{part.file}: {part.header.key} is {part.dtype}, and {what}\n{AGAIN}")


def required(module: Mapping[str, Part], names: Sequence[str], of: str, stated: Quantization) -> dict[str, Part]:
    """The parts of a module by these names, that of the weight first. Raises InputError where one is not there."""
    for name in names:
        if name not in module:
            raise lacking(module[of], f"no {name} lies beside it, though {stated.where} says {stated.words}")
    return {name: module[name] for name in (of, *(name for name in names if name != of))}
