"""A Record as one `.safetensors` file.

Tensors hold the histograms (two per site, calibration and evaluation split, their non-empty bins end to end),
compressed (`packing`); one JSON document in the file's metadata holds provenance and readings. The document carries a
SHA-256 over itself and the tensors as they are stored, so a truncated, foreign or edited file is refused with its
reason before anything of it is unpacked, never read as a smaller number. A file is written whole or not at all, and the
same Record gives the same bytes.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.dropped import DroppedChannels, DroppedHistogram, DroppedSums
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.packing import Bytes, differences, packed, summed, unpacked
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import METRIC_VERSION, Record
from pytest_maxact.record.whole import write_whole

SCHEMA = 3
_Plain = TypeVar("_Plain", SchemeSums, WeightDistortion, Effect)
_KEY = "maxact"
"""The one metadata key: with several, safetensors would write them in no fixed order."""


def write(record: Record, target: Path) -> None:
    """Write a Record. Raises InputError where the place cannot be written."""
    from safetensors.numpy import save

    tensors = _tensors(record)
    document = _document(record)
    document["sha256"] = _digest(document, tensors)
    try:
        write_whole(target, save(tensors, metadata={_KEY: _canonical(document)}))
    except OSError as error:
        raise InputError(
            f"cannot write the Record to {target}: {error.strerror}\n"
            "  give a path in a folder that exists and may be written"
        ) from error


def require_writable(target: Path, folder: bool = False) -> None:
    """Raise InputError where a Record, or with `folder` several, could not be written to `target`; asked before
    measuring, not after.
    """
    if folder:
        if target.exists() and not (target.is_dir() and os.access(target, os.W_OK)):
            raise InputError(
                f"the Records of a series cannot be written to {target}\n"
                "  give a folder, which is made if it does not exist"
            )
        target = target / "record" if target.exists() else target
    parent = target.resolve().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK) or target.is_dir():
        raise InputError(
            f"the Record cannot be written to {target}\n  give a file in a folder that exists and may be written"
        )


def read(path: Path) -> Record:
    """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of
    another version.
    """
    document, tensors = _parts(path)
    stated = document.pop("sha256", None)
    try:
        actual = _digest(document, tensors)
    except ValueError:
        actual = None
    if actual is None or stated != actual:
        raise InputError(
            f"{path}: contents do not match their checksum; the Record was edited or damaged\n"
            "  measure the checkpoint again"
        )
    if document["metric_version"] != METRIC_VERSION:
        raise InputError(
            f"{path}: measured with metric version {document['metric_version']}, this is {METRIC_VERSION}; their "
            "figures are not comparable\n"
            "  measure the checkpoint again"
        )
    provenance = document["provenance"]
    for name in ("left_out", "sample_digests", "schemes"):
        provenance[name] = tuple(provenance[name])
    provenance["samples"] = tuple((str(i), str(c), str(s), int(n)) for i, c, s, n in provenance["samples"])
    try:
        readings = _readings(document["sites"], tensors)
    except ValueError as error:
        raise _not_whole(path, error) from error
    effects = {name: _restored(Effect, effect) for name, effect in document["effects"].items()}
    return Record(
        provenance=Provenance(**provenance), sites={reading.site.name: reading for reading in readings}, effects=effects
    )


def _tensors(record: Record) -> dict[str, Bytes]:
    histograms = [
        h for r in record.sites.values() for h in (r.calibration, r.evaluation) if not isinstance(h, DroppedHistogram)
    ]
    channels = [amax for reading in record.sites.values() for amax in _parts_of(reading).values()]
    return {
        **packed("bins", differences(np.concatenate([np.zeros(0, np.uint16), *(h.bins for h in histograms)]))),
        **packed("counts", differences(np.concatenate([np.zeros(0, np.int64), *(h.counts for h in histograms)]))),
        **packed("channels", np.concatenate([np.zeros(0, np.float32), *channels]).view(np.uint32)),
    }


def _readings(entries: Sequence[dict[str, Any]], tensors: Mapping[str, Bytes]) -> list[SiteReading]:
    """The sites of a document with their share of the tensors. Raises ValueError where the tensors do not hold it."""
    total = sum(split.get("bins", 0) for entry in entries for split in entry["splits"])
    bins = summed(unpacked("bins", tensors, np.uint16, total))
    counts = summed(unpacked("counts", tensors, np.int64, total))
    wide = sum(size for entry in entries for size in (entry["channels"] or {}).values())
    channels = unpacked("channels", tensors, np.uint32, wide).view(np.float32)
    readings, start, first = [], 0, 0
    for entry in entries:
        splits: list[Histogram] = []
        for split in entry["splits"]:
            part = slice(start, start + split.get("bins", 0))
            start = part.stop
            kept = "bins" in split
            splits.append(
                Histogram(entry["encoding"], bins[part], counts[part])
                if kept
                else DroppedHistogram(entry["encoding"], **split)
            )
        parts: dict[str, npt.NDArray[np.float32]] = {}
        for name, size in (entry["channels"] or {}).items():
            parts[name] = channels[first : first + size]
            first += size
        measured: Channels = DroppedChannels() if entry["figures"] else Channels(parts)
        readings.append(_reading(entry, splits[0], splits[1], measured if entry["channels"] is not None else None))
    return readings


def _document(record: Record) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "metric_version": record.metric_version,
        "provenance": asdict(record.provenance),
        "sites": [
            {
                "site": asdict(reading.site),
                "encoding": reading.calibration.encoding,
                "splits": [_split(histogram) for histogram in (reading.calibration, reading.evaluation)],
                "dtype": reading.dtype,
                "width": reading.width,
                "peaks": [asdict(peak) for peak in reading.peaks],
                "massive": asdict(reading.massive) if reading.massive else None,
                "expert_tokens": reading.tokens_per_expert,
                "first_nonfinite": asdict(reading.first_nonfinite) if reading.first_nonfinite else None,
                "schemes": (
                    sorted(reading.schemes)
                    if reading.is_slim
                    else {name: _plain(sums) for name, sums in reading.schemes.items()}
                ),
                "channels": (
                    {part: amax.size for part, amax in _parts_of(reading).items()} if reading.channels else None
                ),
                "shared": dict(reading.shared),
                "weights": {
                    name: {scheme: _plain(error) for scheme, error in errors.items()}
                    for name, errors in reading.weights.items()
                },
                "figures": _plain(reading.figures),
            }
            for reading in record.sites.values()
        ],
        "effects": {name: _plain(effect) for name, effect in record.effects.items()},
    }


def _split(histogram: Histogram) -> dict[str, int]:
    if isinstance(histogram, DroppedHistogram):
        return {"count": histogram.count, "nonfinite": histogram.nonfinite}
    return {"bins": histogram.bins.size}


def _parts_of(reading: SiteReading) -> Mapping[str, npt.NDArray[np.float32]]:
    return reading.channels.parts if reading.channels and not reading.is_slim else {}


def _plain(value: SchemeSums | WeightDistortion | Effect | Mapping[str, float]) -> dict[str, Any]:
    """A dataclass, or figures, as JSON: what is no finite number is text, for JSON has none."""
    entries = value if isinstance(value, Mapping) else asdict(value)
    return {
        name: str(entry) if isinstance(entry, float) and not math.isfinite(entry) else entry
        for name, entry in entries.items()
    }


def _restored(kind: type[_Plain], entry: Mapping[str, Any]) -> _Plain:
    """The reverse of `_plain`; lists are tuples again."""
    texts = {f.name for f in fields(kind) if f.type is str}
    return kind(**{name: _value(value, name in texts) for name, value in entry.items()})


def _value(value: Any, is_text: bool) -> Any:
    if isinstance(value, list):
        return tuple(_value(member, True) for member in value)
    return float(value) if isinstance(value, str) and not is_text else value


def _reading(
    entry: dict[str, Any], calibration: Histogram, evaluation: Histogram, channels: Channels | None
) -> SiteReading:
    return SiteReading(
        site=Site(**entry["site"]),
        dtype=entry["dtype"],
        width=entry["width"],
        calibration=calibration,
        evaluation=evaluation,
        peaks=tuple(Peak(**peak) for peak in entry["peaks"]),
        massive=Massive(**entry["massive"]) if entry["massive"] else None,
        first_nonfinite=NonFinite(**entry["first_nonfinite"]) if entry["first_nonfinite"] else None,
        tokens_per_expert=tuple(entry["expert_tokens"]) if entry["expert_tokens"] is not None else None,
        schemes=(
            DroppedSums(tuple(entry["schemes"]))
            if entry["figures"]
            else {name: _restored(SchemeSums, sums) for name, sums in entry["schemes"].items()}
        ),
        channels=channels,
        shared=entry["shared"],
        weights={
            name: {scheme: _restored(WeightDistortion, error) for scheme, error in errors.items()}
            for name, errors in entry["weights"].items()
        },
        figures={name: float(value) for name, value in entry["figures"].items()},
    )


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Over the bytes as stored: what was not written by this program is never decompressed."""
    state = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode())
        state.update(tensor.view(np.uint8).data)
    return state.hexdigest()


def _not_whole(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a Record, or a truncated one ({error})\n  measure the checkpoint again")


def _parts(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(
            f"no Record at {path}\n  write one with --maxact-save FILE, or with: maxact measure MODEL -o FILE"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(document, dict):
                raise InputError(
                    f"{path}: a safetensors file, but not a Record of pytest-maxact\n"
                    "  a Record comes from --maxact-save FILE"
                )
            if document.get("schema") != SCHEMA:
                raise InputError(
                    f"{path}: Record schema {document.get('schema')!r}, this version reads {SCHEMA}\n"
                    "  measure again, or use the version that wrote it"
                )
            return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _not_whole(path, error) from error
