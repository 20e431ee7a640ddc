"""Sites that were read for static scales alone hold nothing that limits speak of, and agree with their artifact."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.record import require_sound
from tests.support.static_scales import measured

NAME = "layers.1.down_in"


def one(record: Record, change: Callable[[SiteReading], SiteReading], name: str = NAME) -> Record:
    return replace(record, scaled={**record.scaled, name: change(record.scaled[name])})


def hidden_away(record: Record) -> Record:
    """The output of a layer, where no limit looks."""
    sites = {name: reading for name, reading in record.sites.items() if name != "layers.1.mlp_output"}
    return replace(record, sites=sites, scaled={**record.scaled, "layers.1.mlp_output": record["layers.1.mlp_output"]})


def called_for(record: Record, *calls: str) -> Record:
    assert record.provenance.low_bits is not None
    low_bits = replace(record.provenance.low_bits, calls=calls)
    return replace(record, provenance=replace(record.provenance, low_bits=low_bits))


CONTRADICTIONS: dict[str, tuple[Callable[[Record], Record], str]] = {
    "an output": (hidden_away, "scaled: layers.1.mlp_output is a site that limits speak of"),
    "one that is among the others": (
        lambda record: replace(record, sites={**record.sites, NAME: record.scaled[NAME]}),
        f"scaled: {NAME} is a site that limits speak of",
    ),
    "inputs that no scale is called for": (
        lambda record: called_for(record, "cache"), "of which no static scale is called for",
    ),
    "an artifact in 16 bits": (
        lambda record: replace(record, provenance=replace(record.provenance, low_bits=None)),
        "of which no static scale is called for",
    ),
    "a layer that there is not": (
        lambda record: one(record, lambda reading: replace(reading, site=replace(reading.site, layer=9))),
        "of a model of 6 layers",
    ),
    "text as deployed at some": (
        lambda record: one(record, lambda reading: replace(reading, as_deployed=None)), "some met text as it is",
    ),
    "a smaller maximum": (
        lambda record: one(
            record, lambda reading: replace(reading, peaks=(replace(reading.peaks[0], value=1.0), *reading.peaks[1:]))
        ),
        "peaks.0",
    ),
    "none of a site that was read": (
        lambda record: replace(record, scaled={name: two for name, two in record.scaled.items() if name != NAME}),
        "static: 36 scales, where the sites have 35",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_named(name: str) -> None:
    change, said = CONTRADICTIONS[name]
    with pytest.raises(ValueError, match=said):
        require_sound(change(measured("auto")))


def test_what_was_measured_is_sound() -> None:
    require_sound(measured("auto"))
