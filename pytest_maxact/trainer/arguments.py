"""The arguments of the callback, looked at when it is made: what was given in, an InputError out for what cannot be."""

import math
from collections.abc import Mapping
from typing import Any

from pytest_maxact.errors import InputError
from pytest_maxact.gate.github import AUTO, OFF, ON
from pytest_maxact.numbers.arithmetic import ARITHMETIC

_LEAST = {"every": 1, "samples": 2, "max_seq_len": 1, "batch_tokens": 1}
_CHOICES = {"protocol": ("paper", "deployed"), "arithmetic": ARITHMETIC, "github": (AUTO, ON, OFF)}


def require_arguments(
    trainer: Any, budget_seconds: float, numbers: Mapping[str, int | None], choices: Mapping[str, str]
) -> None:
    """`numbers` and `choices`: by the names of their arguments. Raises InputError."""
    if not hasattr(trainer, "accelerator") or not hasattr(trainer, "log"):
        raise InputError(
            f"MaxActCallback was given {type(trainer).__name__} where a Trainer of transformers was expected\n"
            "  write trainer.add_callback(MaxActCallback(trainer)); the Trainer needs accelerate: pip install "
            "accelerate"
        )
    for name, value in numbers.items():
        least = _LEAST[name]
        if value is not None and (type(value) is not int or value < least):
            raise InputError(f"MaxActCallback: {name} is {value!r}\n  give a whole number, {least} at least")
    if not (isinstance(budget_seconds, (int, float)) and 0 < budget_seconds < math.inf):
        raise InputError(f"MaxActCallback: budget_seconds is {budget_seconds!r}\n  give seconds above 0")
    for name, given in choices.items():
        if given not in _CHOICES[name]:
            allowed = ", ".join(_CHOICES[name])
            raise InputError(f"MaxActCallback: {name} is {given!r}\n  it is one of {allowed}")
