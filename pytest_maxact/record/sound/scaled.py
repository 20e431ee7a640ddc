"""Whether sites that were read for static scales alone agree with themselves and with their artifact: a Record in,
nothing out, or ValueError with the first contradiction.

Guards that no site which limits speak of stands where they do not look.
"""

import math
from collections.abc import Collection

from pytest_maxact.errors import shown
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.site import Text, require_sound_site
from pytest_maxact.record.static import are_held


def require_sound_scaled(record: Record, text: Text, routed: Collection[int | None]) -> None:
    """`routed`: layers whose router was read. Raise ValueError that names the key and what it contradicts."""
    low_bits = record.provenance.low_bits
    for name, reading in record.scaled.items():
        site = reading.site
        if not site.is_beside or name in record.sites:
            raise ValueError(f"scaled: {shown(name)} is a site that limits speak of")
        if low_bits is None or not are_held(low_bits.calls, [site]):
            raise ValueError(f"scaled: {name}, of which no static scale is called for (provenance.low_bits.calls)")
        if site.layer is None or site.layer >= record.provenance.layers:
            raise ValueError(f"scaled: {name} of a model of {record.provenance.layers} layers (provenance.layers)")
        if reading.held.schemes or reading.weights:
            raise ValueError(f"scaled: {name}: under a scheme, which is measured of asked sites alone")
        if reading.as_deployed is not None and math.isnan(reading.as_deployed):
            raise ValueError(f"scaled: {name}: as_deployed: nan, where what is no number counts as inf")
        require_sound_site(reading, text, is_routed=site.layer in routed)
    met = {reading.as_deployed is not None for reading in record.scaled.values()}
    if len(met) > 1:
        raise ValueError("scaled: some met text as it is deployed, and some did not")
    types = {type(reading.held) for reading in (*record.sites.values(), *record.scaled.values())}
    if len(types) > 1:
        raise ValueError("scaled: distributions here and figures in their place there")
