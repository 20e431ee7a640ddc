"""What was hashed, loaded and measured is one and the same: whatever changes meanwhile ends in an error, always."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.seal import joined, require_unbroken, sealed
from pytest_maxact.errors import MeasureError
from pytest_maxact.gate.session import open_session
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.settings.settings import Settings


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def rewrite_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    kept = file.stat()
    tensors = load_file(file)
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def change_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))


def change_tokenizer(folder: Path) -> None:
    with (folder / "tokenizer.json").open("a") as file:
        file.write("\n")


def add_a_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def replace_by_a_link(folder: Path) -> None:
    moved = (folder / "model.safetensors").rename(folder.parent / "moved.safetensors")
    (folder / "model.safetensors").symlink_to(moved)


def remove_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


CHANGES = [
    rewrite_weights, change_config, change_tokenizer, add_a_template, replace_by_a_link, remove_the_weights,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_during_a_measurement_is_an_error_without_a_cache(
    change: Callable[[Path], None], copy: Path, corpus: Path
) -> None:
    settings = Settings(model=str(copy), corpus=str(corpus))
    prepared = prepare(settings)

    def meanwhile(record: object) -> dict[str, list[str]]:
        change(copy)
        return {}

    with pytest.raises(MeasureError, match=f"{copy} changed while it was measured: .* is not what was read"):
        measure(prepared, settings, "qwen3", failing=meanwhile)


@pytest.mark.parametrize("change", [change_config, change_tokenizer, add_a_template])
@pytest.mark.parametrize("cache", [False, True], ids=["without a cache", "with a cache"])
def test_a_change_between_opening_and_measuring_is_an_error(
    change: Callable[[Path], None], cache: bool, copy: Path, corpus: Path, tmp_path: Path
) -> None:
    settings = Settings(model=str(copy), corpus=str(corpus), cache=str(tmp_path / "cache") if cache else None)
    session = open_session(settings)
    change(copy)
    with pytest.raises(MeasureError, match="changed while it was measured"):
        session.records.obtain(session.plan.latest.source)


@pytest.mark.parametrize("back", [False, True], ids=["turned", "turned there and back"])
def test_a_link_to_the_folder_that_is_turned_is_an_error_or_never_followed(
    back: bool, copy: Path, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    rewrite_weights(other)
    latest = tmp_path / "latest"
    latest.symlink_to(copy)
    settings = Settings(model=str(latest), corpus=str(corpus))
    prepared = prepare(settings)
    alone = measure(prepare(Settings(model=str(copy), corpus=str(corpus))), settings, "qwen3")
    latest.unlink()
    latest.symlink_to(other)

    def meanwhile(record: object) -> dict[str, list[str]]:
        if back:
            latest.unlink()
            latest.symlink_to(copy)
        return {}

    if back:
        found = measure(prepared, settings, "qwen3", failing=meanwhile)
        assert found.sites == alone.sites
        assert found.provenance.weights_sha256 == alone.provenance.weights_sha256
    else:
        with pytest.raises(MeasureError, match=f"the name leads to {other} now, and led to {copy}"):
            measure(prepared, settings, "qwen3", failing=meanwhile)


def test_a_link_to_the_weights_that_is_turned_and_turned_back_is_seen(copy: Path, tmp_path: Path) -> None:
    replace_by_a_link(copy)
    file = copy / "model.safetensors"
    seal = joined(sealed(copy), [file])
    require_unbroken(seal)
    target = file.readlink()
    file.unlink()
    file.symlink_to(copy / "config.json")
    file.unlink()
    file.symlink_to(target)
    with pytest.raises(MeasureError, match=r"model\.safetensors is not what was read"):
        require_unbroken(seal)


def test_what_decides_nothing_may_change(copy: Path) -> None:
    seal = joined(sealed(copy), [copy / "model.safetensors"])
    for name in ("README.md", "eval_results.json", "trainer_state.json", "optimizer.pt", "logs.txt"):
        (copy / name).write_text("x")
    require_unbroken(seal)
