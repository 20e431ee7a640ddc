"""A measured artifact whose static scales are what a test says: reached by a factor of the exact maximum."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.static import StaticScale, top_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import held_of, held_scales
from pytest_maxact.settings.settings import Settings
from tests.support import scratch
from tests.support.exports import compressed
from tests.support.paths import TRAINED

DOWN = "model.layers.1.mlp.down_proj.input_scale"


@functools.cache
def artifact() -> Path:
    """The trained checkpoint in FP8 with static scales of inputs and of the cache."""
    return compressed.export(scratch.folder("maxact-static-") / "m", "FP8", TRAINED, kv_cache=True)


@functools.cache
def measured(sites: str = "all") -> Record:
    """Of it, its sites observed."""
    settings = Settings(model=str(artifact()), sites=sites, max_samples=12, max_seq_len=64, family="generic")
    return measure(prepare(settings), settings, "generic")


@functools.cache
def _met() -> dict[str, float]:
    """By scale, the largest entry of what it is of, those included for which another of a fused kernel is held."""
    record = measured()
    assert record.provenance.low_bits is not None
    return {one.tensor: held_scales([one], record.sites)[0].most for one in record.provenance.low_bits.static}


def same(scale: StaticScale) -> StaticScale:
    return scale


def calibrated(
    number: str = "fp8_e4m3", factor: float = 1.0, only: str = "", change: Callable[[StaticScale], StaticScale] = same
) -> Record:  # fmt: skip
    """The same artifact with scales in another format, that reach `factor` times what was met; `only`: of one tensor,
    where the others are fair.
    """
    record = measured()
    low_bits = record.provenance.low_bits
    assert low_bits is not None
    met = _met()
    scales = []
    for one in low_bits.static:
        reach = met[one.tensor] * (factor if only in ("", one.tensor) else 1.0)
        top = top_of(number)
        upside = number == "fp4_e2m1"
        stated = top / reach if upside else reach / top
        scales.append(change(replace(one, number=number, reach=reach, stated=stated, upside=upside, exact=not upside)))
    changed = replace(low_bits, static=tuple(scales))
    return replace(
        record, provenance=replace(record.provenance, low_bits=changed), static=held_of(changed, record.sites)
    )
