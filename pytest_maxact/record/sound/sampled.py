"""Whether sums of samples agree with those of the site, which its figures are taken of.

Guard: no interval is told of energies that are not the figure's own.
"""

from collections.abc import Mapping

import numpy as np

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.dot import dot
from pytest_maxact.numbers.energies import SampleSums, energies_of
from pytest_maxact.numbers.formats import INT8_POLICIES, integer_distortion
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading

_NEAR = 0.03
"""Energies are rounded by 1.1 % at most, those of groups twice."""


def require_sound_sampled(reading: SiteReading, units: int) -> None:
    """Of so many units of the Record. Raises ValueError that names the site and what it contradicts."""
    held, site = reading.held, reading.site.name
    if not isinstance(held, Distributions):
        return
    if held.sampled is not None:
        wholes = {name: (sums.signal, sums.error) for name, sums in held.schemes.items()}
        _require(f"{site}: sampled", held.sampled, wholes, units)
    if held.int8 is not None:
        values, counts = held.evaluation.finite()
        signal = dot(values * values, counts)
        told = {policy: integer_distortion(held.calibration, held.evaluation, policy) for policy in INT8_POLICIES}
        wholes = {policy: (signal, one.rel_rmse**2 * signal) for policy, one in told.items()}
        _require(f"{site}: int8", held.int8, wholes, units)


def _require(
    key: str, sums: SampleSums, wholes: Mapping[str, tuple[float, float]], units: int
) -> None:  # fmt: skip
    """`wholes`: signal and error of the site by the names of the errors."""
    if len(sums) != units:
        raise ValueError(f"{key}: {counted(len(sums), 'unit')} of {units}")
    if sums.errors.keys() != wholes.keys():
        raise ValueError(f"{key}: of {sorted(sums.errors)}, where {sorted(wholes)} were measured")
    for name, (signal, error) in wholes.items():
        for what, codes, whole in (("signal", sums.signal, signal), ("error", sums.errors[name], error)):
            found = float(energies_of(codes).sum())
            if not np.isclose(found, whole, rtol=_NEAR, atol=0.0):
                raise ValueError(f"{key}.{name}.{what}: {found:.6g} over samples, where the site has {whole:.6g}")
