"""Whether the files hold, in the right shape and kind, every tensor of the model that the config calls for: the head,
towers and projectors too, which the measurement does not run. From headers alone.

transformers itself tells: its class for the architecture that the config names, built without weights, and where that
class puts the tensors of files.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.headers import FLOATS
from pytest_maxact.checkpoint.weights.stored import Stored, placed_in
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.scan import printable

_COUNTERS = re.compile(r"\.num_batches_tracked$|(?:^|\.)position_ids$|rotary_emb\.\w*inv_freq$")
"""Buffers that follow from the config, or count training steps."""


def misfits_of(model: nn.Module, tensors: Sequence[Stored]) -> dict[str, str]:
    """By name, in words: what of a whole model, which may lie on the meta device, the `tensors` of files lack or hold
    in another shape or kind. Names are those of the files where they have one.
    """
    placed = placed_in(tensors, model)
    state: dict[str, Any] = model.state_dict()
    found = {printable(name): "no weight file holds it" for name in missing_in(model, placed)}
    for path, parts in placed.items():
        if path in state and (reason := _misfit(path, parts, state)):
            found[printable(parts[0].key)] = reason
    return found


def missing_in(model: Any, placed: Collection[str]) -> list[str]:
    """Names in a model that no tensor of the files goes to, nor to one that is the same tensor."""
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    same = same_tensors(model)
    return [
        name
        for name in model.state_dict()
        if name not in placed
        and not any(other in placed for other in same.get(name, ()))
        and not is_counter(name)
        and not any(pattern.search(name) for pattern in ignored)
    ]


def is_counter(name: str) -> bool:
    """Whether a tensor of that name follows from the config, or counts training steps."""
    return _COUNTERS.search(name) is not None


def same_tensors(model: Any) -> dict[str, set[str]]:
    """By name, the names of the same tensor: tied by the config, or one object."""
    groups: dict[str, set[str]] = {}

    def join(names: Iterable[str]) -> None:
        given = list(names)
        group = set(given).union(*(groups.get(name, ()) for name in given))
        groups.update(dict.fromkeys(group, group))

    objects: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        objects.setdefault(id(parameter), []).append(name)
    for names in objects.values():
        join(names)
    for target, source in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        join((target, source))
    return groups


def _misfit(path: str, parts: Sequence[Stored], state: Mapping[str, Any]) -> str:
    """Why the tensors that go to a place do not fit it; "" where they do."""
    first, wanted = parts[0], tuple(state[path].shape)
    odd = next((part for part in parts if part.dtype not in FLOATS), None)
    if odd and state[path].is_floating_point():
        return f"{odd.file.name} holds {odd.key} as {odd.dtype}, and the config makes it a float"
    if first.converter is None:
        if first.shape != wanted:
            return f"{first.file.name} holds it as {list(first.shape)}, and the config makes it {list(wanted)}"
        return ""
    targets = [target for target in first.targets if target in state]
    held = sum(math.prod(part.shape) for part in parts)
    called = sum(math.prod(state[target].shape) for target in targets)
    if len(targets) == len(first.targets) and held != called:
        return f"what makes up {path} holds {counted(held, 'entry')}, and the config makes it {list(wanted)}"
    return ""
