"""Whether a config says about as many layers as the weight files hold, told by names alone: a config and headers in.

Guard: a model of the config's depth is built, without weights, before anything of it is compared with them. One that
says many more layers than there are would be built for minutes, to be refused for what it lacks.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_maxact.errors import InputError

_DEPTHS = (
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "encoder_layers", "num_decoder_layers",
    "depth",
)  # fmt: skip
_DEEPEST = 2048
_ALWAYS, _TIMES = 64, 4
"""Layers may run several times, as in ALBERT: so many are built in any case, or so many times as many as there are."""
_INDEX = re.compile(r"\.(\d{1,7})(?=\.)")


def require_depth(config: Any, keys: Iterable[str] | None, where: object) -> None:
    """Raise InputError where a config says far more layers than tensors of these names are of, or, without `keys`, more
    than any model has. `where`: what an error calls it.
    """
    held = None if keys is None else _layers_in(keys)
    for name, depth in _depths(config.to_dict()):
        if depth > (_DEEPEST if held is None else max(_ALWAYS, _TIMES * held)):
            there = "no model is as deep" if held is None else f"the weight files hold tensors of {held}"
            raise InputError(
                f"{where}: {name} is {depth}, and {there}\n  restore the config that belongs to these weights"
            )


def _depths(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, int]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _depths(value, f"{path}{name}.")
        elif name in _DEPTHS and isinstance(value, int):
            yield f"{path}{name}", value


def _layers_in(keys: Iterable[str]) -> int:
    """The longest list of modules among names of tensors, experts apart."""
    found: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        for match in _INDEX.finditer(key):
            if "expert" not in (stack := key[: match.start()]):
                found[stack].add(match[1])
    return max(map(len, found.values()), default=0)
