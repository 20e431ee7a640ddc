"""A GGUF file that was split, or lies in a folder or a repository of the hub: given by any part, it is one model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize

from pytest_maxact.checkpoint.formats.gguf_parts import family, read_as_one
from pytest_maxact.checkpoint.gguf_chosen import the_one
from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import Checkpoint, locate, with_weights
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.checkpoint.weights.scan import scan_files
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support.exports import gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf.dense(tmp_path_factory.mktemp("gguf") / "source")


@pytest.fixture(scope="module")
def whole(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf.export(tmp_path_factory.mktemp("whole") / "model.gguf", origin=origin)


@pytest.fixture(scope="module")
def first(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf.export(tmp_path_factory.mktemp("parts") / "model.gguf", origin=origin, tensors_each=5)


@pytest.fixture
def parts(first: Path, tmp_path: Path) -> list[Path]:
    """A copy of the parts, to spoil."""
    return sorted(Path(shutil.copytree(first.parent, tmp_path / "copy")).glob("*.gguf"))


def parameters(model: Path) -> dict[str, torch.Tensor]:
    settings = Settings(model=str(model))
    headed = load(locate(settings), settings).headed
    assert headed is not None
    return dict(headed.state_dict())


def test_names_of_parts_are_told_by_one_of_them() -> None:
    assert family("m-00002-of-00003.gguf") == tuple(f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3))
    assert family("model.gguf") == ("model.gguf",)
    assert family("m-2-of-3.gguf") == ("m-2-of-3.gguf",)


@pytest.mark.parametrize("given", ["first", "last", "folder"])
def test_it_is_the_model_that_the_whole_file_is(given: str, first: Path, whole: Path) -> None:
    parts = sorted(first.parent.glob("*.gguf"))
    assert len(parts) == 3
    model = {"first": parts[0], "last": parts[-1], "folder": first.parent}[given]
    found, wanted = parameters(model), parameters(whole)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_config_tokenizer_weights_and_scan_are_of_all_parts(first: Path, whole: Path) -> None:
    one, other = (locate(Settings(model=str(file))) for file in (first, whole))
    assert one.config.to_dict() | {"_name_or_path": ""} == other.config.to_dict() | {"_name_or_path": ""}
    assert one.gguf == "model-00001-of-00003.gguf"
    files = with_weights(one, Settings(model=str(first)))
    assert [file.name for file in files.loaded] == list(family(first.name))
    assert len(files.headers()) == len(GGUFReader(whole).tensors)
    scans = scan_files(files.loaded)
    assert {name: scan.largest for name, scan in scans.items()} == {
        name: scan.largest for name, scan in scan_files([whole]).items()
    }
    vocabularies = [
        load_tokenizer(checkpoint.folder, False, gguf=checkpoint.gguf).get_vocab() for checkpoint in (one, other)
    ]
    assert vocabularies[0] == vocabularies[1]


def test_the_newer_reader_of_transformers_is_given_all_parts_too(first: Path, whole: Path) -> None:
    from transformers.integrations import gguf as ours
    from transformers.quantizers import quantizer_gguf

    wanted = quantizer_gguf.load_gguf_state_dict(quantizer_gguf.GgufHeader.from_file(str(whole)))
    with read_as_one(sorted(first.parent.glob("*.gguf"))):
        header = quantizer_gguf.GgufHeader.from_file(str(first))
        found = quantizer_gguf.load_gguf_state_dict(header)
        assert sorted(ours.read_gguf_metadata(str(first))[1]) == sorted(wanted)
    assert header.ggml_types == quantizer_gguf.GgufHeader.from_file(str(whole)).ggml_types
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name][...], wanted[name][...]) for name in wanted)
    assert sorted(ours.read_gguf_metadata(str(first))[1]) != sorted(wanted)


def refusal(model: Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        locate(Settings(model=str(model), **options))  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) in (2, 3)
    return str(caught.value)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_part_that_is_not_there_is_named(lost: int, parts: list[Path]) -> None:
    parts[lost].unlink()
    for given in (parts[(lost + 1) % 3], parts[0].parent):
        assert f"3 parts of a GGUF file, and model-0000{lost + 1}-of-00003.gguf does not lie" in refusal(given)


def test_lint_looks_at_all_parts_and_names_the_one_that_is_not_there(parts: list[Path]) -> None:
    for given in (parts[0], parts[2], parts[0].parent):
        found = lint(given)
        assert (found.faults, found.tensors) == ((), 12)
    parts[1].unlink()
    assert [(one.code, one.tensor) for one in lint(parts[0]).faults] == [("file", parts[1].name)]


def test_parts_by_other_names_of_another_number_or_of_two_exports_are_refused(parts: list[Path]) -> None:
    alone = Path(shutil.copy(parts[1], parts[1].parent.parent / "alone.gguf"))
    assert "is one of 3 parts of a GGUF file, and its name does not say so" in refusal(alone)
    second = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    assert "model-00002-of-00003.gguf says that it is part 3 of 3" in refusal(parts[0])
    parts[1].write_bytes(second[:-100])
    assert "model-00002-of-00003.gguf is corrupt, truncated or no GGUF file" in refusal(parts[0])


def test_of_several_models_in_a_folder_one_is_to_be_named(first: Path, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(first.parent, tmp_path / "both"))
    shutil.copy(whole, folder / "other-Q4_1.gguf")
    (folder / "mmproj-model-f16.gguf").write_bytes(b"GGUF")
    text = refusal(folder)
    assert "2 models as GGUF files: model-00001-of-00003.gguf, other-Q4_1.gguf" in text
    assert "weights" in text.splitlines()[1]
    found = locate(Settings(model=str(folder), weights="other-Q4_1.gguf"))
    assert found.gguf == "other-Q4_1.gguf"
    assert "there is no such file" in refusal(folder, weights="another.gguf")
    assert "there is no such file" in refusal(folder, weights="../whole/model.gguf")


def test_a_link_is_what_it_leads_to(first: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest.gguf"
    link.symlink_to(first)
    assert locate(Settings(model=str(link))).gguf == first.name


@pytest.fixture
def hub(tmp_path: Path, first: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot of org/gguf in the hub's own cache layout, with a split file in a folder of its own; no network."""
    repository = tmp_path / "hub" / "models--org--gguf"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    for number, part in enumerate(sorted(first.parent.glob("*.gguf"))):
        blob = repository / "blobs" / f"{number:064x}"
        shutil.copy(part, blob)
        (snapshot / "Q4_1").mkdir(parents=True, exist_ok=True)
        (snapshot / "Q4_1" / part.name).symlink_to(blob)
    (snapshot / "README.md").write_text("a model in GGUF")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


