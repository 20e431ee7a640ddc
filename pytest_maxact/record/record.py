"""The Record: all that one pass saw, and everything a verdict needs.

Plain data: reading and writing it (`file`), merging (`merge`), summing up (`summary`) and laying it out (`table`) are
functions beside it.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.noise import Noise
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.held import Summary
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading, by_depth
from pytest_maxact.record.scores import LayerScores
from pytest_maxact.record.source import AgainstSource
from pytest_maxact.record.static import HeldScale
from pytest_maxact.record.stress import Stress

METRIC_VERSION = 2
"""Raised when a change of code changes a figure; Records of different metric versions are not judged or compared."""

STRESSED, HUNTED = "stress", "hunt"
"""What is tried beside a corpus, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured checkpoint: provenance and the reading of every site, in depth order."""

    provenance: Provenance
    sites: Mapping[str, SiteReading]
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """What schemes do to predictions, by scheme."""
    weights: WeightScan | None = None
    """What every tensor of the weight files holds; None in Records of versions that did not read them."""
    predictions: Predictions | None = None
    """What the model itself predicts; None in a Record of a version that did not measure it."""
    scores: tuple[LayerScores, ...] | None = None
    """Attention scores of every layer whose attention was seen; None where none was looked for."""
    logits: tuple[LayerLogits, ...] | None = None
    """Attention logits, head by head; None where none were looked for."""
    noise: Noise | None = None
    """How far figures moved when samples were measured again; None where none were."""
    static: tuple[HeldScale, ...] | None = None
    """Static scales of an artifact held against what was measured; None where none is called for, or none of those
    sites was read.
    """
    scaled: Mapping[str, SiteReading] = field(default_factory=dict)
    """Sites that were read for static scales alone: no other figure or limit is of them."""
    source: AgainstSource | None = None
    """What was compared with the source that its weights were made from; None where nothing was."""
    stress: Stress | None = None
    """What inputs did that no corpus has, apart from all other figures; None where none were tried."""
    hunt: tuple[Hunted, ...] | None = None
    """What a search for worse inputs found, site by site; None where there was none."""
    untried: Mapping[str, str] = field(default_factory=dict)
    """What was to be tried beside the corpus and could not be, `stress` or `hunt`, and why."""
    token_texts: Mapping[str, str] | None = None
    """What tokens say at which samples have their largest entries, by id; None where it is not known."""
    metric_version: int = field(default=METRIC_VERSION)

    @property
    def tokens(self) -> int:
        return self.provenance.tokens

    def __getitem__(self, site: str) -> SiteReading:
        """The reading of a site by name. Raises KeyError that names the closest sites."""
        if site not in self.sites:
            close = difflib.get_close_matches(site, self.sites, n=2)
            raise KeyError(
                f"no site {site!r} in this Record; "
                + (f"did you mean {' or '.join(close)}?" if close else f"it has {counted(len(self.sites), 'site')}")
            )
        return self.sites[site]

    @property
    def observed(self) -> Mapping[str, SiteReading]:
        """Every site that was read, those for static scales alone among them, in depth order."""
        return by_depth(self.sites, self.scaled) if self.scaled else self.sites

    @property
    def carrier(self) -> SiteReading:
        """The site that holds M, the largest magnitude of all counted sites; the shallowest of equals."""
        counted = [reading for reading in self.sites.values() if reading.site.counted]
        return min(counted, key=lambda reading: (-reading.max_abs, reading.site.order))

    @property
    def is_linted(self) -> bool:
        """Whether scales and codes of its quantized weights were looked at."""
        return self.weights is not None and self.weights.lint is not None

    @property
    def is_predicted(self) -> bool:
        """Whether it tells the model's own predictions, or failed to where it should."""
        return self.predictions is not None and not self.predictions.by_design

    @property
    def is_probed(self) -> bool:
        """Whether it tells what each layer does; an earlier version did not look."""
        return any(reading.probe for reading in self.sites.values())

    @property
    def is_stressed(self) -> bool:
        """Whether a stress set was tried on its model, or was to be."""
        return self.stress is not None or STRESSED in self.untried

    @property
    def is_hunted(self) -> bool:
        """Whether its model was searched for worse inputs, or was to be."""
        return bool(self.hunt) or HUNTED in self.untried

    @property
    def is_summary(self) -> bool:
        """Whether it holds figures in place of distributions."""
        return any(isinstance(reading.held, Summary) for reading in self.sites.values())


def first_broken(readings: Iterable[SiteReading]) -> SiteReading | None:
    """Where a NaN or an infinity came from: of the sites that hold one, the first in the order in which values arise;
    None where all entries are finite.
    """
    return min((reading for reading in readings if reading.nonfinite), key=lambda r: r.site.flow, default=None)
