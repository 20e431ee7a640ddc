"""Up to which length a model's rotary tables are the same whatever runs: its modules and config in, tokens out.

Beyond it a table depends on the longest sequence of the batch ("dynamic", "longrope" of transformers, and whatever kind
code that comes with weights declares), so that such a sequence must run alone.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

_STEADY = frozenset(("default", "linear", "yarn", "llama3", "proportional", "axial", "mrope"))
"""Kinds of tables that are computed once, from the config alone."""
_STATED = ("rope_parameters", "rope_scaling", "rotary")
_LIMITS = ("original_max_position_embeddings", "original_max_position_embedding", "original_max_seq_len")


def steady_up_to(model: nn.Module) -> int | None:
    """Tokens up to which no rotary table of a model depends on what runs; None where none ever does."""
    found = [*_of_modules(model), *_of_config(getattr(model, "config", None))]
    return min(found, default=None)


def _of_modules(model: nn.Module) -> Iterator[int]:
    """Limits of rotary embeddings that are built like those of transformers."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        config = getattr(module, "config", None)
        stated = getattr(config, "rope_parameters", None) or {}
        for kind, given in (
            ((kinds[name], stated.get(name) or {}) for name in kinds)
            if isinstance(kinds, dict)
            else ((kinds, stated),)
            if isinstance(kinds, str)
            else ()
        ):
            if kind not in _STEADY:
                yield _limit(kind, given, config, module)


def _of_config(config: Any) -> Iterator[int]:
    """Limits of what a config states of its rotary embedding, whatever reads it."""
    if config is None:
        return
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for stated in (getattr(text, name, None) for name in _STATED):
        for given in _parameters(stated):
            kind = given.get("rope_type", given.get("type"))
            if isinstance(kind, str) and kind not in _STEADY:
                yield _limit(kind, given, text, None)
    if getattr(text, "use_dynamic_ntk", False):
        yield _first(getattr(text, "seq_length", None), getattr(text, "max_position_embeddings", None))


def _parameters(stated: Any) -> Iterator[dict[str, Any]]:
    """Parameters of a rotary embedding, and those of every kind of layer where they are stated by kind."""
    if isinstance(stated, dict):
        yield stated
        yield from (inner for inner in stated.values() if isinstance(inner, dict))


def _limit(kind: str, given: Any, config: Any, module: nn.Module | None) -> int:
    """Where the table of one embedding begins to depend on the length: 0 where that is not said."""
    original = (source.get(name) if isinstance(source, dict) else getattr(source, name, None)
                for source in (given, config) for name in _LIMITS)  # fmt: skip
    if "dynamic" in kind:
        return _first(getattr(module, "original_max_seq_len", None), getattr(config, "max_position_embeddings", None))
    return _first(*original)


def _first(*stated: Any) -> int:
    return next((int(value) for value in stated if isinstance(value, int | float) and value > 0), 0)
