"""Whether sums of samples agree with those of the site, which its figures are taken of.

Guard: no interval is told of energies that are not the figure's own.
"""

import numpy as np

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.energies import energies_of
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.units import units_of

_NEAR = 0.03
"""Energies are rounded by 1.1 % at most, those of groups twice."""


def require_sound_sampled(reading: SiteReading, provenance: Provenance) -> None:
    """Raises ValueError that names the site and what it contradicts."""
    held = reading.held
    if not isinstance(held, Distributions) or held.sampled is None:
        return
    key, units = f"{reading.site.name}: sampled", units_of(provenance)
    if len(held.sampled) != len(units.strata):
        raise ValueError(f"{key}: {counted(len(held.sampled), 'unit')} of {len(units.strata)}")
    if held.sampled.errors.keys() != held.schemes.keys():
        raise ValueError(f"{key}: of schemes {sorted(held.sampled.errors)}, where {sorted(held.schemes)} were measured")
    for name, sums in held.schemes.items():
        for what, codes, whole in (
            ("signal", held.sampled.signal, sums.signal), ("error", held.sampled.errors[name], sums.error),
        ):  # fmt: skip
            found = float(energies_of(codes).sum())
            if not np.isclose(found, whole, rtol=_NEAR, atol=0.0):
                raise ValueError(f"{key}.{name}.{what}: {found:.6g} over samples, where the site has {whole:.6g}")
