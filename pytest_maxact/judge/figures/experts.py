"""How tokens are spread over routed experts: a Record in, the spread of every layer out. Experts that no token reached
are counted by themselves, so that no average hides them.
"""

from dataclasses import dataclass

import numpy as np

from pytest_maxact.judge.verdict.words import describe_unreached
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertLayer:
    """One layer: the loads of its experts as multiples of an even share, from the least to the `most` loaded one, which
    is `busiest`; `pairs` of a token and an expert that it is given to; how many no token reached, and which in words.
    """

    site: str
    layer: int
    experts: int
    pairs: int
    least: float
    low: float
    median: float
    high: float
    most: float
    busiest: int
    unreached: int
    which: str


def expert_layers(record: Record) -> tuple[ExpertLayer, ...]:
    """In depth order; none of a model without routed experts."""
    return tuple(_layer(reading) for reading in record.sites.values() if reading.tokens_per_expert)


def _layer(reading: SiteReading) -> ExpertLayer:
    given = np.array(reading.tokens_per_expert, np.float64)
    even = given.sum() / len(given)
    loads = given / even if even else given
    least, low, median, high, most = (float(one) for one in np.quantile(loads, (0.0, 0.1, 0.5, 0.9, 1.0)))
    unreached = len(reading.unreached_experts)
    return ExpertLayer(
        site=reading.site.name,
        layer=reading.site.layer or 0,
        experts=len(given),
        pairs=int(given.sum()),
        least=least,
        low=low,
        median=median,
        high=high,
        most=most,
        busiest=int(given.argmax()),
        unreached=unreached,
        which=describe_unreached(reading) if unreached else "",
    )
