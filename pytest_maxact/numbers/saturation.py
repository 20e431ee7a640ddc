"""Whether a maximum still grows with more text: the largest entry of every sample and its tokens in, the running
maximum against tokens out, in many seeded orders of the samples.

A pure function: the same numbers and seed give the same curve. Where several samples share the maximum, as they do on a
plateau of 16 bits, most orders meet it early; where one sample alone has it, half of all orders meet it in their last
half.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ORDERS = 100
SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Of the tokens, at which the curve is told."""
_BAND = (0.025, 0.975)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """`tokens` at which the running maximum of whole samples is told, as many as the longest sample has or more, so
    that no order has nothing yet; its `mean` over orders and the band of 95 of 100 of them.

    `last_rose`: after so many tokens it last rose in the order of the Record. `last_half`: by what share of the maximum
    the second half of the text raised it, on average; `late`: the share of orders that met the maximum in their second
    half. `holders`: samples that have it.
    """

    tokens: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    last_rose: int
    last_half: float
    late: float
    holders: int


def shuffled(samples: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Orders of samples, int64 [ORDERS, samples]."""
    generator = np.random.default_rng(seed)
    return generator.permuted(np.tile(np.arange(samples), (ORDERS, 1)), axis=1)


def saturation(magnitudes: Floats, tokens: npt.NDArray[np.int64], orders: npt.NDArray[np.int64]) -> Saturation:
    """Of at least one sample: the largest magnitude of each [samples], and its tokens."""
    running = np.maximum.accumulate(magnitudes[orders], axis=1)
    seen = np.cumsum(tokens[orders], axis=1)
    total, largest = int(tokens.sum()), float(magnitudes.max())
    longest = int(tokens.max())
    wanted = sorted({many for many in (max(1, round(share * total)) for share in SHARES) if many >= longest})
    told = np.stack([_at(running, seen, tokens_there) for tokens_there in wanted])
    half = _at(running, seen, max(1, total // 2))
    in_order = np.maximum.accumulate(magnitudes)
    rises = np.flatnonzero(np.diff(in_order, prepend=-1.0) > 0)
    low, high = np.quantile(told, _BAND, axis=1)
    return Saturation(
        tokens=tuple(wanted),
        mean=tuple(told.mean(1).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        last_rose=int(np.cumsum(tokens)[rises[-1]]),
        last_half=float(1 - half.mean() / largest) if largest else 0.0,
        late=float((half < largest).mean()),
        holders=int((magnitudes == largest).sum()),
    )


def _at(running: Floats, seen: npt.NDArray[np.int64], tokens: int) -> Floats:
    """The running maximum of every order once so many tokens were seen, in whole samples: 0 before the first."""
    whole = (seen <= tokens).sum(1)
    return np.where(whole > 0, np.take_along_axis(running, np.maximum(whole - 1, 0)[:, None], 1)[:, 0], 0.0)
