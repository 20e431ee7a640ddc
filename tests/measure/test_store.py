"""Records kept by content: measured once, whole or again, by one process at a time; and what that content is."""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.errors import InputError, MeasureError, neutral, worded
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.provenance import content_of
from pytest_maxact.measure.store import SUFFIX, Store, key_of
from pytest_maxact.record.file import save
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.settings.settings import Settings
from tests.support import records, tiny
from tests.support.caching import CONTENT, Counted, obtain_and_die, obtain_slowly, record


def never() -> Record:
    raise AssertionError("measured, though it is kept")


def path_of(store: Store, content: dict[str, Any]) -> Path:
    return store.folder / f"{key_of(content)}{SUFFIX}"


def manifest_of(store: Store, content: dict[str, Any]) -> Path:
    return store.folder / f"{key_of(content)}.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "cache")


def test_what_was_measured_once_is_read_the_next_time(store: Store) -> None:
    measure = Counted(record())
    assert (
        store.obtain(CONTENT, measure) == store.obtain(CONTENT, measure) == Store(store.folder).obtain(CONTENT, never)
    )
    assert measure.times == 1


CHANGES: list[dict[str, Any]] = [
    {"weights_sha256": "x" * 64},
    {"batch_tokens": 65},
    {"schemes": []},
    {"schemes": ["W8A8", "FP8"]},
    {"bounds": []},
    {"bounds": [["a::b", 20.5]]},
    {"dtype": "bfloat16"},
    {"more": 1},
    {"batch_tokens": "64"},
    {"dtype": "None"},
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_content_is_measured_on_its_own(change: dict[str, Any], store: Store) -> None:
    store.obtain(CONTENT, Counted(record()))
    other = Counted(record(16.0))
    assert store.obtain({**CONTENT, **change}, other)["layers.0.hidden"].max_abs == 16.0
    assert other.times == 1
    assert store.obtain(CONTENT, never)["layers.0.hidden"].max_abs == 8.0


def test_a_key_does_not_hang_on_the_order_of_entries() -> None:
    assert key_of(CONTENT) == key_of(dict(reversed(CONTENT.items())))
    assert len({key_of(CONTENT), *(key_of({**CONTENT, **change}) for change in CHANGES)}) == 1 + len(CHANGES)


def test_what_could_not_be_tried_is_tried_again_and_kept_once_it_could(store: Store) -> None:
    failed, whole = Counted(replace(record(), untried={"stress": "out of memory"})), Counted(record())
    assert store.obtain(CONTENT, failed).untried
    assert store.obtain(CONTENT, whole) == store.obtain(CONTENT, never) == record()
    assert (failed.times, whole.times) == (1, 1)


def test_a_failed_trial_that_an_earlier_version_kept_is_tried_again(store: Store) -> None:
    store.obtain(CONTENT, Counted(record()))
    save(replace(record(), untried={"hunt": "out of memory"}), path_of(store, CONTENT))
    manifest = json.loads(manifest_of(store, CONTENT).read_text())
    manifest["sha256"] = hashlib.sha256(path_of(store, CONTENT).read_bytes()).hexdigest()
    manifest_of(store, CONTENT).write_text(json.dumps(manifest))
    whole = Counted(record())
    assert store.obtain(CONTENT, whole) == record()
    assert whole.times == 1


def test_nothing_of_a_measurement_that_failed_is_kept(store: Store) -> None:
    def broken() -> Record:
        raise MeasureError("out of memory")

    with pytest.raises(MeasureError):
        store.obtain(CONTENT, broken)
    measure = Counted(record())
    store.obtain(CONTENT, measure)
    assert measure.times == 1, "neither kept nor locked"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, scramble, flip, Path.unlink])
@pytest.mark.parametrize("what", [path_of, manifest_of])
def test_what_is_damaged_is_measured_again_and_mended(
    damage: Callable[[Path], None], what: Callable[[Store, dict[str, Any]], Path], store: Store
) -> None:
    store.obtain(CONTENT, Counted(record()))
    damage(what(store, CONTENT))
    again = Counted(record())
    assert store.obtain(CONTENT, again) == record()
    assert again.times == 1
    assert store.obtain(CONTENT, never) == record()


@pytest.mark.parametrize("manifest", ["null", "[]", "{}", '{"record": "x"}', '{"record": "%s", "measured_from": {}}'])
def test_a_manifest_of_something_else_is_not_believed(manifest: str, store: Store) -> None:
    store.obtain(CONTENT, Counted(record()))
    manifest_of(store, CONTENT).write_text(manifest.replace("%s", path_of(store, CONTENT).name))
    again = Counted(record())
    store.obtain(CONTENT, again)
    assert again.times == 1


def test_a_record_without_its_manifest_is_not_read(store: Store) -> None:
    """The manifest is written last: a process may have been killed before."""
    save(record(16.0), path_of(store, CONTENT))
    measure = Counted(record())
    assert store.obtain(CONTENT, measure)["layers.0.hidden"].max_abs == 8.0
    assert measure.times == 1


