"""Whether every tensor of the files has one place in the model: names in, an error where two claim one, and what has
none although transformers does not say so.
"""

import re
from typing import Any

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.weights.stored import Stored, headers, placed_in
from pytest_maxact.errors import MeasureError


def refuse_rival_names(files: WeightFiles, model: Any) -> tuple[str, ...]:
    """Tensors that reach no parameter and that transformers drops unsaid, as its classes tell it to.

    Raises MeasureError where two tensors go to one place, as `norm.weight` and `model.norm.weight` do: one of them
    would be measured, and which is an accident.
    """
    stored = headers(files)
    state = set(model.state_dict())
    twins = _twins({one.key for one in stored}, {getattr(model, "base_model_prefix", ""), "model"} - {""}, state)
    placed: dict[str, list[Stored]] = placed_in(stored, model)
    for target, parts in placed.items():
        whole = [part.key for part in parts if part.converter is None]
        if target in state and whole and len(parts) > 1:
            twins.append((whole[0], next(part.key for part in parts if part.key != whole[0])))
    if twins:
        pairs = sorted({tuple(sorted(pair, key=len)) for pair in twins})
        first, second = pairs[0]
        raise MeasureError(
            f"{files.folder / files.entry}: {first} and {second} are both given for one place in the model, and "
            f"{len(pairs) - 1} more pairs are\n"
            "  one of the two would be loaded; export the checkpoint again"
        )
    ignored = [re.compile(str(pattern)) for pattern in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    unplaced = {part.key for target, parts in placed.items() if target not in state for part in parts}
    return tuple(sorted(key for key in unplaced if any(pattern.search(key) for pattern in ignored)))


def _twins(keys: set[str], prefixes: set[str], state: set[str]) -> list[tuple[str, str]]:
    """Names that are there with a prefix of the base model and without it, unless the model has both."""
    pairs = [
        (key.removeprefix(f"{prefix}."), key) for prefix in prefixes for key in keys if key.startswith(f"{prefix}.")
    ]
    return sorted({(bare, key) for bare, key in pairs if bare in keys and not {bare, key} <= state})
