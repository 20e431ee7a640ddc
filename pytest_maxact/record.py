"""The Record: all that one pass saw, and everything a verdict needs. No model and no torch is needed to read it
(`record_file`) or to judge it.

Records of parts of one corpus merge by addition, in any order, to the identical whole.
"""

import difflib
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError
from pytest_maxact.reading import SiteReading

KEPT = " kept"
"""Ends the name of an effect that was measured with the sites that fail kept in 16 bits: `W8A8 kept`."""
METRIC_VERSION = 2
"""Raised when a change of code changes a figure; Records of different metric versions are not judged or compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a scheme does to predictions on evaluation samples: `mean_kl` and `kl_q99`, Kullback-Leibler divergence of
    the next-token distribution from that of the model itself, in nats, over `tokens` tokens; `top1_agreement`, the
    share of them whose most likely token stays; `perplexity` of the model itself and `perplexity_ratio` of the
    quantized one to it. `kept`: sites that stayed in 16 bits.
    """

    scheme: str
    samples: int
    tokens: int
    mean_kl: float
    kl_q99: float
    top1_agreement: float
    perplexity: float
    perplexity_ratio: float
    kept: tuple[str, ...] = ()


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
    """`batch_tokens` asked for, `batches` run, `padded_tokens` excluded, `out_of_memory` halvings, sequences run
    `alone` because the model lets a token see its batch.
    """
    versions: Mapping[str, str]
    sample_digests: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    """Schemes that the inputs of linear layers were quantized with."""
    predicts: bool = True
    """Whether it has a next-token distribution, on which the effect of a scheme can be measured."""
    sampling: int = 1
    """One evaluation token in so many was quantized."""

    @property
    def tokens(self) -> int:
        return sum(count for *_, count in self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured checkpoint: provenance and the reading of every site, in depth order."""

    provenance: Provenance
    sites: Mapping[str, SiteReading]
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """What schemes do to predictions, by scheme."""
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
                + (f"did you mean {' or '.join(close)}?" if close else f"it has {len(self.sites)} sites")
            )
        return self.sites[site]

    def readings(self) -> list[dict[str, str | int | float | None]]:
        """A row of plain values per site, ready for a data frame: `pandas.DataFrame(record.readings())`."""
        from pytest_maxact.rows import rows

        return rows(self)

    @property
    def carrier(self) -> SiteReading:
        """The site that holds M, the largest magnitude of all counted sites; the shallowest of equals."""
        counted = [reading for reading in self.sites.values() if reading.site.counted]
        return min(counted, key=lambda reading: (-reading.max_abs, reading.site.order))

    @property
    def is_slim(self) -> bool:
        """Whether it holds figures in place of histograms."""
        return any(reading.is_slim for reading in self.sites.values())

    def slim(self, metrics: Iterable[str] = ()) -> "Record":
        """The same with figures in place of histograms: those that reports, comparisons and shipped limits read, and
        `metrics`, named as in limits.

        Raises InputError for a metric that there is not, or that this Record, slim already, did not keep.
        """
        from pytest_maxact.slim import slim

        return slim(self, metrics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the Record to `path`, whole or not at all. Raises InputError where the place cannot be written."""
        from pytest_maxact.record_file import write

        write(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Record":
        """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of
        another version.
        """
        from pytest_maxact.record_file import read

        return read(Path(path))


def merge(records: Iterable[Record]) -> Record:
    """The Record of the union of several parts of one corpus, whatever their order.

    Raises InputError where the parts differ in anything but their samples, share a sample, or are slim.
    """
    first, *rest = records
    if any(part.is_slim for part in (first, *rest)):
        raise InputError(
            "a slim Record holds no histograms that add up\n  merge Records that were measured without --maxact-slim"
        )
    for other in rest:
        if first.sites.keys() != other.sites.keys():
            raise InputError("these Records are not parts of one measurement; they observed different sites")
        if first.effects or other.effects:
            raise InputError(
                "the effect of a scheme on predictions does not add up over parts of a corpus; measure it on the whole"
            )
        if differing := incomparable(first.provenance, other.provenance):
            raise InputError(f"these Records are not parts of one measurement; they differ in {', '.join(differing)}")
    parts = [first, *rest]
    pairs = sorted(
        (s, d) for part in parts for s, d in zip(part.provenance.samples, part.provenance.sample_digests, strict=True)
    )
    names = [sample[0] for sample, _ in pairs]
    if len(set(names)) != len(names):
        raise InputError("these Records share samples; merging them would count those twice")
    batching = {
        key: sum(p.provenance.batching[key] for p in parts)
        for key in first.provenance.batching
        if key != "batch_tokens"
    }
    digests = tuple(digest for _, digest in pairs)
    provenance = replace(
        first.provenance,
        samples=tuple(sample for sample, _ in pairs),
        sample_digests=digests,
        corpus_sha256=corpus_digest(digests),
        batching={"batch_tokens": first.provenance.batching["batch_tokens"], **batching},
    )
    readings = {}
    for name in first.sites:
        reading = parts[0].sites[name]
        for part in parts[1:]:
            reading = reading + part.sites[name]
        readings[name] = reading
    return Record(provenance=provenance, sites=readings)


def incomparable(one: Provenance, other: Provenance) -> list[str]:
    """The fields that two parts of one measurement must share and these do not."""
    names = (
        "weights_sha256",
        "config_sha256",
        "tokenizer_sha256",
        "protocol",
        "dtype",
        "max_seq_len",
        "attention",
        "experts",
        "left_out",
        "schemes",
        "sampling",
    )
    return [name for name in names if getattr(one, name) != getattr(other, name)]


COMPARABLE = ("corpus_sha256", "tokenizer_sha256", "protocol", "dtype", "max_seq_len")
"""What two measurements share whose figures may be compared."""


def footing_of(provenance: Provenance) -> dict[str, Any]:
    """The fields of `COMPARABLE`, by name."""
    return {name: getattr(provenance, name) for name in COMPARABLE}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The fields of `COMPARABLE` in which two footings differ, each with both values, as in `dtype (bfloat16 there,
    float32 here)`.

    None, what only loading can tell, differs from nothing.
    """
    return [
        f"{name} ({_brief(there[name])} there, {_brief(here[name])} here)"
        for name in COMPARABLE
        if there[name] is not None and here[name] is not None and there[name] != here[name]
    ]


def _brief(value: Any) -> str:
    """A value in words; of a SHA-256 its beginning."""
    text = str(value)
    return text[:12] if len(text) == 64 else text


def corpus_digest(sample_digests: Iterable[str]) -> str:
    """Identity of a corpus: SHA-256 over its samples' digests in sorted order, so that it does not depend on their
    order.
    """
    return hashlib.sha256("\n".join(sorted(sample_digests)).encode()).hexdigest()