def test_a_manifest_says_what_its_record_was_measured_from(store: Store) -> None:
    store.obtain(CONTENT, Counted(record()))
    digest = hashlib.sha256(path_of(store, CONTENT).read_bytes()).hexdigest()
    manifest = json.loads(manifest_of(store, CONTENT).read_text())
    assert manifest == {"record": path_of(store, CONTENT).name, "sha256": digest, "measured_from": CONTENT}


def test_another_sound_record_under_the_key_is_not_believed(store: Store) -> None:
    store.obtain(CONTENT, Counted(record()))
    path_of(store, CONTENT).write_bytes(_other_bytes(store))
    again = Counted(record())
    store.obtain(CONTENT, again)
    assert again.times == 1


def _other_bytes(store: Store) -> bytes:
    other = store.folder / "other.safetensors"
    save(summary(record()), other)
    return other.read_bytes()


def test_leftovers_of_a_killed_process_go_and_those_of_other_content_stay(store: Store) -> None:
    key = key_of(CONTENT)
    mine = [store.folder / f".{key}{SUFFIX}.4711.partial", store.folder / f".{key}.json.4711.partial"]
    others = [store.folder / f".{'0' * 64}{SUFFIX}.4711.partial", store.folder / "notes.txt"]
    for path in (*mine, *others):
        path.write_text("half")
    store.obtain(CONTENT, Counted(record()))
    assert [path.exists() for path in (*mine, *others)] == [False, False, True, True]
    assert sorted(path.name for path in store.folder.glob(f"*{key}*")) == [
        f"{key}.json",
        f"{key}.lock",
        f"{key}{SUFFIX}",
    ]


# Several processes


@pytest.fixture
def processes() -> Any:
    return multiprocessing.get_context("spawn")


def test_of_several_processes_one_measures_and_the_others_wait_for_its_record(processes: Any, tmp_path: Path) -> None:
    started, log = processes.Barrier(2), tmp_path / "log"
    running = [processes.Process(target=obtain_slowly, args=(tmp_path / "cache", log, started)) for _ in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_a_process_that_is_killed_leaves_its_lock_to_the_next(processes: Any, tmp_path: Path) -> None:
    process = processes.Process(target=obtain_and_die, args=(tmp_path / "cache",))
    process.start()
    process.join(300)
    assert process.exitcode == 9
    measure = Counted(record())
    assert Store(tmp_path / "cache").obtain(CONTENT, measure) == record()
    assert measure.times == 1


def test_the_same_record_is_the_same_bytes(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for one in (store, other):
        one.obtain(CONTENT, Counted(record()))
    assert path_of(store, CONTENT).read_bytes() == path_of(other, CONTENT).read_bytes()
    assert manifest_of(store, CONTENT).read_bytes() == manifest_of(other, CONTENT).read_bytes()


# Where it cannot be kept


def test_a_cache_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"`cache` {folder}: cannot be made") as caught:
            Store(folder)
        assert len(str(caught.value).splitlines()) == 2


def test_a_cache_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every folder may be written: what the system says is put in its place."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"may not be written\n  give another folder"):
        Store(tmp_path)


def test_a_lock_that_cannot_be_taken_is_said_in_words(store: Store) -> None:
    """As in a folder that several users share, where the lock is another's file."""
    (store.folder / f"{key_of(CONTENT)}.lock").mkdir()
    with pytest.raises(InputError, match=f"`cache` {store.folder}: cannot be written"):
        store.obtain(CONTENT, never)


def test_a_manifest_that_cannot_be_written_is_said_in_words(store: Store) -> None:
    manifest_of(store, CONTENT).mkdir()
    assert store.obtain(CONTENT, Counted(record())) == record()
    assert worded(store.unkept, neutral).startswith(f"`cache` {store.folder}: cannot be written")


# What a Record is kept by


def content(model: Path, corpus: Path, bounds: tuple[tuple[str, float], ...] = (), **options: Any) -> dict[str, Any]:
    settings = Settings(model=str(model), corpus=str(corpus), **options)
    return content_of(prepare(settings), settings, weights_digest(weight_files(model)), bounds)


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint, tmp_path / "copy")


