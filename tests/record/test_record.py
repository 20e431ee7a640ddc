"""A Record comes back from its file bit for bit, refuses a file that is not whole, and merges with the other parts of
its corpus.
"""

import json
import math
import resource
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.numbers.sites import LAYER_KINDS, Site
from pytest_maxact.record.file import checksum, load, save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.merge import merge
from pytest_maxact.record.provenance import corpus_digest
from pytest_maxact.record.record import METRIC_VERSION, Record, first_broken
from tests.support import records
from tests.support.large import large_record
from tests.support.records import Measured, record_of
from tests.support.samples import SITES, measured

patient = settings(deadline=None)


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


# What a Record says


def test_a_site_is_read_by_its_name(record: Record) -> None:
    assert record["layers.1.hidden"].site == Site(kind="hidden", layer=1, module="model.layers.1.hidden")


def test_an_unknown_site_is_answered_with_the_closest_names(record: Record) -> None:
    with pytest.raises(
        KeyError, match=r"no site 'layers.1.hiden' in this Record; did you mean layers.1.hidden or layers.0.hidden\?"
    ):
        record["layers.1.hiden"]
    with pytest.raises(KeyError, match="no site 'zzz' in this Record; it has 6 sites"):
        record["zzz"]


def test_tokens_are_those_of_all_samples() -> None:
    samples = measured(5)
    assert record_of(samples).tokens == sum(sample.tokens for sample in samples)


def test_a_reading_joins_its_splits(record: Record) -> None:
    for reading in record.sites.values():
        assert reading.histogram == reading.calibration + reading.evaluation
        assert reading.count == reading.histogram.count == record.tokens * 4
        assert reading.nonfinite == reading.histogram.nonfinite
        assert reading.finite_max == reading.histogram.max_abs
        assert reading.max_abs == (math.inf if reading.nonfinite else reading.finite_max)
    assert record["layers.0.gate"].nonfinite == 2


def test_a_float32_site_keeps_the_exact_maximum_beside_its_rounded_histogram() -> None:
    exact = Peak(value=-1000.123, sample="s0", position=0, token="t", token_id=1, channel=0)
    reading = replace(records.reading([1000.0], [1.0]), dtype="float32", peaks=(exact,))
    assert reading.max_abs == 1000.123
    assert reading.histogram.max_abs == 1000.0


def carrier_of(values: dict[str, float]) -> str:
    """The carrier's name, whichever way round the readings are held."""
    whole = records.record({name: [[value]] for name, value in values.items()})
    around = replace(whole, sites=dict(list(whole.sites.items())[::-1]))
    assert whole.carrier == around.carrier
    return whole.carrier.site.name


def test_the_carrier_is_the_counted_site_with_the_largest_magnitude() -> None:
    assert (
        carrier_of({"embedding": 1.0, "layers.0.hidden": -9.0, "layers.1.hidden": 8.0, "final_norm": 2.0})
        == "layers.0.hidden"
    )
    assert carrier_of({"embedding": 1.0, "layers.0.hidden": 2.0, "final_norm": 4.0}) == "final_norm"


def test_gates_and_routers_do_not_carry() -> None:
    assert carrier_of({"layers.0.hidden": 2.0, "layers.0.gate": 50.0, "layers.0.router": 60.0}) == "layers.0.hidden"


def test_of_equal_carriers_the_shallowest_is_named() -> None:
    assert carrier_of({"layers.10.hidden": -7.0, "layers.9.hidden": 7.0, "final_norm": 7.0}) == "layers.9.hidden"
    assert carrier_of({"final_norm": 7.0, "embedding": -7.0, "layers.0.hidden": 7.0}) == "embedding"
    assert (
        carrier_of({"layers.2.mlp_output": 7.0, "layers.2.attn_output": 7.0, "layers.2.hidden": 7.0})
        == "layers.2.hidden"
    )


