"""Samples of a made-up model, of the kinds that a Record has to tell apart."""

import numpy as np

from tests.support.records import Measured, bf16

SITES = ("embedding", "layers.0.hidden", "layers.0.gate", "layers.1.hidden", "layers.1.gate", "final_norm")


def measured(count: int, seed: int = 0, broken: bool = True) -> list[Measured]:
    """Samples of unequal lengths in two splits, with massive, tied and non-finite entries."""
    generator = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        tokens = int(generator.integers(1, 5))
        values = {name: bf16(np.round(generator.standard_normal((tokens, 4)) * 8)) for name in SITES}
        values["layers.1.hidden"][0, 1] = generator.choice([200.0, -200.0, 3008.0])
        if broken and index % 3 == 1:
            values["layers.0.gate"][tokens - 1, 2] = generator.choice([np.nan, np.inf])
        split = ("calibration", "evaluation")[index % 3 > 0]
        samples.append(Measured(id=f"s{index:02d}", category="ab"[index % 2], split=split, values=values))
    return samples
