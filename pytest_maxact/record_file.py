"""A Record as one `.safetensors` file.

Tensors hold the histograms (two per site, calibration and evaluation split, their non-empty bins end to end); one JSON document in the file's
metadata holds provenance and readings. The document carries a SHA-256 over itself and the tensors, so a truncated, foreign or edited file is
refused with its reason, never read as a smaller number. A file is written whole or not at all, and the same Record gives the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError
from pytest_maxact.histogram import Histogram
from pytest_maxact.names import Site
from pytest_maxact.record import METRIC_VERSION, Massive, NonFinite, Peak, Provenance, Record, SiteReading

SCHEMA = 1
_KEY = "maxact"
"""The one metadata key: with several, safetensors would write them in no fixed order."""


def write(record: Record, target: Path) -> None:
    """Write a Record. Raises InputError where the place cannot be written."""
    from safetensors.numpy import save

    tensors = _tensors(record)
    document = _document(record)
    document["sha256"] = _digest(document, tensors)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(save(tensors, metadata={_KEY: _canonical(document)}))
        os.replace(partial, target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise InputError(
            f"cannot write the Record to {target}: {error.strerror}\n  give a path in a folder that exists and may be written"
        ) from error


def require_writable(target: Path) -> None:
    """Raise InputError where a Record could not be written to `target`; asked before measuring, not after."""
    folder = target.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or target.is_dir():
        raise InputError(f"the Record cannot be written to {target}\n  give a file in a folder that exists and may be written")


def read(path: Path) -> Record:
    """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of another version."""
    document, tensors = _parts(path)
    stated = document.pop("sha256", None)
    try:
        actual = _digest(document, tensors)
    except ValueError:
        actual = None
    if actual is None or stated != actual:
        raise InputError(f"{path}: contents do not match their checksum; the Record was edited or damaged\n  measure the checkpoint again")
    if document["metric_version"] != METRIC_VERSION:
        raise InputError(
            f"{path}: measured with metric version {document['metric_version']}, this is {METRIC_VERSION}; their figures are not comparable\n"
            "  measure the checkpoint again"
        )
    provenance = document["provenance"]
    for name in ("left_out", "sample_digests"):
        provenance[name] = tuple(provenance[name])
    provenance["samples"] = tuple((str(i), str(c), str(s), int(n)) for i, c, s, n in provenance["samples"])
    readings = {}
    bounds = tensors["offsets"]
    for index, entry in enumerate(document["sites"]):
        parts = [slice(int(bounds[2 * index + k]), int(bounds[2 * index + k + 1])) for k in range(2)]
        splits = [Histogram(entry["encoding"], tensors["bins"][part], tensors["counts"][part].astype(np.int64)) for part in parts]
        reading = _reading(entry, *splits)
        readings[reading.site.name] = reading
    return Record(provenance=Provenance(**provenance), readings=readings)


def _tensors(record: Record) -> dict[str, npt.NDArray[Any]]:
    histograms = [h for reading in record.readings.values() for h in (reading.calibration, reading.evaluation)]
    counts = np.concatenate([h.counts for h in histograms])
    small = counts.max(initial=0) < 1 << 32
    return {
        "bins": np.concatenate([h.bins for h in histograms]),
        "counts": counts.astype(np.uint32 if small else np.uint64),
        "offsets": np.cumsum([0, *(h.bins.size for h in histograms)]).astype(np.int64),
    }


def _document(record: Record) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "metric_version": record.metric_version,
        "provenance": asdict(record.provenance),
        "sites": [
            {
                "site": asdict(reading.site),
                "encoding": reading.calibration.encoding,
                "dtype": reading.dtype,
                "width": reading.width,
                "peaks": [asdict(peak) for peak in reading.peaks],
                "massive": asdict(reading.massive) if reading.massive else None,
                "expert_tokens": reading.expert_tokens,
                "first_nonfinite": asdict(reading.first_nonfinite) if reading.first_nonfinite else None,
            }
            for reading in record.readings.values()
        ],
    }


def _reading(entry: dict[str, Any], calibration: Histogram, evaluation: Histogram) -> SiteReading:
    return SiteReading(
        site=Site(**entry["site"]),
        dtype=entry["dtype"],
        width=entry["width"],
        calibration=calibration,
        evaluation=evaluation,
        peaks=tuple(Peak(**peak) for peak in entry["peaks"]),
        massive=Massive(**entry["massive"]) if entry["massive"] else None,
        first_nonfinite=NonFinite(**entry["first_nonfinite"]) if entry["first_nonfinite"] else None,
        expert_tokens=tuple(entry["expert_tokens"]) if entry["expert_tokens"] is not None else None,
    )


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    state = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode())
        state.update(tensor.view(np.uint8).data)
    return state.hexdigest()


def _parts(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"no Record at {path}\n  write one with --maxact-save FILE, or with: maxact measure MODEL -o FILE")
    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(document, dict):
                raise InputError(f"{path}: a safetensors file, but not a Record of pytest-maxact\n  a Record comes from --maxact-save FILE")
            if document.get("schema") != SCHEMA:
                raise InputError(
                    f"{path}: Record schema {document.get('schema')!r}, this version reads {SCHEMA}\n  measure again, or use the version that wrote it"
                )
            return document, {name: file.get_tensor(name) for name in ("bins", "counts", "offsets")}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a Record, or a truncated one ({error})\n  measure the checkpoint again") from error