# The file


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
def test_any_text_float_and_count_survives(
    text: str, value: float, counts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "r.safetensors"
    base = records.record({"layers.0.hidden": [[1.0, 2.0]]}, model=text, versions={text: text}, left_out=(text,))
    peak = Peak(value=value, sample=text, position=0, token=text, token_id=0, channel=1, part=text)
    large = Histogram("bfloat16", np.arange(len(counts), dtype=np.uint16), np.array(counts, np.int64))
    reading = replace(records.holding(base["layers.0.hidden"], calibration=large), peaks=(peak,))
    whole = replace(base, sites={"layers.0.hidden": reading})
    save(whole, path)
    assert load(path) == whole
    assert str(load(path)["layers.0.hidden"].peaks[0].value) == str(value), "-0.0 is not 0.0"


def test_a_name_with_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    """Python reads a path that is not UTF-8 so, and JSON lines can spell one in a sample's id or category."""
    samples = [Measured(id=f"id-\ud83d-{i}", category="\ud800", values={"embedding": [[1.0]]}) for i in range(2)]
    whole = record_of(samples, model="/models/\udcff")
    save(whole, tmp_path / "r.safetensors")
    assert load(tmp_path / "r.safetensors") == whole


def test_empty_splits_and_float16_histograms_survive(tmp_path: Path) -> None:
    empty, half = Histogram.empty("float16"), Histogram.from_values("float16", np.array([65504.0, 0.0, 6e-8]))
    base = records.record({"embedding": [[1.0]]})
    held = Distributions(calibration=empty, evaluation=half)
    whole = replace(base, sites={"embedding": replace(base["embedding"], dtype="float16", held=held)})
    save(whole, tmp_path / "r.safetensors")
    loaded = load(tmp_path / "r.safetensors")
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
    assert load(tmp_path / "large.safetensors") == whole


# Written whole or not at all


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
        ("n" * 250, "File name too long"),
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


# Refused with a reason


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_refused_with_how_to_write_one(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none.safetensors")
    assert "no Record at" in text
    assert "`save` FILE" in text


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


# Merging


@patient
@given(st.data())
def test_parts_of_any_sizes_in_any_order_merge_to_the_whole(data: st.DataObject) -> None:
    samples = measured(data.draw(st.integers(2, 9)), seed=data.draw(st.integers(0, 50)))
    owner = [data.draw(st.integers(0, 3)) for _ in samples]
    parts = [record_of([s for s, o in zip(samples, owner, strict=True) if o == part]) for part in sorted(set(owner))]
    assert merge(data.draw(st.permutations(parts))) == record_of(samples)


def test_merging_parts_of_parts_gives_the_same_file(tmp_path: Path) -> None:
    samples = measured(8)
    a, b, c, d = (record_of(samples[i::4]) for i in range(4))
    save(record_of(samples), tmp_path / "whole")
    save(merge([merge([d, b]), merge([a, c])]), tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


def test_merged_provenance_lists_every_sample_once_and_sums_the_batches() -> None:
    samples = measured(5)
    parts = [
        record_of(samples[:1], batching={"batch_tokens": 64, "batches": 1, "padded_tokens": 7}),
        record_of(samples[1:]),
    ]
    parts[1] = replace(
        parts[1],
        provenance=replace(parts[1].provenance, batching={"batch_tokens": 64, "batches": 4, "padded_tokens": 5}),
    )
    joined = merge(reversed(parts)).provenance
    assert [sample[0] for sample in joined.samples] == ["s00", "s01", "s02", "s03", "s04"]
    assert joined.corpus_sha256 == corpus_digest([records.digest_of(f"s0{i}") for i in (4, 1, 0, 2, 3)])
    assert joined.batching == {"batch_tokens": 64, "batches": 5, "padded_tokens": 12}


def test_one_part_alone_is_itself(record: Record) -> None:
    assert merge([record]) == record


def test_equal_peaks_rank_by_place_and_only_ten_are_kept() -> None:
    tied = [Measured(id=f"s{i}", values={"layers.0.hidden": np.full((4, 2), (-1.0) ** i * 5.0)}) for i in range(4)]
    joined = merge([record_of(tied[2:]), record_of(tied[:2])])
    places = [(peak.sample, peak.position, peak.channel) for peak in joined["layers.0.hidden"].peaks]
    assert places == [("s0", token, channel) for token in range(4) for channel in range(2)] + [
        ("s1", 0, 0),
        ("s1", 0, 1),
    ]


def test_equal_peaks_of_opposite_sign_whose_rows_are_hidden_merge_in_any_order_to_the_same() -> None:
    """Behind routing neither sample nor position is known: (empty, -1) for all."""

    def part(name: str, sign: float) -> Record:
        whole = record_of([Measured(id=name, values={"layers.0.gate": [[1.0, 2.0]]})])
        hidden = tuple(
            Peak(value=sign * 9.0, sample="", position=-1, token="", token_id=-1, channel=1, part="experts")
            for _ in range(7)
        )
        return replace(whole, sites={"layers.0.gate": replace(whole["layers.0.gate"], peaks=hidden)})

    one, other = part("s0", 1.0), part("s1", -1.0)
    assert merge([one, other]) == merge([other, one])


def test_the_first_non_finite_entry_of_all_parts_is_kept() -> None:
    clean, *broken = (
        Measured(id=f"s{i}", values={"embedding": [[0.0, 1.0], [bad, 1.0]]})
        for i, bad in enumerate((1.0, np.nan, np.inf))
    )
    joined = merge([record_of([broken[1]]), record_of([clean]), record_of([broken[0]])])
    assert joined["embedding"].first_nonfinite == NonFinite(sample="s1", position=1, token="t1", channel=0)
    assert joined["embedding"].nonfinite == 2


def test_massive_activations_of_parts_add() -> None:
    one, none = Massive(tokens=2, entries=3, max_ratio=1200.0), Massive()
    assert one + Massive(tokens=1, entries=1, max_ratio=5000.0) == Massive(tokens=3, entries=4, max_ratio=5000.0)
    assert one + none == none + one == one
    assert none + none == none


def test_parts_that_share_a_sample_are_refused() -> None:
    samples = measured(4)
    with pytest.raises(InputError, match="these Records share samples; merging them would count those twice"):
        merge([record_of(samples[:3]), record_of(samples[2:])])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights_sha256", "other"),
        ("config_sha256", "other"),
        ("tokenizer_sha256", "other"),
        ("protocol", "deployed"),
        ("dtype", "float16"),
        ("max_seq_len", 512),
        ("attention", "eager"),
        ("experts", "grouped_mm"),
    ],
)
def test_parts_measured_differently_are_refused_with_what_differs(field: str, value: object) -> None:
    samples = measured(4)
    first, last = record_of(samples[:2]), record_of(samples[2:], **{field: value})
    for parts in ([first, last], [last, first]):
        with pytest.raises(InputError, match=f"not parts of one measurement; they differ in {field}$"):
            merge(parts)


def test_a_third_part_that_differs_is_refused_too() -> None:
    samples = measured(6)
    with pytest.raises(InputError, match=r"they differ in weights_sha256, protocol$"):
        merge(
            [
                record_of(samples[:2]),
                record_of(samples[2:4]),
                record_of(samples[4:], weights_sha256="x", protocol="deployed"),
            ]
        )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["fewer last", "fewer first"])
