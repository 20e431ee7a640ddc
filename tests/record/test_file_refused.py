"""A file that is not a whole Record of this version is refused with its reason, never read as a smaller number."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from pytest_maxact.cli.words import argument as command
from pytest_maxact.errors import InputError, Words
from pytest_maxact.record.file import checksum, load, save
from pytest_maxact.record.record import METRIC_VERSION, Record
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.trainer.words import argument as callback
from tests.support.records import record_of
from tests.support.samples import measured


@pytest.fixture
def record() -> Record:
    return record_of(measured(6))


@pytest.fixture
def saved(record: Record, tmp_path: Path) -> Path:
    save(record, tmp_path / "record.safetensors")
    return tmp_path / "record.safetensors"


def parse(path: Path) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's header and the tensor bytes behind it."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the Record's JSON document in place, leaving everything else."""
    header, tensors = parse(path)
    document = json.loads(header["__metadata__"]["maxact"])
    change(document)
    header["__metadata__"]["maxact"] = json.dumps(document)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + tensors)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_refused_with_how_to_write_one(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none.safetensors")
    assert "no Record at" in text
    assert "`save` FILE" in text


@pytest.mark.parametrize(
    ("door", "typed"), [(command, "maxact measure -o"), (pytest_option, "--maxact-save"), (callback, "--maxact-save")]
)
def test_each_door_says_once_how_to_write_a_record(door: Words, typed: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path / "none")
    assert caught.value.worded(door) == (
        f"no Record at {tmp_path / 'none'}\n  measure a checkpoint with {typed} FILE to write one"
    )


def test_a_truncated_record_is_refused_at_every_length(saved: Path) -> None:
    whole = saved.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    edges = {0, 1, 7, 8, 9, 7 + header, 8 + header, 9 + header, len(whole) - 1}
    for length in sorted(edges | set(range(0, len(whole), 97))):
        saved.write_bytes(whole[:length])
        assert "not a Record, or a truncated one" in refusal(saved), length


def test_a_record_with_bytes_behind_its_end_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0" * 16)
    assert "not a Record" in refusal(saved)


@pytest.mark.parametrize(
    "content", [b"hello", b"version: 1\nfamilies: {}\n", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 64]
)
def test_a_file_of_another_format_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    assert "not a Record, or a truncated one" in refusal(tmp_path / "other")


def test_a_gguf_file_is_told_from_a_record_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\0" * 64)
    assert "a GGUF file is a checkpoint, and no Record\n  measure it" in refusal(tmp_path / "model.gguf")


def test_a_folder_is_no_record(tmp_path: Path) -> None:
    assert "no Record at" in refusal(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"maxact": "[1, 2]"}, {"maxact": "null"}])
def test_safetensors_of_others_are_refused_as_such(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors", metadata=metadata)
    assert "a safetensors file, but not a Record of pytest-maxact" in refusal(tmp_path / "model.safetensors")


def test_metadata_that_is_no_json_is_refused(tmp_path: Path) -> None:
    save_file({"bins": np.zeros(2, np.uint16)}, tmp_path / "r.safetensors", metadata={"maxact": "{"})
    assert "not a Record" in refusal(tmp_path / "r.safetensors")


def test_a_record_without_its_tensors_is_refused(saved: Path) -> None:
    header, _ = parse(saved)
    tensors = load_file(saved)
    del tensors["counts.0"]
    save_file(tensors, saved, metadata=header["__metadata__"])
    assert "contents do not match their checksum" in refusal(saved)


@pytest.mark.parametrize(
    "damage", [lambda stream: stream[:-1], lambda stream: stream[::-1], lambda stream: np.append(stream, stream[:1])]
)
def test_streams_that_do_not_decompress_to_every_count_are_refused_even_under_a_right_checksum(
    damage: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]], saved: Path
) -> None:
    header, _ = parse(saved)
    document = json.loads(header["__metadata__"]["maxact"])
    tensors = load_file(saved)
    tensors["counts.0"] = np.ascontiguousarray(damage(tensors["counts.0"]))
    del document["sha256"]
    document["sha256"] = checksum(document, tensors)
    save_file(tensors, saved, metadata={"maxact": json.dumps(document)})
    assert "not a Record, or a truncated one" in refusal(saved)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a smaller peak": lambda d: d["sites"][3]["peaks"][0].update(value=1.0),
    "a peak of NaN": lambda d: d["sites"][3]["peaks"][0].update(value=float("nan")),
    "a peak of infinity": lambda d: d["sites"][3]["peaks"][0].update(value=float("inf")),
    "a peak moved": lambda d: d["sites"][3]["peaks"][0].update(channel=3),
    "a peak dropped": lambda d: d["sites"][3]["peaks"].pop(0),
    "a site dropped": lambda d: d["sites"].pop(),
    "a site renamed": lambda d: d["sites"][1]["site"].update(layer=7),
    "sites swapped": lambda d: d["sites"].insert(0, d["sites"].pop(1)),
    "non-finite place removed": lambda d: d["sites"][2].update(first_nonfinite=None),
    "another family": lambda d: d["provenance"].update(model_type="gemma3"),
    "another protocol": lambda d: d["provenance"].update(protocol="deployed"),
    "other weights": lambda d: d["provenance"].update(weights_sha256="0" * 64),
    "fewer tokens": lambda d: d["provenance"]["samples"].pop(),
    "another checksum": lambda d: d.update(sha256="0" * 64),
    "no checksum": lambda d: d.pop("sha256"),
    "another metric version": lambda d: d.update(metric_version=METRIC_VERSION + 1),
    "no provenance": lambda d: d.pop("provenance"),
    "a key more": lambda d: d.update(note="reviewed"),
    "half a surrogate pair": lambda d: d["provenance"].update(model="\ud800"),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_document_is_refused(change: Callable[[dict[str, Any]], object], saved: Path) -> None:
    edit(saved, change)
    assert "contents do not match their checksum; the Record was edited or damaged" in refusal(saved)


def test_an_edit_that_changes_nothing_is_read(record: Record, saved: Path) -> None:
    edit(saved, lambda document: None)
    assert load(saved) == record


def test_any_changed_tensor_byte_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    for place in range(8 + header, len(whole), 13):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        saved.write_bytes(changed)
        assert "contents do not match their checksum" in refusal(saved), place


def test_tensors_of_another_dtype_are_refused(saved: Path) -> None:
    header, _ = parse(saved)
    tensors = load_file(saved)
    save_file(tensors | {"counts.0": tensors["counts.0"].view(np.int8)}, saved, metadata=header["__metadata__"])
    assert "contents do not match their checksum" in refusal(saved)


@pytest.mark.parametrize("schema", [0, 2, "3", None])
def test_another_schema_is_refused_with_both_versions(schema: object, saved: Path) -> None:
    edit(saved, lambda document: document.update(schema=schema))
    assert f"Record schema {schema!r}, this version reads 3" in refusal(saved)


def test_another_metric_version_is_refused_with_both_versions(record: Record, tmp_path: Path) -> None:
    save(replace(record, metric_version=METRIC_VERSION + 1), tmp_path / "newer.safetensors")
    text = refusal(tmp_path / "newer.safetensors")
    assert (
        f"measured with metric version {METRIC_VERSION + 1}, this is {METRIC_VERSION}; their figures are not comparable"
        in text
    )
    assert "measure the checkpoint again" in text
