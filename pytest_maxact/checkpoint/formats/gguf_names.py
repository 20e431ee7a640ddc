"""Which tensor of a GGUF file a parameter of a model came from, as the package gguf names them: names of parameters in,
names of tensors out.
"""

from collections.abc import Iterable
from typing import Any


def names_in(architecture: str, layers: int, names: Iterable[str]) -> dict[str, str]:
    """By parameter; one that gguf has no name for is left out."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch: Any = next((arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture), None)
    if arch is None:
        return {}
    known = get_tensor_name_map(arch, layers)
    found = {name: known.get_name(name, try_suffixes=(".weight", ".bias")) for name in names}
    return {name: place for name, place in found.items() if place}
