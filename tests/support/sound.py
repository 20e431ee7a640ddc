"""Readings of one site that agree with themselves, and what is said of those that do not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.sound.site import Text, require_sound_site
from tests.support import records

CALIBRATION = [[1.0, -4.0, 2.0, 0.0]]
EVALUATION = [[2.0, 8.0, 0.5, 0.0], [1.0, 1.0, 1.0, -1.0]]
TEXT = Text(samples={"s0": 1, "s1": 2}, calibration=1, evaluation=2)
Change = Callable[[SiteReading], SiteReading]


def reading(kind: str = "hidden", calibration: Any = CALIBRATION, evaluation: Any = EVALUATION) -> SiteReading:
    name = f"layers.0.{kind}"
    samples = (("s0", "calibration", calibration), ("s1", "evaluation", evaluation))
    made = [records.Measured(id=i, split=split, values={name: np.asarray(values)}) for i, split, values in samples]
    return records.record_of(made)[name]


def holds(one: SiteReading, text: Text = TEXT, routed: bool = False) -> bool:
    require_sound_site(one, text, routed)
    return True


def refusal(one: SiteReading, text: Text = TEXT, routed: bool = False) -> str:
    with pytest.raises(ValueError, match=f"^{one.site.name}: ") as caught:
        require_sound_site(one, text, routed)
    return str(caught.value).removeprefix(f"{one.site.name}: ")


def holding(**values: Any) -> Change:
    return lambda one: records.holding(one, **values)