def test_a_repository_of_the_hub_is_its_only_model_or_the_one_that_is_named(hub: Path, whole: Path) -> None:
    settings = Settings(model="org/gguf")
    found = locate(settings)
    assert (found.name, found.revision) == ("org/gguf", COMMIT)
    assert len(with_weights(found, settings).loaded) == 3
    assert load(found, settings).headed is not None
    shutil.copy(whole, hub / "model-Q8_0.gguf")
    assert "org/gguf holds 2 models as GGUF files: Q4_1/model-00001-of-00003.gguf, mod" in refusal(Path("org/gguf"))
    for chosen in ("model-Q8_0.gguf", "Q4_1/model-00002-of-00003.gguf"):
        named = locate(Settings(model="org/gguf", weights=chosen))
        assert named.revision == COMMIT
        assert named.gguf == chosen.rpartition("/")[2].replace("00002-of", "00001-of")
    assert "there is no such file" in refusal(Path("org/gguf"), weights="model-Q2_K.gguf")


def test_what_lies_beside_a_model_is_no_choice() -> None:
    assert the_one(["m-Q4.gguf", "mmproj-F16.gguf", "m.imatrix.gguf"], "here") == "m-Q4.gguf"
    assert the_one([], "here") == ""


@pytest.mark.parametrize(
    "kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS", "IQ3_S", "IQ4_XS", "IQ4_NL", "IQ1_M"]
)
def test_blocks_of_every_kind_are_what_gguf_gives_back(kind: str, tmp_path: Path) -> None:
    file = gguf.in_random_blocks(tmp_path / "model.gguf", kind)
    stored = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(file).tensors}
    found = parameters(file)
    wanted = gguf.unpermuted({name: torch.tensor(np.array(stored[gguf.called(name)])) for name in found})
    assert all(torch.equal(found[name], wanted[name].to(found[name].dtype)) for name in found)
    assert found["lm_head.weight"].unique().numel() > 4


def checkpoint(file: Path) -> Checkpoint:
    return locate(Settings(model=str(file)))


@pytest.mark.parametrize("adds_bos", [False, True])
def test_its_tokenizer_begins_a_text_as_the_file_says(adds_bos: bool, origin: Path, tmp_path: Path) -> None:
    file = gguf.export(tmp_path / "model.gguf", origin=origin, adds_bos=adds_bos)
    tokenizer = load_tokenizer(file.parent, False, gguf=file.name)
    assert tokenizer("ab").input_ids == [0, 257][not adds_bos :]
    assert tokenizer("ab", add_special_tokens=False).input_ids == [257]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "<s>")


def test_one_without_tokenizer_or_of_an_architecture_that_is_not_read_is_refused_by_name(
    origin: Path, tmp_path: Path
) -> None:
    bare = checkpoint(gguf.export(tmp_path / "bare.gguf", origin=origin, tokenizer=False))
    with pytest.raises(InputError, match=r"no tokenizer in .*bare\.gguf"):
        load_tokenizer(bare.folder, False, gguf=bare.gguf)
    other = gguf.export(tmp_path / "other.gguf", origin=origin, architecture="rwkv6")
    assert "its architecture, rwkv6, is none that transformers reads from GGUF" in refusal(other)