def test_the_same_checkpoint_elsewhere_is_the_same_content(checkpoint: Path, copy: Path, corpus: Path) -> None:
    assert key_of(content(checkpoint, corpus)) == key_of(content(copy, corpus))
    assert key_of(content(checkpoint, corpus)) == key_of(
        content(checkpoint, corpus, limits="mine.yaml", baseline=("v1",), save="here")
    )


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "bf16"},
        {"dtype": "fp32"},
        {"max_samples": 6},
        {"max_samples": 6, "seed": 1},
        {"max_tokens": 40},
        {"max_seq_len": 6},
        {"batch_tokens": 64},
        {"protocol": "deployed"},
        {"sites": "deploy"},
        {"schemes": ("W8A8",)},
        {"schemes": ("FP8",)},
        {"schemes": ("W8A8",), "sites": "deploy"},
    ],
    ids=str,
)
def test_whatever_shapes_a_measurement_is_part_of_its_content(
    options: dict[str, Any], checkpoint: Path, corpus: Path
) -> None:
    seen = [key_of(content(checkpoint, corpus)), key_of(content(checkpoint, corpus, **options))]
    if options == {"schemes": ("W8A8",), "sites": "deploy"}:
        seen[0] = key_of(content(checkpoint, corpus, sites="deploy"))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("tried", [{"stress": True}, {"hunt": ("layers.0.hidden",)}, {"until_saturated": 50}], ids=str)
def test_what_is_drawn_by_a_seed_is_kept_by_it(tried: dict[str, Any], checkpoint: Path, corpus: Path) -> None:
    plain, other = (key_of(content(checkpoint, corpus, seed=seed)) for seed in (0, 5))
    assert plain == other, "all of a corpus is no draw"
    assert len({plain, *(key_of(content(checkpoint, corpus, seed=seed, **tried)) for seed in (0, 5))}) == 3


def rewrite(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def other_weights(folder: Path) -> None:
    tiny.random_model("qwen3", seed=7).save_pretrained(folder)


def other_words(folder: Path) -> None:
    tiny.word_tokenizer(reverse=True).save_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        other_words,
        rewrite("config.json", rms_norm_eps=1e-3),
        rewrite("config.json", rope_theta=77.0, rope_parameters=None),
        rewrite("config.json", _attn_implementation="eager"),
        rewrite("config.json", attn_implementation="eager"),
        rewrite("config.json", max_position_embeddings=8),
        rewrite("tokenizer_config.json", chat_template="{{ messages }}"),
    ],
    ids=["weights", "tokenizer", "eps", "rope", "_attention", "attention", "positions", "template"],
)
def test_whatever_changes_in_a_checkpoint_changes_its_content(
    change: Callable[[Path], None], checkpoint: Path, copy: Path, corpus: Path
) -> None:
    change(copy)
    assert key_of(content(checkpoint, corpus)) != key_of(content(copy, corpus))


def test_another_corpus_is_other_content_in_texts_ids_and_categories(checkpoint: Path, tmp_path: Path) -> None:
    lines = [{"id": f"s{i}", "text": f"w{i} w1 w2", "category": "ab"[i % 2]} for i in range(6)]
    keys = set()
    for number, change in enumerate(({}, {"text": "w9 w9"}, {"category": "c"}, {"id": "other"})):
        path = tmp_path / str(number) / "corpus.jsonl"
        path.parent.mkdir()
        path.write_text("\n".join(json.dumps(line) for line in [{**lines[0], **change}, *lines[1:]]))
        keys.add(key_of(content(checkpoint, path)))
    assert len(keys) == 4


def test_bounds_are_part_of_the_content_where_they_decide_what_is_measured(checkpoint: Path, corpus: Path) -> None:
    bounds = (("layers.0.o_in::W8A8.sqnr_db", 20.0),)
    assert key_of(content(checkpoint, corpus, bounds)) == key_of(content(checkpoint, corpus)), "no effect is measured"


@pytest.mark.parametrize("manifest", [b"[" * 100_000, b'{"a": ' * 100_000, b"1" * 5000, b"\xff", b'"\\ud800"'])
def test_a_manifest_that_is_no_manifest_is_one_more_measurement(manifest: bytes, tmp_path: Path) -> None:
    store, measured = Store(tmp_path), []

    def measure() -> Record:
        measured.append(1)
        return records.record({"layers.0.hidden": [[1.0, 2.0]], "layers.1.hidden": [[1.0, 2.0]]})

    store.obtain({"a": 1}, measure)
    (kept,) = tmp_path.glob("*.json")
    kept.write_bytes(manifest)
    assert store.obtain({"a": 1}, measure) == store.obtain({"a": 1}, measure)
    assert len(measured) == 2


def test_what_cannot_be_kept_is_measured_all_the_same_and_told(tmp_path: Path) -> None:
    """As where another user's file lies in the way."""
    for stop in (".lock", SUFFIX, ".json"):
        folder = tmp_path / stop.strip(".")
        (folder / f"{key_of(CONTENT)}{stop}" / "in the way").mkdir(parents=True)
        unasked, asked = Store(folder, asked=False), Store(folder)
        assert unasked.obtain(CONTENT, record) == record()
        assert unasked.unkept
        if stop == ".lock":
            with pytest.raises(InputError, match="cannot be written"):
                asked.obtain(CONTENT, lambda: pytest.fail("measured, and others may measure it too"))
            continue
        assert asked.obtain(CONTENT, record) == record()
        assert "cannot be written" in asked.unkept or "cannot write" in asked.unkept
