"""The figures of a site that follow from its histograms, or that a summary kept of them: the same numbers either
way.

Non-finite entries are left out of every figure here; `verdict` says what a site that has any is worth. Figures are kept
by the names of metrics, `rms`, `quantile.<q>`, `int<bits>.<policy>.<quantity>` and `<SCHEME>.<quantity>`, beside
`mean_abs` and `smoothing_gain_db`, which are only reported.
"""

from pytest_maxact.numbers.formats import FormatDistortion, integer_distortion
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.held import Summary, not_kept
from pytest_maxact.record.metrics.distortion import restored
from pytest_maxact.record.reading import SiteReading

_EMPTY = Histogram.empty("bfloat16")


def rms(reading: SiteReading) -> float:
    """Root of the mean square."""
    return reading.held.figures["rms"] if isinstance(reading.held, Summary) else reading.histogram.rms


def mean_abs(reading: SiteReading) -> float:
    """Mean magnitude."""
    return reading.held.figures["mean_abs"] if isinstance(reading.held, Summary) else reading.histogram.mean_abs


def quantile(reading: SiteReading, q: float) -> float:
    """As `Histogram.quantile`. Raises ValueError for a q outside (0, 1], InputError for one that a summary did not
    keep.
    """
    if not isinstance(reading.held, Summary):
        return reading.histogram.quantile(q)
    _EMPTY.quantile(q)  # a name that means nothing is refused as such
    name = quantile_name(q)
    if name not in reading.held.figures:
        raise not_kept(f"{name} of {reading.site.name}")
    return reading.held.figures[name]


def integer_figures(reading: SiteReading, policy: str, bits: int = 8) -> FormatDistortion:
    """As `formats.integer_distortion`. Raises ValueError for another width or policy, InputError for what a summary
    did not keep.
    """
    if not isinstance(reading.held, Summary):
        return integer_distortion(reading.held.calibration, reading.held.evaluation, policy, bits)
    integer_distortion(_EMPTY, _EMPTY, policy, bits)  # likewise
    name = integer_name(policy, bits)
    if f"{name}.sqnr_db" not in reading.held.figures:
        raise not_kept(f"the error of {name} at {reading.site.name}")
    return restored(FormatDistortion, name, reading.held.figures, policy=policy)


def quantile_name(q: float) -> str:
    return f"quantile.{float(q)!r}"


def integer_name(policy: str, bits: int) -> str:
    """What the figures of a policy and width begin with, however the quantile is written: `int8.clip_q0.999` for
    `clip_q.9990`.
    """
    share = policy.removeprefix("clip_q")
    return f"int{bits}.{policy if share == policy else f'clip_q{float(share)!r}'}"


QUANTILES = (0.5, 0.99, 0.999)
