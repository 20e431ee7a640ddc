"""A Record as one JSON document and arrays, and back: what a file holds of it.

The document is provenance and readings (`schema` says what may stand in it); the arrays are the histograms (two per
site, calibration and evaluation split, their non-empty bins end to end) and the maxima of channels and of samples,
compressed (`packing`, `by_sample`, `by_sample_sums`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.formats import INT8_POLICIES
from pytest_maxact.numbers.histogram import BINS, Histogram
from pytest_maxact.record.around import texts_around, with_around, without_around
from pytest_maxact.record.by_sample import packed_maxima, unpacked_maxima
from pytest_maxact.record.by_sample_sums import packed_sums, unpacked_sums
from pytest_maxact.record.held import Distributions, Summary
from pytest_maxact.record.packing import Bytes, differences, packed, summed, unpacked
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.schema import SCHEMA, Bins, SeenSite, StoredRecord, SummedSite, plain
from pytest_maxact.record.units import units_of

_MOST = 1 << 27
"""So many bins, and so many channels, a Record holds at most: 2 000 sites of which every magnitude of 16 bits occurred
in both splits.
"""


def document_of(record: Record) -> dict[str, Any]:
    """Provenance, readings and effects as JSON."""
    document: dict[str, Any] = plain(
        StoredRecord(
            schema=SCHEMA,
            metric_version=record.metric_version,
            provenance=record.provenance,
            sites=tuple(_stored(without_around(reading)) for reading in record.sites.values()),
            effects=dict(record.effects),
            weights=record.weights,
            predictions=record.predictions,
            scores=record.scores,
            logits=record.logits,
            noise=record.noise,
            static=record.static,
            scaled=tuple(_stored(without_around(reading)) for reading in record.scaled.values()),
            source=record.source,
            stress=record.stress,
            hunt=record.hunt,
            untried=dict(record.untried) or None,
            token_texts=dict(record.token_texts) if record.token_texts is not None else None,
            around=texts_around(record.sites.values()) or None,
        )
    )
    return document


def tensors_of(record: Record) -> dict[str, Bytes]:
    """Histograms and maxima of channels of all sites, each end to end, as compressed bytes."""
    every = (*record.sites.values(), *record.scaled.values())
    seen = [(one, one.held) for one in every if isinstance(one.held, Distributions)]
    held = [one for _, one in seen]
    sampled = [(reading.site.kind, one.sampled) for reading, one in seen if one.sampled is not None]
    int8 = [(reading.site.kind, one.int8) for reading, one in seen if one.int8 is not None]
    histograms = [histogram for one in held for histogram in (one.calibration, one.evaluation)]
    channels = [amax for one in held for some in (one.channels, one.evaluated) for amax in _in_order(some)]
    return {
        **packed("bins", differences(np.concatenate([np.zeros(0, np.uint16), *(h.bins for h in histograms)]))),
        **packed("counts", differences(np.concatenate([np.zeros(0, np.int64), *(h.counts for h in histograms)]))),
        **packed("channels", np.concatenate([np.zeros(0, np.float32), *channels]).view(np.uint32)),
        **packed_maxima([(reading.site.kind, one.maxima) for reading, one in seen if one.maxima is not None]),
        **packed_sums("sampled", sampled),
        **packed_sums("int8", int8),
    }


def record_of(document: StoredRecord, tensors: Mapping[str, Bytes]) -> Record:
    """The reverse of both. Raises ValueError where the tensors do not hold what the document counts."""
    every = (*document.sites, *document.scaled)
    held = zip(every, _held(every, tensors, document.provenance), strict=True)
    readings = [(entry.site.name, _reading(entry, kept)) for entry, kept in held]
    asked = len(document.sites)
    return Record(
        provenance=document.provenance,
        sites=with_around(dict(readings[:asked]), document.around or {}),
        scaled=dict(readings[asked:]),
        effects=document.effects,
        weights=document.weights,
        predictions=document.predictions,
        scores=document.scores,
        logits=document.logits,
        noise=document.noise,
        static=document.static,
        source=document.source,
        stress=document.stress,
        hunt=document.hunt,
        untried=document.untried or {},
        token_texts=document.token_texts,
        metric_version=document.metric_version,
    )


def _stored(reading: SiteReading) -> SeenSite | SummedSite:
    held = reading.held
    common: dict[str, Any] = {
        "site": reading.site,
        "dtype": reading.dtype,
        "width": reading.width,
        "peaks": reading.peaks,
        "massive": reading.massive,
        "expert_tokens": reading.tokens_per_expert,
        "first_nonfinite": reading.first_nonfinite,
        "shared": dict(reading.shared),
        "weights": {path: dict(by_scheme) for path, by_scheme in reading.weights.items()},
        "probe": reading.probe,
        "as_deployed": reading.as_deployed,
        "heads": reading.heads,
    }
    if isinstance(held, Summary):
        return SummedSite(
            **common,
            encoding=held.encoding,
            splits=(held.calibration, held.evaluation),
            schemes=tuple(sorted(held.schemes)),
            channels={} if held.has_channels else None,
            figures=dict(held.figures),
        )
    return SeenSite(
        **common,
        encoding=held.calibration.encoding,
        splits=(Bins(bins=held.calibration.bins.size), Bins(bins=held.evaluation.bins.size)),
        schemes=dict(held.schemes),
        channels=_sizes(held.channels),
        evaluated=_sizes(held.evaluated),
        spread=held.spread,
        maxima=held.maxima is not None,
        sampled=held.sampled is not None,
        int8=held.int8 is not None,
    )


def _in_order(channels: Channels | None) -> list[npt.NDArray[np.float32]]:
    """The maxima of parts in the order of their names, in which a document has its keys."""
    return [amax for _, amax in sorted(channels.parts.items())] if channels else []


def _sizes(channels: Channels | None) -> dict[str, int] | None:
    return {part: amax.size for part, amax in channels.parts.items()} if channels else None


def _held(
    entries: Sequence[SeenSite | SummedSite], tensors: Mapping[str, Bytes], provenance: Provenance
) -> Iterator[Distributions | Summary]:
    """What is held of each site of a document, with its share of the tensors."""
    seen = [entry for entry in entries if isinstance(entry, SeenSite)]
    size = sum(split.bins for entry in seen for split in entry.splits)
    wide = sum(size for entry in seen for parts in (entry.channels, entry.evaluated) for size in (parts or {}).values())
    samples, units = len(provenance.samples), len(units_of(provenance).strata)
    of_samples = [entry.site.kind for entry in seen if entry.maxima]
    of_units = [(entry.site.kind, sorted(entry.schemes)) for entry in seen if entry.sampled]
    of_int8 = [(entry.site.kind, sorted(INT8_POLICIES)) for entry in seen if entry.int8]
    sums = units * sum(1 + len(errors) for _, errors in (*of_units, *of_int8))
    for what, entries_of in (
        ("bins", size), ("channels", wide), ("maxima of samples", samples * len(of_samples)), ("sums of samples", sums),
    ):  # fmt: skip
        if entries_of > _MOST:
            raise ValueError(f"{entries_of} {what} in all, where a Record holds {_MOST} at most")
    counts = summed(unpacked("counts", tensors, np.int64, size))
    bins = summed(unpacked("bins", tensors, np.uint16, size))
    ends = np.cumsum([split.bins for entry in seen for split in entry.splits])
    falls = np.flatnonzero(np.diff(bins.astype(np.int32)) <= 0) + 1
    if (counts <= 0).any() or (bins >= BINS).any() or not np.isin(falls, ends).all():
        raise ValueError("a histogram has bins out of order, one that there is not, or one without a count")
    channels = unpacked("channels", tensors, np.uint32, wide).view(np.float32)
    maxima = iter(unpacked_maxima(of_samples, samples, tensors))
    sampled = iter(unpacked_sums("sampled", of_units, units, tensors))
    int8 = iter(unpacked_sums("int8", of_int8, units, tensors))
    start = first = 0
    for entry in entries:
        if isinstance(entry, SummedSite):
            yield _summary(entry)
            continue
        splits: list[Histogram] = []
        for split in entry.splits:
            part = slice(start, start + split.bins)
            start = part.stop
            splits.append(Histogram(entry.encoding, bins[part], counts[part]))
        widest: list[Channels | None] = []
        for sizes in (entry.channels, entry.evaluated):
            parts: dict[str, npt.NDArray[np.float32]] = {}
            for name, width in sorted((sizes or {}).items()):
                parts[name] = channels[first : first + width]
                first += width
            widest.append(None if sizes is None else Channels(parts))
        yield Distributions(
            calibration=splits[0],
            evaluation=splits[1],
            schemes=entry.schemes,
            channels=widest[0],
            evaluated=widest[1],
            spread=entry.spread,
            maxima=next(maxima) if entry.maxima else None,
            sampled=next(sampled) if entry.sampled else None,
            int8=next(int8) if entry.int8 else None,
        )


def _summary(entry: SummedSite) -> Summary:
    calibration, evaluation = entry.splits
    return Summary(
        encoding=entry.encoding,
        calibration=calibration,
        evaluation=evaluation,
        schemes=entry.schemes,
        has_channels=entry.channels is not None,
        figures=entry.figures,
    )


def _reading(entry: SeenSite | SummedSite, held: Distributions | Summary) -> SiteReading:
    return SiteReading(
        site=entry.site,
        dtype=entry.dtype,
        width=entry.width,
        held=held,
        peaks=entry.peaks,
        massive=entry.massive,
        first_nonfinite=entry.first_nonfinite,
        tokens_per_expert=entry.expert_tokens,
        shared=entry.shared,
        weights=entry.weights,
        probe=entry.probe,
        as_deployed=entry.as_deployed,
        heads=entry.heads,
    )
