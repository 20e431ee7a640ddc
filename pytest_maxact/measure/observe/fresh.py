"""A model whose every forward pass is its first: what its modules note of a pass is put back before the next.

Rotary embeddings recompute their table for long sequences and keep it; code that comes with weights caches more. Kept
are attributes, buffers, and the members of lists, dicts and sets; `probe` finds what is noted elsewhere. Weights are
left alone, for no pass changes them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import MeasureError

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_LARGE = {True: 1 << 12, False: 1 << 24}
"""Entries of a buffer from which on no copy is kept, by whether checkpoints hold it: then it may be a packed weight."""


class Fresh:
    """The state of a model's modules, taken before the first pass; `restore` before every other."""

    def __init__(self, model: nn.Module) -> None:
        for module in model.modules():
            _rewind(module)
        # modules of torch itself note nothing in evaluation mode
        self._states = [
            _State(module) for module in model.modules() if not type(module).__module__.startswith("torch.nn.")
        ]

    def restore(self) -> None:
        """Everything as it was. Raises MeasureError for a large buffer that a pass has written to."""
        for state in self._states:
            state.restore()

    def lay_down(self) -> tuple["_State", ...]:
        """What modules noted of a pass that is half-way, taken from them; `take_up` gives it back."""
        noted = tuple(_State(state.module) for state in self._states if state.changed())
        self.restore()
        return noted

    @staticmethod
    def take_up(noted: tuple["_State", ...]) -> None:
        for state in noted:
            state.restore()


@dataclass(slots=True, eq=False)
class _State:
    module: nn.Module
    attributes: dict[str, Any] = field(init=False)
    members: dict[str, Any] = field(init=False)
    """Copies of the lists, dicts and sets among the attributes."""
    buffers: dict[str, torch.Tensor | None] = field(init=False)
    children: dict[str, nn.Module | None] = field(init=False)
    values: dict[str, tuple[int | None, torch.Tensor | None]] = field(init=False)
    """Of every buffer the version of its contents, and a copy of them."""

    def __post_init__(self) -> None:
        self.attributes = dict(vars(self.module))
        self.members = {
            name: value.copy()
            for name, value in self.attributes.items()
            if name not in _OF_EVERY_MODULE and type(value) in (list, dict, set)
        }
        self.buffers, self.children = dict(self.module._buffers), dict(self.module._modules)
        held = {name for name in self.buffers if name not in self.module._non_persistent_buffers_set}
        self.values = {
            name: (_version(buffer), buffer.clone() if buffer.numel() <= _LARGE[name in held] else None)
            for name, buffer in self.buffers.items()
            if buffer is not None
        }

    def changed(self) -> bool:
        """Whether the module is another than it was."""
        return not (
            _same(vars(self.module), self.attributes)
            and _same(self.module._buffers, self.buffers)
            and _same(self.module._modules, self.children)
            and all(_same(self.attributes[name], copy) for name, copy in self.members.items())
            and all(self._holds(name, *kept) for name, kept in self.values.items())
        )

    def _holds(self, name: str, version: int | None, copy: torch.Tensor | None) -> bool:
        """Whether a buffer has its contents still."""
        buffer = self.buffers[name]
        if buffer is None or (version is not None and _version(buffer) == version):
            return True
        return copy is not None and torch.equal(buffer, copy)

    def restore(self) -> None:
        pairs: tuple[tuple[Any, Any], ...] = (
            (vars(self.module), self.attributes),
            (self.module._buffers, self.buffers),
            (self.module._modules, self.children),
        )
        for mine, kept in pairs:
            if not _same(mine, kept):
                mine.clear()
                mine.update(kept)
        for name, copy in self.members.items():
            if not _same(mine := self.attributes[name], copy):
                mine.clear()
                (mine.extend if isinstance(mine, list) else mine.update)(copy)
        for name, (version, copy) in self.values.items():
            buffer = self.buffers[name]
            if buffer is None or (version is not None and _version(buffer) == version):
                continue
            if copy is None:
                raise MeasureError(
                    f"{class_of(self.module)} writes to its buffer {name} while it runs, so that a sequence depends on "
                    "what ran before it\n"
                    "  please report the model_type"
                )
            buffer.copy_(copy)
            self.values[name] = (_version(buffer), copy)


def _same(one: Any, other: Any) -> bool:
    """Whether two collections of a kind hold the very same objects."""
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(name in one and one[name] is value for name, value in other.items())
    if isinstance(one, list):
        return all(a is b for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _version(buffer: torch.Tensor) -> int | None:
    """How often a tensor was written to, where torch counts that."""
    return None if buffer.is_inference() else buffer._version


def _rewind(module: nn.Module) -> None:
    """A rotary embedding of transformers as it is built: a model in training may have grown its table already."""
    first = getattr(module, "original_max_seq_len", None)
    for prefix in _prefixes(getattr(module, "rope_type", None)):
        table = f"{prefix}inv_freq"
        original = getattr(module, f"{prefix}original_inv_freq", None)
        if table in module._buffers and isinstance(original, torch.Tensor):
            module._buffers[table] = original.clone()
        if first is not None and f"{prefix}max_seq_len_cached" in vars(module):
            setattr(module, f"{prefix}max_seq_len_cached", first)


def _prefixes(rope_type: Any) -> Iterator[str]:
    if isinstance(rope_type, str):
        yield ""
    elif isinstance(rope_type, dict):
        names: Collection[str] = rope_type
        yield from (f"{name}_" for name in names)
