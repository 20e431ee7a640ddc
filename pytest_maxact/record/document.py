"""A Record as one JSON document and arrays, and back: what a file holds of it.

The document is provenance and readings; the arrays are the histograms (two per site, calibration and evaluation split,
their non-empty bins end to end) and the maxima of channels, compressed (`packing`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.held import Distributions, Entries, Summary
from pytest_maxact.record.packing import Bytes, differences, packed, summed, unpacked
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

SCHEMA = 3
_Plain = TypeVar("_Plain", SchemeSums, WeightDistortion, Effect)


def document_of(record: Record) -> dict[str, Any]:
    """Provenance, readings and effects as JSON."""
    return {
        "schema": SCHEMA,
        "metric_version": record.metric_version,
        "provenance": _provenance(record.provenance),
        "sites": [_entry(reading) for reading in record.sites.values()],
        "effects": {name: _plain(effect) for name, effect in record.effects.items()},
    }


def tensors_of(record: Record) -> dict[str, Bytes]:
    """Histograms and maxima of channels of all sites, each end to end, as compressed bytes."""
    held = [reading.held for reading in record.sites.values() if isinstance(reading.held, Distributions)]
    histograms = [histogram for one in held for histogram in (one.calibration, one.evaluation)]
    channels = [amax for one in held if one.channels for amax in one.channels.parts.values()]
    return {
        **packed("bins", differences(np.concatenate([np.zeros(0, np.uint16), *(h.bins for h in histograms)]))),
        **packed("counts", differences(np.concatenate([np.zeros(0, np.int64), *(h.counts for h in histograms)]))),
        **packed("channels", np.concatenate([np.zeros(0, np.float32), *channels]).view(np.uint32)),
    }


def record_of(document: Mapping[str, Any], tensors: Mapping[str, Bytes]) -> Record:
    """The reverse of both. Raises ValueError where the tensors do not hold what the document counts."""
    provenance = dict(document["provenance"])
    for name in ("left_out", "sample_digests", "schemes"):
        provenance[name] = tuple(provenance[name])
    provenance["samples"] = tuple((str(i), str(c), str(s), int(n)) for i, c, s, n in provenance["samples"])
    entries = document["sites"]
    readings = [_reading(entry, held) for entry, held in zip(entries, _held(entries, tensors), strict=True)]
    return Record(
        provenance=Provenance(**provenance),
        sites={reading.site.name: reading for reading in readings},
        effects={name: _restored(Effect, effect) for name, effect in document["effects"].items()},
    )


def _provenance(provenance: Provenance) -> dict[str, Any]:
    """What an earlier version did not note is not written either."""
    return {
        name: value
        for name, value in asdict(provenance).items()
        if value is not None or name not in ("tokens_sha256", "template_date")
    }


def _entry(reading: SiteReading) -> dict[str, Any]:
    return {
        "site": asdict(reading.site),
        "dtype": reading.dtype,
        "width": reading.width,
        "peaks": [asdict(peak) for peak in reading.peaks],
        "massive": asdict(reading.massive) if reading.massive else None,
        "expert_tokens": reading.tokens_per_expert,
        "first_nonfinite": asdict(reading.first_nonfinite) if reading.first_nonfinite else None,
        "shared": dict(reading.shared),
        "weights": {
            path: {scheme: _plain(distortion) for scheme, distortion in distortions.items()}
            for path, distortions in reading.weights.items()
        },
        **(_summary(reading.held) if isinstance(reading.held, Summary) else _distributions(reading.held)),
    }


def _distributions(held: Distributions) -> dict[str, Any]:
    channels = held.channels
    return {
        "encoding": held.calibration.encoding,
        "splits": [{"bins": split.bins.size} for split in (held.calibration, held.evaluation)],
        "schemes": {name: _plain(sums) for name, sums in held.schemes.items()},
        "channels": {part: amax.size for part, amax in channels.parts.items()} if channels else None,
        "figures": {},
    }


def _summary(held: Summary) -> dict[str, Any]:
    return {
        "encoding": held.encoding,
        "splits": [asdict(split) for split in (held.calibration, held.evaluation)],
        "schemes": sorted(held.schemes),
        "channels": {} if held.has_channels else None,
        "figures": _plain(held.figures),
    }


def _held(entries: Sequence[Mapping[str, Any]], tensors: Mapping[str, Bytes]) -> Iterator[Distributions | Summary]:
    """What is held of each site of a document, with its share of the tensors."""
    sizes = [split["bins"] for entry in entries if not entry["figures"] for split in entry["splits"]]
    bins = summed(unpacked("bins", tensors, np.uint16, sum(sizes)))
    counts = summed(unpacked("counts", tensors, np.int64, sum(sizes)))
    wide = sum(size for entry in entries for size in (entry["channels"] or {}).values())
    channels = unpacked("channels", tensors, np.uint32, wide).view(np.float32)
    start = first = 0
    for entry in entries:
        if entry["figures"]:
            yield _restored_summary(entry)
            continue
        splits: list[Histogram] = []
        for split in entry["splits"]:
            part = slice(start, start + split["bins"])
            start = part.stop
            splits.append(Histogram(entry["encoding"], bins[part], counts[part]))
        parts: dict[str, npt.NDArray[np.float32]] = {}
        for name, size in (entry["channels"] or {}).items():
            parts[name] = channels[first : first + size]
            first += size
        yield Distributions(
            calibration=splits[0],
            evaluation=splits[1],
            schemes={name: _restored(SchemeSums, sums) for name, sums in entry["schemes"].items()},
            channels=Channels(parts) if entry["channels"] is not None else None,
        )


def _restored_summary(entry: Mapping[str, Any]) -> Summary:
    calibration, evaluation = (Entries(**split) for split in entry["splits"])
    return Summary(
        encoding=entry["encoding"],
        calibration=calibration,
        evaluation=evaluation,
        schemes=tuple(entry["schemes"]),
        has_channels=entry["channels"] is not None,
        figures={name: float(value) for name, value in entry["figures"].items()},
    )


def _reading(entry: Mapping[str, Any], held: Distributions | Summary) -> SiteReading:
    return SiteReading(
        site=Site(**entry["site"]),
        dtype=entry["dtype"],
        width=entry["width"],
        held=held,
        peaks=tuple(Peak(**peak) for peak in entry["peaks"]),
        massive=Massive(**entry["massive"]) if entry["massive"] else None,
        first_nonfinite=NonFinite(**entry["first_nonfinite"]) if entry["first_nonfinite"] else None,
        tokens_per_expert=tuple(entry["expert_tokens"]) if entry["expert_tokens"] is not None else None,
        shared=entry["shared"],
        weights={
            path: {scheme: _restored(WeightDistortion, distortion) for scheme, distortion in distortions.items()}
            for path, distortions in entry["weights"].items()
        },
    )


def _plain(value: SchemeSums | WeightDistortion | Effect | Mapping[str, float]) -> dict[str, Any]:
    """A dataclass, or figures, as JSON: what is no finite number is text, for JSON has none; what is not told is left
    out.
    """
    entries = value if isinstance(value, Mapping) else asdict(value)
    return {
        name: str(entry) if isinstance(entry, float) and not math.isfinite(entry) else entry
        for name, entry in entries.items()
        if entry is not None
    }


def _restored(kind: type[_Plain], entry: Mapping[str, Any]) -> _Plain:
    """The reverse of `_plain`; lists are tuples again."""
    texts = {f.name for f in fields(kind) if f.type is str}
    return kind(**{name: _value(value, name in texts) for name, value in entry.items()})


def _value(value: Any, is_text: bool) -> Any:
    if isinstance(value, list):
        return tuple(_value(member, True) for member in value)
    return float(value) if isinstance(value, str) and not is_text else value
