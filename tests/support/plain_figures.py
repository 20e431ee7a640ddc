"""The figures of a round trip, entry by entry from raw signed tensors: the reference for what histograms give."""

import math
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.formats import FormatDistortion
from tests.support.records import bf16

Floats = npt.NDArray[np.float64]


def figures(values: Floats, restored: Floats, levels: Floats, threshold: float) -> dict[str, float]:
    """Every quantity of a FormatDistortion from signed raw values and what a quantizer made of them."""
    error, nonzero = values - restored, values[values != 0]
    signal, noise = math.fsum(values * values), math.fsum(error * error)
    return {
        "threshold": threshold,
        "sqnr_db": 10 * math.log10(signal / noise) if noise else math.inf,
        "rel_rmse": math.sqrt(noise / signal) if signal else 0.0,
        "rel_mae": math.fsum(np.abs(error)) / math.fsum(np.abs(values)) if signal else 0.0,
        "clip_rate": np.count_nonzero(np.abs(values) > threshold) / values.size if values.size else 0.0,
        "flush_to_zero": np.count_nonzero((values != 0) & (levels == 0)) / nonzero.size if nonzero.size else 0.0,
        "levels_used": len(set(np.abs(levels).tolist())),
    }


def reported(error: FormatDistortion) -> dict[str, float]:
    return {name: value for name, value in asdict(error).items() if name != "policy"}


def heavy_tailed(size: int, seed: int, outlier: float = 0.0) -> Floats:
    """Signed bfloat16 values like activations: normal with a few large entries, and one outlier where given."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(size) * np.exp(random.standard_normal(size))
    values[: size // 1000] *= 100
    if outlier:
        values[size // 2] = outlier
    return bf16(values)
