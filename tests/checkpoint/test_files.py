"""Which files are the model: one set of weights, whole, or an error that names both; what is loaded is hashed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.files import WeightFiles, weight_files
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def _sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded") / "m"
    model = tiny.random_model("qwen3", seed=1)
    model.save_pretrained(folder, max_shard_size="100KB")  # type: ignore[operator]
    tiny.word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def sharded(_sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_sharded, tmp_path / "sharded"))


@pytest.fixture
def single(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "single"))


def found(folder: Path, **settings: str) -> WeightFiles:
    given = Settings(model=str(folder), **settings)  # type: ignore[arg-type]
    return with_weights(locate(given), given)


def names(files: WeightFiles) -> list[str]:
    return [files.name(file) for file in files.loaded]


def test_a_single_file_or_the_files_of_an_index_are_the_model(single: Path, sharded: Path) -> None:
    assert (names(found(single)), found(single).index, found(single).beside) == ([SINGLE], None, ())
    files = found(sharded)
    assert names(files) == sorted(path.name for path in sharded.glob("*.safetensors"))
    assert files.read == (*files.loaded, sharded / INDEX)


def old_single(folder: Path, single: Path) -> None:
    shutil.copy(single / SINGLE, folder / SINGLE)


def pickle(folder: Path, single: Path) -> None:
    torch.save(load_file(single / SINGLE), folder / "pytorch_model.bin")


def pickled_shards(folder: Path, single: Path) -> None:
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"x")
    (folder / "pytorch_model.bin.index.json").write_text("{}")


def variant(folder: Path, single: Path) -> None:
    shutil.copy(single / SINGLE, folder / "model.fp16.safetensors")


def shards_of_another_count(folder: Path, single: Path) -> None:
    shutil.copy(single / SINGLE, folder / "model-00001-of-00099.safetensors")


def same_tensors_under_another_name(folder: Path, single: Path) -> None:
    shutil.copy(single / SINGLE, folder / "merged.safetensors")


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (old_single, "model.safetensors, which transformers loads, and model-*.safetensors, model.safetensors.index.*"),
        (pickle, "pytorch_model.bin, which loaders take that are asked for pickles"),
        (pickled_shards, "pytorch_model-*.bin, pytorch_model.bin.index.json, which"),
        (variant, "model.fp16.safetensors, which vLLM and others that read every safetensors file take too"),
        (shards_of_another_count, "model-*.safetensors, which"),
        (same_tensors_under_another_name, "merged.safetensors, which vLLM"),
    ],
)  # fmt: skip
def test_a_second_set_of_weights_is_refused_by_name(
    beside: Callable[[Path, Path], None], named: str, sharded: Path, checkpoint: Path
) -> None:
    beside(sharded, checkpoint)
    with pytest.raises(InputError, match=rf"more than one set of weights: .*{named.replace('*', '.*')}") as caught:
        locate(Settings(model=str(sharded)))
    assert "choose with `weights`" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_the_set_that_is_chosen_is_loaded_hashed_and_the_other_named(sharded: Path, checkpoint: Path) -> None:
    alone = weights_digest(found(sharded))
    old_single(sharded, checkpoint)
    by_index, by_file = found(sharded, weights=INDEX), found(sharded, weights=SINGLE)
    assert weights_digest(by_index) == alone
    assert by_index.beside == (SINGLE,)
    assert weights_digest(by_file) == weights_digest(found(checkpoint))
    for chosen, source in ((INDEX, by_index), (SINGLE, by_file)):
        settings = Settings(model=str(sharded), weights=chosen)
        loaded = load(locate(settings), settings).model.get_parameter("norm.weight")
        stored = next(t["norm.weight"] for t in map(load_file, source.loaded) if "norm.weight" in t)
        assert torch.equal(loaded, stored)
        matrix = load(locate(settings), settings).model.get_parameter("layers.1.mlp.up_proj.weight")
        there = [
            t["layers.1.mlp.up_proj.weight"]
            for t in map(load_file, source.loaded)
            if "layers.1.mlp.up_proj.weight" in t
        ]
        assert torch.equal(matrix, there[0])


def test_a_file_may_be_chosen_by_its_whole_path_and_through_links(sharded: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sharded)
    for chosen in (INDEX, f"./{INDEX}", str(sharded / INDEX), str(tmp_path / "link" / INDEX)):
        assert found(tmp_path / "link", weights=chosen).entry == INDEX


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("nowhere.safetensors", "there is no such file in"),
        ("../model.safetensors", "not a file inside"),
        ("/etc/model.safetensors", "not a file inside"),
        ("pytorch_model.bin", r"neither a \*.safetensors file nor an index"),
        ("config.json", r"neither a \*.safetensors file nor an index"),
    ],
)
def test_what_cannot_be_chosen_is_refused(chosen: str, message: str, single: Path) -> None:
    with pytest.raises(InputError, match=f"`weights` {chosen}: {message}"):
        locate(Settings(model=str(single), weights=chosen))


@pytest.mark.parametrize("content", [b"", b"\x00garbage", None])
def test_weights_of_another_runtime_are_named_and_neither_read_nor_refused(content: bytes | None, single: Path) -> None:
    alone = weights_digest(found(single))
    for name in ("consolidated.safetensors", "consolidated.00.pth", "model.gguf.part", "tf_model.h5", "x.gguf"):
        (single / name).write_bytes(content if content is not None else (single / SINGLE).read_bytes())
    (single / "training_args.bin").write_bytes(b"x")
    (single / "optimizer.pt").write_bytes(b"x")
    files = found(single)
    assert files.beside == ("consolidated.00.pth", "consolidated.safetensors", "tf_model.h5", "x.gguf")
    assert weights_digest(files) == alone


def test_an_index_of_the_single_file_is_no_second_set(single: Path) -> None:
    keys = load_file(single / SINGLE)
    (single / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(keys, SINGLE)}))
    assert names(found(single)) == [SINGLE]


@pytest.mark.parametrize("key", ["transformers_weights"])
def test_a_file_that_the_config_names_in_a_subfolder_is_loaded_and_hashed(key: str, single: Path) -> None:
    (single / "sub").mkdir()
    other = tiny.random_model("qwen3", seed=5)
    other.save_pretrained(single / "sub")  # type: ignore[operator]
    config = json.loads((single / "config.json").read_text())
    (single / "config.json").write_text(json.dumps({**config, key: f"sub/{SINGLE}"}))
    with pytest.raises(InputError, match=f"more than one set of weights: sub/{SINGLE}, .* and {SINGLE}"):
        locate(Settings(model=str(single)))
    (single / SINGLE).unlink()
    files = found(single)
    assert names(files) == [f"sub/{SINGLE}"]
    before = weights_digest(files)
    settings = Settings(model=str(single))
    loaded = load(locate(settings), settings).model.get_parameter("layers.1.mlp.up_proj.weight")
    assert torch.equal(loaded, other.get_parameter("layers.1.mlp.up_proj.weight"))
    tiny.random_model("qwen3", seed=6).save_pretrained(single / "sub")  # type: ignore[operator]
    assert weights_digest(found(single)) != before


@pytest.mark.parametrize("named", ["../other.safetensors", "sub/none.safetensors", "weights.bin", 3])
def test_a_file_that_the_config_names_and_transformers_would_not_load_is_refused(named: object, single: Path) -> None:
    config = json.loads((single / "config.json").read_text())
    (single / "config.json").write_text(json.dumps({**config, "transformers_weights": named}))
    with pytest.raises(InputError, match="transformers_weights"):
        locate(Settings(model=str(single)))


def spoil_map(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((folder / INDEX).read_text())
    change(content["weight_map"])
    (folder / INDEX).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update({"norm.weight": 3}), "not a weight index"),
        (lambda m: m.update({"norm.weight": None}), "not a weight index"),
        (lambda m: m.update({"norm.weight": "../x.safetensors"}), "not a weight index"),
        (lambda m: m.update({"norm.weight": "x.bin"}), "not a weight index"),
        (lambda m: m.clear(), "not a weight index"),
        (lambda m: m.update({"norm.weight": sorted(m.values())[0]}), "1 of its tensors do not lie where it says"),
        (lambda m: m.update({"more.weight": sorted(m.values())[0]}), "1 of its tensors do not lie where it says"),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(
    change: Callable[[dict[str, object]], object], message: str, sharded: Path
) -> None:
    spoil_map(sharded, change)
    with pytest.raises(InputError, match=message):
        locate(Settings(model=str(sharded)))


def test_a_tensor_in_two_shards_is_refused(sharded: Path) -> None:
    first, *_, last = sorted(sharded.glob("*.safetensors"))
    tensors = load_file(first)
    key = sorted(load_file(last))[0]
    save_file({**tensors, key: load_file(last)[key]}, first, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"both hold {key}"):
        locate(Settings(model=str(sharded)))


def test_a_distributed_save_is_refused_as_transformers_prefers_it(single: Path) -> None:
    shutil.copy(single / SINGLE, single / "shard-00001-model-00001-of-00001.safetensors")
    with pytest.raises(InputError, match="saved distributed, which transformers would load in place of"):
        locate(Settings(model=str(single)))


def test_weights_under_names_that_nothing_loads_are_none(single: Path) -> None:
    (single / SINGLE).rename(single / "consolidated.safetensors")
    with pytest.raises(InputError, match=f"neither {SINGLE} nor {INDEX}, so none of its 1 weight files"):
        weight_files(single)
