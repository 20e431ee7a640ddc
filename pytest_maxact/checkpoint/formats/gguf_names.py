"""Which tensors of a GGUF file a parameter of a model came from, as the package gguf names them: names of parameters
in, names of tensors out. Experts are stacked in both; their gates and what they gate are one parameter, and two
tensors.
"""

from collections.abc import Iterable
from typing import Any

from pytest_maxact.checkpoint.formats.gguf_quick import name_map

_FUSED, _HALVES = "gate_up_proj", ("gate_proj", "up_proj")


def names_in(architecture: str, layers: int, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By parameter; one that gguf has no name for is left out."""
    from gguf import MODEL_ARCH_NAMES

    arch: Any = next((arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture), None)
    if arch is None:
        return {}
    known = name_map()(arch, layers)
    found = {name: tuple(_called(one, known) for one in _parts(name)) for name in names}
    return {name: places for name, places in found.items() if all(places)}


def _parts(name: str) -> tuple[str, ...]:
    before, fused, after = name.rpartition(_FUSED)
    return tuple(before + half for half in _HALVES) if fused and not after else (name,)


def _called(name: str, known: Any) -> str:
    """A tensor of the file; empty for none. A parameter that is no module's `weight` is one there."""
    place: str = known.get_name(name, try_suffixes=(".weight", ".bias")) or ""
    return place if not place or place.endswith((".weight", ".bias")) else f"{place}.weight"
