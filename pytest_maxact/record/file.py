"""A Record as one `.safetensors` file.

The tensors and the JSON document (`document`), which stands in the file's metadata, with a SHA-256 over itself and the
tensors as they are stored: so a truncated, foreign or edited file is refused with its reason before anything of it is
unpacked, never read as a smaller number. A file is written whole or not at all, and the same Record gives the same
bytes.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError, cut, first_line, setting, shown
from pytest_maxact.record.document import document_of, record_of, tensors_of
from pytest_maxact.record.output import Kind, unwritten, write_output
from pytest_maxact.record.record import METRIC_VERSION, Record
from pytest_maxact.record.schema import SCHEMA, stored
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.settings.userfiles import is_piped, lying, reachable, refuse_stand_in

_KEY = "maxact"
"""The one metadata key: with several, safetensors would write them in no fixed order."""


def is_record(path: Path) -> bool:
    """Whether a file is a Record, by its contents; of any version, whole."""
    return "schema" in metadata_of(path)


def metadata_of(path: Path) -> dict[str, Any]:
    """What a safetensors file that this program wrote says of itself; empty for every other file."""
    if not path.is_file():  # a pipe would wait for whoever writes
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            said = json.loads((file.metadata() or {}).get(_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


RECORD = Kind(called="the Record", is_one=is_record)


def save(record: Record, path: str | os.PathLike[str]) -> None:
    """Write a Record to `path`. Raises InputError where the place cannot be written, lies in a checkpoint, or holds a
    file that is no Record.
    """
    put(record, Path(path))


def put(record: Record, path: Path, apart: Iterable[Path] = (), own: Path | None = None, kind: Kind = RECORD) -> None:
    """As `save`, knowing the checkpoints of the run, a folder whose files Records are, and what may be replaced."""
    from safetensors.numpy import save as serialized

    tensors = tensors_of(record)
    document = document_of(record)
    document["sha256"] = checksum(document, tensors)
    try:
        write_output(path, serialized(tensors, metadata={_KEY: _canonical(document)}), kind, apart, own)
    except OSError as error:
        raise InputError(f"cannot write the Record to {path}: {unwritten(error)}") from error


def load(path: str | os.PathLike[str], part: bool = False) -> Record:
    """Read a Record. Raises InputError with the reason for a file that is missing, truncated, foreign, edited or of
    another version, and for one part of a measurement that was cut into several, unless a `part` will do.
    """
    document, tensors = _parts(Path(path))
    stated_sum = document.pop("sha256", None)
    try:
        actual = checksum(document, tensors)
    except (ValueError, RecursionError):
        actual = None
    if actual is None or stated_sum != actual:
        raise InputError(
            f"{path}: contents do not match their checksum; the Record was edited or damaged\n"
            "  measure the checkpoint again"
        )
    version = document.get("metric_version")
    if isinstance(version, int) and version != METRIC_VERSION:
        raise InputError(
            f"{path}: measured with metric version {version}, this is {METRIC_VERSION}; their figures are not "
            "comparable\n"
            "  measure the checkpoint again"
        )
    try:
        found = stored(document)
    except ValueError as error:
        raise _contradicted(Path(path), error) from error
    try:
        record = record_of(found, tensors)
    except ValueError as error:
        raise _not_whole(Path(path), error) from error
    try:
        require_sound(record)
    except ValueError as error:
        raise _contradicted(Path(path), error) from error
    if record.provenance.shard and not part:
        number, parts = record.provenance.shard.split("/")
        raise InputError(
            f"{path}: part {number} of {parts} of a measurement, which alone says nothing of the whole\n"
            "  join all parts with `maxact merge`, and give the Record that comes out"
        )
    return record


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_digest(record: Record) -> str:
    """SHA-256 by which a Record is known, wherever it lies: the one that stands in its file."""
    return checksum(document_of(record), tensors_of(record))


def checksum(document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of a document and its tensors, over the bytes as stored: what was not written by this program is never
    decompressed.
    """
    state = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode())
        state.update(tensor.view(np.uint8).data)
    return state.hexdigest()


def _not_whole(path: Path, error: Exception) -> InputError:
    if _is_gguf(path):
        return InputError(
            f"{path}: a GGUF file is a checkpoint, and no Record\n"
            f"  measure it, and give what {setting('save')} FILE writes"
        )
    said = shown(first_line(error)) if not isinstance(error, RecursionError) else "nested too deeply"
    return InputError(f"{path}: not a Record, or a truncated one ({said})\n  measure the checkpoint again")


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _contradicted(path: Path, error: ValueError) -> InputError:
    return InputError(
        f"{path}: {error}\n"
        "  no Record of this version says so; measure the checkpoint again, or use the version that wrote it"
    )


def _parts(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if is_piped(path):
        raise InputError(
            f"{path} is a pipe, and a Record is read from any place of a file\n  write it to a file, and give that"
        )
    if not reachable(path).is_file():
        raise InputError(
            f"no Record at {path}{lying(path)}\n  measure a checkpoint with {setting('save')} FILE to write one"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            document = json.loads((file.metadata() or {}).get(_KEY, "null"), object_pairs_hook=_once)
            if not isinstance(document, dict):
                raise InputError(
                    f"{path}: a safetensors file, but not a Record of pytest-maxact\n"
                    f"  a Record comes from {setting('save')} FILE"
                )
            schema = document.get("schema")
            if not isinstance(schema, int) or isinstance(schema, bool) or schema != SCHEMA:
                raise InputError(
                    f"{path}: Record schema {shown(cut(repr(schema), 40))}, this version reads {SCHEMA}\n"
                    "  measure again, or use the version that wrote it"
                )
            return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_stand_in(path)
        raise _not_whole(path, error) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, whose keys stand there once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"{next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)!r} stands twice")
    return found
