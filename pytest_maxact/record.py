"""The Record: all that one pass saw, and everything a verdict needs. No model and no torch is needed to read it (`record_file`) or to judge it.

Records of parts of one corpus merge by addition, in any order, to the identical whole.
"""

import difflib
import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_maxact.errors import InputError
from pytest_maxact.histogram import Histogram
from pytest_maxact.names import Site

METRIC_VERSION = 2
"""Raised when a change of code changes a figure; Records of different metric versions are not judged or compared."""
SPLITS = ("calibration", "evaluation")
PEAKS_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """One large entry: its signed value, and where it sat. `channel` is the index along the site's width; `part` names the module where a
    site joins several (the routed and the shared experts of one layer). `sample` and `token` are empty where routing hides the row."""

    value: float
    sample: str
    position: int
    token: str
    token_id: int
    channel: int
    part: str = ""

    @property
    def order(self) -> tuple[float, str, int, str, int, float]:
        """Total order, largest first: equal magnitudes rank by sample, position and channel, so merging has one answer."""
        return -abs(self.value), self.sample, self.position, self.part, self.channel, -self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Massive:
    """The massive-activation test of Sun et al. (COLM 2024) on a residual stream: |x| > 100 and |x| > 1000 times the token's median |x|.

    `tokens` and `entries` that satisfy it; `max_ratio` is the largest |x| / median over tokens with an entry above 100, None without such a token.
    """

    tokens: int = 0
    entries: int = 0
    max_ratio: float | None = None

    def __add__(self, other: "Massive") -> "Massive":
        ratios = [r for r in (self.max_ratio, other.max_ratio) if r is not None]
        return Massive(tokens=self.tokens + other.tokens, entries=self.entries + other.entries, max_ratio=max(ratios, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """Where the first NaN or infinity of a site sat, in sample order."""

    sample: str
    position: int
    token: str
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReading:
    """What was seen at one site. `dtype` is the tensor's own; float32 sites keep exact peaks beside a bfloat16-rounded histogram.

    `expert_tokens`, at router sites: how many tokens each routed expert was given.
    """

    site: Site
    dtype: str
    width: int
    calibration: Histogram
    evaluation: Histogram
    peaks: tuple[Peak, ...]
    massive: Massive | None = None
    first_nonfinite: NonFinite | None = None
    expert_tokens: tuple[int, ...] | None = None

    @property
    def unreached_experts(self) -> tuple[int, ...]:
        """Experts that no token was given to."""
        return tuple(expert for expert, tokens in enumerate(self.expert_tokens or ()) if not tokens)

    @property
    def histogram(self) -> Histogram:
        """The site's whole distribution."""
        return self.calibration + self.evaluation

    @property
    def max_abs(self) -> float:
        """Largest magnitude, exact in the site's own dtype; inf where any entry is NaN or infinite, so that no bound holds by accident."""
        return math.inf if self.nonfinite else self.finite_max

    @property
    def finite_max(self) -> float:
        """Largest finite magnitude, whatever else there is; 0.0 for none."""
        return abs(self.peaks[0].value) if self.peaks else 0.0

    @property
    def nonfinite(self) -> int:
        return self.calibration.nonfinite + self.evaluation.nonfinite

    @property
    def count(self) -> int:
        return self.calibration.count + self.evaluation.count

    def __add__(self, other: "SiteReading") -> "SiteReading":
        same = (self.site, self.dtype, self.width) == (other.site, other.dtype, other.width)
        if not same:
            raise InputError(f"readings of {self.site.name} differ in dtype, width or module and do not merge")
        peaks = sorted((*self.peaks, *other.peaks), key=lambda peak: peak.order)[:PEAKS_KEPT]
        first = min(
            (p for p in (self.first_nonfinite, other.first_nonfinite) if p), key=lambda p: (p.sample, p.position, p.channel), default=None
        )
        massive = self.massive + other.massive if self.massive and other.massive else None
        given = (self.expert_tokens, other.expert_tokens)
        counted = given[0] is not None and given[1] is not None
        return replace(
            self,
            calibration=self.calibration + other.calibration,
            evaluation=self.evaluation + other.evaluation,
            peaks=tuple(peaks),
            massive=massive,
            first_nonfinite=first,
            expert_tokens=tuple(sum(pair) for pair in zip(given[0] or (), given[1] or (), strict=True)) if counted else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a Record was measured from and how; the fields that decide whether two Records may be compared."""

    model: str
    revision: str | None
    weights_sha256: str
    model_type: str
    architecture: str
    family: str | None
    layers: int
    hidden_size: int
    config_sha256: str
    left_out: tuple[str, ...]
    tokenizer_sha256: str
    remote_code: bool
    protocol: str
    corpus: str
    corpus_sha256: str
    samples: tuple[tuple[str, str, str, int], ...]
    """Every sample's (id, category, split, tokens), in id order."""
    max_seq_len: int
    dtype: str
    device: str
    attention: str
    experts: str | None
    batching: Mapping[str, int]
    """`batch_tokens` asked for, `batches` run, `padded_tokens` excluded, `out_of_memory` halvings, sequences run `alone` because the model lets a
    token see its batch."""
    versions: Mapping[str, str]
    sample_digests: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return sum(count for *_, count in self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured checkpoint: provenance and the reading of every site, in depth order."""

    provenance: Provenance
    readings: Mapping[str, SiteReading]
    metric_version: int = field(default=METRIC_VERSION)

    @property
    def tokens(self) -> int:
        return self.provenance.tokens

    def __getitem__(self, site: str) -> SiteReading:
        """The reading of a site by name. Raises KeyError that names the closest sites."""
        if site not in self.readings:
            close = difflib.get_close_matches(site, self.readings, n=2)
            raise KeyError(
                f"no site {site!r} in this Record; "
                + (f"did you mean {' or '.join(close)}?" if close else f"it has {len(self.readings)} sites")
            )
        return self.readings[site]

    @property
    def carrier(self) -> SiteReading:
        """The site that holds M, the largest magnitude of all counted sites; the shallowest of equals."""
        counted = [reading for reading in self.readings.values() if reading.site.counted]
        return min(counted, key=lambda reading: (-reading.max_abs, reading.site.order))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the Record to `path`, whole or not at all. Raises InputError where the place cannot be written."""
        from pytest_maxact.record_file import write

        write(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Record":
        """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of another version."""
        from pytest_maxact.record_file import read

        return read(Path(path))


def merge(records: Iterable[Record]) -> Record:
    """The Record of the union of several parts of one corpus, whatever their order.

    Raises InputError where the parts differ in anything but their samples, or share a sample.
    """
    first, *rest = records
    for other in rest:
        if first.readings.keys() != other.readings.keys():
            raise InputError("these Records are not parts of one measurement; they observed different sites")
        if differing := incomparable(first.provenance, other.provenance):
            raise InputError(f"these Records are not parts of one measurement; they differ in {', '.join(differing)}")
    parts = [first, *rest]
    pairs = sorted((s, d) for part in parts for s, d in zip(part.provenance.samples, part.provenance.sample_digests, strict=True))
    names = [sample[0] for sample, _ in pairs]
    if len(set(names)) != len(names):
        raise InputError("these Records share samples; merging them would count those twice")
    batching = {key: sum(p.provenance.batching[key] for p in parts) for key in first.provenance.batching if key != "batch_tokens"}
    digests = tuple(digest for _, digest in pairs)
    provenance = replace(
        first.provenance,
        samples=tuple(sample for sample, _ in pairs),
        sample_digests=digests,
        corpus_sha256=corpus_digest(digests),
        batching={"batch_tokens": first.provenance.batching["batch_tokens"], **batching},
    )
    readings = {}
    for name in first.readings:
        reading = parts[0].readings[name]
        for part in parts[1:]:
            reading = reading + part.readings[name]
        readings[name] = reading
    return Record(provenance=provenance, readings=readings)


def incomparable(one: Provenance, other: Provenance) -> list[str]:
    """The fields that two parts of one measurement must share and these do not."""
    names = ("weights_sha256", "config_sha256", "tokenizer_sha256", "protocol", "dtype", "max_seq_len", "attention", "experts", "left_out")
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def corpus_digest(sample_digests: Iterable[str]) -> str:
    """Identity of a corpus: SHA-256 over its samples' digests in sorted order, so that it does not depend on their order."""
    return hashlib.sha256("\n".join(sorted(sample_digests)).encode()).hexdigest()
