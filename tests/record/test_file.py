"""A Record comes back from its file bit for bit, and is written whole or not at all."""

import resource
import zlib
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.sites import LAYER_KINDS
from pytest_maxact.record.file import load, save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.large import large_record
from tests.support.records import Measured, record_of
from tests.support.samples import measured
from tests.support.written import written_and_read

patient = settings(deadline=None)


@pytest.fixture
def record() -> Record:
    return record_of(measured(6))


def test_maxima_of_channels_come_back_under_the_names_of_their_tensors(record: Record, tmp_path: Path) -> None:
    """In whatever order the tensors of a site came, of which JSON keeps none."""
    name = "layers.0.qkv_in"
    parts = {"q": [1.0, 2.0], "k": [4.0, 5.0], "a": [3.0, 8.0]}
    kept = Channels({part: np.float32(amax) for part, amax in parts.items()})
    values = np.float32([kept.parts[part] for part in parts])
    reading = records.holding(records.reading(values, values, name), channels=kept)
    changed = replace(record, sites={**record.sites, name: reading})
    found = written_and_read(changed).sites[name].held
    assert isinstance(found, Distributions)
    assert found.channels is not None
    assert {part: amax.tolist() for part, amax in found.channels.parts.items()} == parts


@pytest.fixture
def saved(record: Record, tmp_path: Path) -> Path:
    save(record, tmp_path / "record.safetensors")
    return tmp_path / "record.safetensors"


def test_a_record_comes_back_equal_in_every_field(record: Record, saved: Path) -> None:
    loaded = load(saved)
    assert loaded == record
    assert list(loaded.sites) == list(record.sites), "in depth order still"
    assert loaded["layers.1.hidden"].massive == record["layers.1.hidden"].massive != Massive()
    place = loaded["layers.0.gate"].first_nonfinite
    assert place is not None
    assert (place.sample, place.channel) == ("s01", 2)


def test_saving_what_was_loaded_writes_identical_bytes(saved: Path, tmp_path: Path) -> None:
    save(load(saved), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


@patient
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    value=st.floats(allow_nan=False, allow_infinity=False),
    counts=st.lists(st.integers(1, 2**62), min_size=1, max_size=4),
)
def test_any_text_float_and_count_survives(text: str, value: float, counts: list[int]) -> None:
    base = records.record({"layers.0.hidden": [[1.0, 2.0]]}, model=text, versions={text: text}, left_out=(text,))
    peak = Peak(value=value, sample=text, position=0, token=text, token_id=0, channel=1, part=text)
    large = Histogram("bfloat16", np.arange(len(counts), dtype=np.uint16), np.array(counts, np.int64))
    reading = replace(records.holding(base["layers.0.hidden"], calibration=large), peaks=(peak,))
    whole = replace(base, sites={"layers.0.hidden": reading})
    again = written_and_read(whole)
    assert again == whole
    assert str(again["layers.0.hidden"].peaks[0].value) == str(value), "-0.0 is not 0.0"


def test_a_name_with_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    """Python reads a path that is not UTF-8 so, and JSON lines can spell one in a sample's id or category."""
    values = {"layers.0.hidden": [[1.0]], "layers.1.hidden": [[1.0]]}
    samples = [Measured(id=f"id-\ud83d-{i}", category="\ud800", values=values) for i in range(2)]
    whole = record_of(samples, model="/models/\udcff")
    save(whole, tmp_path / "r.safetensors")
    assert load(tmp_path / "r.safetensors") == whole


def test_empty_splits_and_float16_histograms_survive() -> None:
    empty, half = Histogram.empty("float16"), Histogram.from_values("float16", np.array([65504.0, 0.0, 6e-8]))
    base = records.record({"embedding": [[1.0]]})
    held = Distributions(calibration=empty, evaluation=half)
    whole = replace(base, sites={"embedding": replace(base["embedding"], dtype="float16", held=held)})
    loaded = written_and_read(whole)
    assert loaded == whole
    assert loaded["embedding"].max_abs == whole["embedding"].max_abs
    assert loaded["embedding"].calibration.encoding == "float16"


def test_the_file_is_ordinary_safetensors_of_compressed_bytes(record: Record, saved: Path) -> None:
    tensors = load_file(saved)
    assert {name.partition(".")[0] for name in tensors} == {"bins", "counts"}
    assert all(tensor.dtype == np.uint8 for tensor in tensors.values())


def test_every_count_is_in_the_file_as_differences_in_byte_planes(record: Record, saved: Path) -> None:
    """Read back with nothing but zlib."""
    tensors = load_file(saved)
    planes = [zlib.decompress(tensors[name].tobytes()) for name in sorted(tensors) if name.startswith("counts")]
    folded = [sum(byte << 8 * place for place, byte in enumerate(column)) for column in zip(*planes, strict=True)]
    steps = [value >> 1 if value % 2 == 0 else -(value >> 1) - 1 for value in folded]
    counts = [
        count
        for reading in record.sites.values()
        for split in (reading.calibration, reading.evaluation)
        for count in split.counts
    ]
    assert list(accumulate(steps)) == counts


@pytest.mark.parametrize(("encoding", "filled"), [("float16", 31_743), ("bfloat16", 5_000)])
def test_a_64_layer_record_of_a_real_corpus_stays_under_40_mb(encoding: str, filled: int, tmp_path: Path) -> None:
    whole = large_record(encoding, LAYER_KINDS)
    assert len(whole.sites) == 322
    assert min(reading.calibration.bins.size for reading in whole.sites.values()) >= filled
    assert whole["layers.0.hidden"].count > 8e10
    save(whole, tmp_path / "large.safetensors")
    assert (tmp_path / "large.safetensors").stat().st_size < 40_000_000
    assert written_and_read(whole) == whole


def test_saving_over_a_record_replaces_it_and_leaves_nothing_beside(record: Record, saved: Path) -> None:
    other = record_of(measured(3, seed=9))
    save(other, saved)
    assert load(saved) == other
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_leaves_the_old_record_and_no_partial_file(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write the Record to .*record\.safetensors: File too large"):
            save(record_of(measured(9)), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("missing/r.safetensors", "No such file or directory"),
        ("file/r.safetensors", "Not a directory"),
        ("folder", "Is a directory"),
        ("n" * 300, "File name too long"),
    ],
    ids=["missing folder", "below a file", "onto a folder", "over-long name"],
)
def test_a_place_that_cannot_be_written_is_named_with_its_reason(
    record: Record, tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        InputError,
        match=f"cannot write the Record to .*: {reason}\n  give a path in a folder that exists and may be written",
    ):
        save(record, tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert not list((tmp_path / "folder").iterdir())
