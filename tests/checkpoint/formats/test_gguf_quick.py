"""Headers of GGUF files are read in less time than the package gguf takes, and are what it reads."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.tensor_mapping import TensorNameMap

from pytest_maxact.checkpoint.formats import gguf_quick
from pytest_maxact.checkpoint.formats.gguf import contents
from pytest_maxact.checkpoint.formats.gguf_quick import name_map, quick_reader, read_quickly
from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.checkpoint.weights.scan import scan_files
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support.exports import gguf as exports


def fields(reader: Any) -> list[tuple[Any, ...]]:
    """All that is told of every field."""
    return [
        (one.offset, one.name, one.data, one.types, [(part.dtype, part.tobytes()) for part in one.parts])
        for one in reader.fields.values()
    ]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """With fields of every kind, arrays of them, and arrays of arrays."""
    writer = GGUFWriter(tmp_path / "odd.gguf", "llama")
    writer.add_array("strings", ["", "a", "ß" * 300])
    writer.add_array("none", [])
    for kind in ("UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64", "FLOAT32", "FLOAT64"):
        writer.add_key_value(kind, 3, GGUFValueType[kind])
        writer.add_key_value(f"many {kind}", [1, 2, 3], GGUFValueType.ARRAY, GGUFValueType[kind])
    writer.add_array("bools", [True, False])
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_string("string", "value")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "odd.gguf"


def test_every_field_is_what_gguf_reads(odd: Path, tmp_path: Path) -> None:
    for file in (odd, exports.export(tmp_path / "model.gguf")):
        found, wanted = quick_reader()(file), GGUFReader(file)
        assert fields(found) == fields(wanted)
        assert [one.contents() for one in found.fields.values()] == [one.contents() for one in wanted.fields.values()]
        assert [(one.name, one.data_offset, one.data.tobytes()) for one in found.tensors] == [
            (one.name, one.data_offset, one.data.tobytes()) for one in wanted.tensors
        ]


def test_wherever_a_file_ends_neither_reads_it(odd: Path, tmp_path: Path) -> None:
    whole, cut = odd.read_bytes(), tmp_path / "cut.gguf"
    for end in range(5, len(whole) - GGUFReader(odd).alignment, 7):
        cut.write_bytes(whole[:end])
        for reader in (GGUFReader, quick_reader()):
            with pytest.raises((IndexError, ValueError)):
                reader(cut)


def test_numbers_in_another_byte_order_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "big.gguf"
    writer = GGUFWriter(file, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_array("strings", ["a", "b"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match="byte order of another kind of machine"):
        contents(file)
    assert fields(quick_reader()(file)) == fields(GGUFReader(file))


def test_a_file_is_parsed_once_by_us_and_names_are_mapped_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, seen = exports.export(tmp_path / "model.gguf"), Counter[str]()

    def counted(owner: Any, name: str) -> None:
        made = owner.__init__

        def counting(self: Any, *given: Any, **options: Any) -> None:
            seen[name] += 1
            seen[f"{name} slowly"] += type(self) is GGUFReader
            made(self, *given, **options)

        monkeypatch.setattr(owner, "__init__", counting)

    counted(GGUFReader, "parsed")
    counted(TensorNameMap, "mapped")
    name_map().cache_clear()
    settings = Settings(model=str(file))
    checkpoint = locate(settings)
    assert seen["parsed"] == 2, "ours, and transformers' for the config"
    lint(file)
    scan_files([file])
    contents(file)
    assert seen["parsed"] == 2
    load_tokenizer(file.parent, False, gguf=file.name)
    load(checkpoint, settings)
    assert seen == {"parsed": 4, "parsed slowly": 0, "mapped": 1, "mapped slowly": 0}


def test_a_file_that_was_written_again_is_read_again_whatever_its_time_says(tmp_path: Path) -> None:
    file = exports.export(tmp_path / "model.gguf")
    before, keys = file.stat(), [header.key for header in contents(file).headers]
    place = file.read_bytes().index(b"blk.0.attn_q.weight")
    time.sleep(0.02)
    with file.open("r+b") as written:
        written.seek(place)
        written.write(b"blk.0.attn_x.weight")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = [header.key for header in contents(file).headers]
    assert set(found) ^ set(keys) == {"blk.0.attn_q.weight", "blk.0.attn_x.weight"}


def test_a_gguf_that_is_built_otherwise_reads_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """One that reads fields by another name."""

    monkeypatch.setattr(gguf, "GGUFReader", Other)
    quick_reader.cache_clear()
    try:
        assert quick_reader() is Other
    finally:
        quick_reader.cache_clear()


def test_what_transformers_reads_with_is_gguf_s_own_again_afterwards() -> None:
    own = gguf.GGUFReader, gguf.get_tensor_name_map
    with read_quickly():
        assert gguf.GGUFReader is gguf_quick.quick_reader()
        with read_quickly():
            assert issubclass(gguf.GGUFReader, own[0])
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == own