def test_parts_with_different_sites_are_refused(order: tuple[int, int]) -> None:
    """One of them left sites out: what is missing there would silently be missing from the whole."""
    samples = measured(4)
    fewer = [
        replace(sample, values={name: sample.values[name] for name in SITES if "gate" not in name})
        for sample in samples[2:]
    ]
    parts = [record_of(samples[:2]), record_of(fewer, left_out=("*.gate",))]
    with pytest.raises(InputError, match="differ"):
        merge(parts[place] for place in order)


def test_readings_of_different_dtype_or_width_do_not_merge() -> None:
    one = records.reading([1.0], [2.0])
    for change in ({"dtype": "float32"}, {"width": 2}, {"site": replace(one.site, module="elsewhere")}):
        with pytest.raises(
            InputError, match=r"readings of layers.0.hidden differ in dtype, width or module and do not merge"
        ):
            one + replace(one, **change)


def test_the_first_broken_site_is_where_values_arise_first() -> None:
    """Within a layer the blocks come before the residual stream that they write to."""
    values = {name: [[1.0, 2.0]] for name in ("embedding", "layers.0.hidden", "layers.0.mlp_output", "final_norm")}
    assert first_broken(records.record(values).sites.values()) is None
    broken = values | {name: [[1.0, math.nan]] for name in ("layers.0.hidden", "layers.0.mlp_output", "final_norm")}
    found = first_broken(records.record(broken).sites.values())
    assert found is not None
    assert found.site.name == "layers.0.mlp_output"
