"""The effects of schemes after a pass: its Record and what was asked for in, effects by name out.

Guards that none is measured of a model that is broken, whose predictions nothing can be compared with.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from pytest_maxact.measure.effect.effects import Holds, measure_effects
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.effect import KEPT, Effect
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings


def effects_after(
    prepared: Prepared, settings: Settings, record: Record, failing: Mapping[str, Sequence[str]],
    bounded: Mapping[str, Holds],
) -> dict[str, Effect]:  # fmt: skip
    """What schemes do to predictions, and, as `W8A8 kept`, what they do with the sites at which they fail in 16 bits,
    or, as `W8A8 undone`, with the linear layer that breaks predictions.
    """
    if (
        not prepared.predicts
        or not settings.effects_measured
        or (record.predictions is not None and record.predictions.nonfinite)
        or any(reading.nonfinite for reading in record.sites.values())
    ):
        return {}
    schemes = [SCHEMES[name] for name in settings.effects_measured]
    effects = partial(
        measure_effects, prepared.checkpoint, settings, readings=record.sites, sequences=prepared.sequences,
        alone=record.provenance.batching["alone"] >= len(prepared.sequences), beside=prepared.beside,
        placement=prepared.placement,
    )  # fmt: skip
    found = effects(schemes=schemes, mend=bounded)
    mended = [scheme for scheme in schemes if scheme.name in failing]
    if mended:
        again = effects(schemes=mended, kept=failing)
        found |= {name + KEPT: effect for name, effect in again.items()}
    return found
