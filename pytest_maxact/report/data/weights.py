"""What schemes do to weights, for a program."""

import math
from dataclasses import asdict
from typing import Any

from pytest_maxact.report.terminal.weights import Errors


def as_data(errors: Errors) -> dict[str, Any]:
    """`{weight: {scheme: {"sqnr_db", ...}}}`; what is no finite number is null."""
    return {
        weight: {
            scheme: {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(error).items()
            }
            for scheme, error in schemes.items()
        }
        for weights in errors.values()
        for weight, schemes in weights.items()
    }
