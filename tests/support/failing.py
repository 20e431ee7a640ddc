"""Records that say much: linear inputs that miss their limits, under schemes."""

import math
from dataclasses import replace

import numpy as np

from pytest_maxact.numbers.channels import Channels
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from tests.support import fitness, records


def failing() -> Record:
    """Linear inputs that miss their limits, a weight without a figure, channels that smoothing would calm, and an
    effect.
    """
    worst = {name: fitness.sums(9.0, flushed=0.75) for name in fitness.SITES[:3]}
    bad = {fitness.SITES[4]: fitness.weight(math.nan, refused="4 is no multiple of its groups of 128")}
    whole = fitness.measured(
        worst=worst, weights=bad, effects={"W8A8": fitness.effect("W8A8", math.nan)}, predicts=True
    )
    loud = Channels({"a": np.array([0.5, 0.5, 0.5, 900.0], np.float32), "b": np.ones(4, np.float32)})
    return replace(
        whole,
        sites={
            name: records.holding(r, channels=loud) if distributions_of(r).channels else r
            for name, r in whole.sites.items()
        },
    )
