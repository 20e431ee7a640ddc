"""Which tensors of a GGUF file a parameter of a model came from: a model that was made of one in, names of tensors out,
by the very maps that transformers loads it with. Experts are stacked in both; their gates and what they gate are one
parameter, and two tensors.
"""

import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from pytest_maxact.checkpoint.formats.gguf_quick import read_quickly

_LAYER = re.compile(r"^blk\.(\d+)\.")


def places_in(model: Any, architecture: str) -> dict[str, str] | None:
    """By the name of a tensor, the parameter that transformers has a place for it in; None where it tells of those that
    it has no place for itself.
    """
    from transformers.integrations.gguf.utils import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    if is_gguf_arch_supported(architecture):
        return None
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config={})
    with read_quickly():
        return dict(get_gguf_hf_weights_map(model, processor))


def unplaced_in(model: Any, architecture: str, keys: Iterable[str]) -> list[str]:
    """Of tensors with these `keys` those that transformers has no place for, and does not tell of itself."""
    known = places_in(model, architecture)
    return [key for key in keys if known and known.keys().isdisjoint({key, key.removesuffix(".weight")})]


def of_layers(keys: Sequence[str]) -> list[str]:
    """Those of the layers of a decoder; of one that predicts more tokens, and frequencies of rotations, none."""
    found = [(match[1], key) for key in keys if (match := _LAYER.match(key))]
    beside = {number for number, key in found if ".nextn." in key}
    return [key for number, key in found if number not in beside and "attn_rot_embd" not in key]


def names_in(model: Any, architecture: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By parameter the tensors, of those with these `keys`, that it is made of: first of two that which gates."""
    known = places_in(model, architecture)
    if known is None:
        return _converted(model, architecture, keys)
    held, found = set(keys), dict[str, tuple[str, ...]]()
    for place, name in known.items():
        if key := next((key for key in (place, f"{place}.weight") if key in held), None):
            found[name] = (*found.get(name, ()), key)
    return found


def _converted(model: Any, architecture: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
    from transformers.integrations.gguf.utils import get_gguf_conversion_mapping

    mapping = deepcopy(get_gguf_conversion_mapping(architecture, model.config))
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    order = {pattern: place for one in converters for place, pattern in enumerate(one.source_patterns)}
    state, found = model.state_dict(), dict[str, list[tuple[int, str]]]()
    for key in keys:
        name, pattern = rename_source_key(key, renamings, converters, model.base_model_prefix, state)
        if name in state:
            found.setdefault(name, []).append((order.get(pattern, 0), key))
    return {name: tuple(key for _, key in sorted(parts)) for name, parts in found.items()}
