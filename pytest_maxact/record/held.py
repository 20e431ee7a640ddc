"""What a Record holds of a site: all that was seen, as distributions, or figures that were taken of them, a summary.

Both answer how many entries each split had and how many were not finite. What needs the distributions asks for them
(`reading.distributions_of`) and is refused where a summary stands: read as empty they would give small numbers, and a
bad model would pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.checked import Count
from pytest_maxact.numbers.energies import SampleSums
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.spread import Spread
from pytest_maxact.numbers.sums import SchemeSums


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Histograms of both splits, what each scheme does to sampled evaluation tokens, the maxima of channels where
    they were observed, and those of samples, in the order of `Provenance.samples`.

    `channels` are of calibration, `evaluated` of the evaluation split, of what a KV cache keeps, with how far keys lie
    from their mean, `spread`.
    """

    calibration: Histogram
    evaluation: Histogram
    schemes: Mapping[str, SchemeSums] = field(default_factory=dict)
    channels: Channels | None = None
    maxima: SampleMaxima | None = None
    """Of every sample the largest entry; None where routing hides it, and in a Record of an earlier version."""
    evaluated: Channels | None = None
    spread: Spread | None = None
    sampled: SampleSums | None = None
    """Of the units of the evaluation split (`units`) the energies of sampled tokens, and of their errors under each of
    the `schemes`; None where there are none, where routing hides whose they are, and in a Record of an earlier version.
    """
    int8: SampleSums | None = None
    """Of these units the energies of all tokens, and of their errors under INT-8 by policy; None where the scales were
    not known when they were seen, likewise where routing hides whose they are, and in a Record of an earlier version.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """How many entries a split had, those that are not finite included, and how many these were."""

    count: Count
    nonfinite: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures in place of distributions: `figures` by the names of metrics, the schemes that were measured, and whether
    channels were observed.
    """

    encoding: str
    calibration: Entries
    evaluation: Entries
    schemes: tuple[str, ...]
    has_channels: bool
    figures: Mapping[str, float]


def not_kept(what: str) -> InputError:
    """The error for what a summary does not hold."""
    return InputError(f"the Record is slim and does not hold {what}\n  measure again without {setting('slim')}")
