"""What schemes do to weights, for a program."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.report.data.null import plain

Errors = Mapping[str, Mapping[str, Mapping[str, WeightDistortion]]]
"""By site, weight and scheme."""


def weight_data(error: WeightDistortion) -> dict[str, Any]:
    """The figures of one weight; what an earlier version did not tell is left out."""
    figures = plain(asdict(error))
    return figures if error.most_flushed is not None else {n: f for n, f in figures.items() if n != "most_flushed"}


def weights_data(errors: Errors) -> dict[str, Any]:
    """`{weight: {scheme: {"sqnr_db", ...}}}`; what is no finite number is null."""
    return {
        weight: {scheme: weight_data(error) for scheme, error in schemes.items()}
        for weights in errors.values()
        for weight, schemes in weights.items()
    }
