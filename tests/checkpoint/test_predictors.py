"""Multi-token prediction is left out where a family has it, and is a layer that is missing where it has none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.errors import MeasureError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny

JOINING = {"fc.weight": torch.zeros(64, 128), "pre_fc_norm_hidden.weight": torch.zeros(64)}


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def left_out(folder: Path) -> tuple[str, ...]:
    settings = Settings(model=str(folder))
    return load(locate(settings), settings).left_out


def rename_last_layer(folder: Path, to: str, **config: Any) -> dict[str, torch.Tensor]:
    """The last layer under another name, and a config that has one layer less."""
    tensors = load_file(folder / "model.safetensors")
    last = tiny.LAYERS - 1
    renamed = {key.replace(f"layers.{last}.", to): tensor for key, tensor in tensors.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    stated = json.loads((folder / "config.json").read_text())
    stated |= {"num_hidden_layers": last, "layer_types": stated["layer_types"][:last], **config}
    (folder / "config.json").write_text(json.dumps(stated))
    return renamed


def add(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(
        {**load_file(folder / "model.safetensors"), **tensors}, folder / "model.safetensors", metadata={"format": "pt"}
    )


@pytest.mark.parametrize("to", ["mtp.layers.0.", "model.mtp.layers.0.", "mtp.", "mtp_block.0.", "model.mtp_layers.0."])
@pytest.mark.parametrize("joined", [False, True])
def test_the_last_layer_moved_to_where_other_families_predict_is_refused(to: str, joined: bool, copy: Path) -> None:
    rename_last_layer(copy, to, num_nextn_predict_layers=1)
    if joined:
        add(copy, {f"mtp.{name}": tensor for name, tensor in JOINING.items()})
    with pytest.raises(MeasureError, match=r"hold \d+ decoder tensors? that the config does not use"):
        left_out(copy)


@pytest.mark.parametrize("name", ["num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers"])
def test_the_last_layer_declared_a_predictor_by_a_config_is_refused(name: str, copy: Path) -> None:
    rename_last_layer(copy, f"layers.{tiny.LAYERS - 1}.", **{name: 1})
    add(copy, {f"layers.{tiny.LAYERS - 1}.eh_proj.weight": torch.zeros(64, 128)})
    with pytest.raises(MeasureError, match=r"hold \d+ decoder tensors? that the config does not use"):
        left_out(copy)


@pytest.fixture(scope="module")
def qwen3_5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("qwen3_5") / "m", tiny.random_model("qwen3_5"))


def test_a_family_that_has_it_is_measured_without_it_and_says_so(qwen3_5: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(qwen3_5, tmp_path / "m"))
    layer = {"mtp.layers.0.mlp.up_proj.weight": torch.zeros(96, 64), "mtp.norm.weight": torch.zeros(64)}
    add(folder, {**{f"mtp.{name}": tensor for name, tensor in JOINING.items()}, **layer})
    assert "mtp: multi-token prediction" in left_out(folder)


def test_in_a_family_that_has_it_a_layer_that_joins_nothing_is_none(qwen3_5: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(qwen3_5, tmp_path / "m"))
    add(folder, {"mtp.layers.0.mlp.up_proj.weight": torch.zeros(96, 64), "mtp.norm.weight": torch.zeros(64)})
    with pytest.raises(MeasureError, match="hold 2 decoder tensors that the config does not use, the first mtp"):
        left_out(folder)


def test_a_surplus_layer_of_a_family_that_has_it_is_left_out_and_said_so(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("bailing_hybrid"))
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, "num_nextn_predict_layers": 1}))
    surplus = f"model.layers.{tiny.LAYERS}"
    add(folder, {f"{surplus}.eh_proj.weight": torch.zeros(64, 128), f"{surplus}.enorm.weight": torch.zeros(64)})
    assert f"layers.{tiny.LAYERS}: multi-token prediction" in left_out(folder)
    add(folder, {f"model.layers.{tiny.LAYERS + 1}.eh_proj.weight": torch.zeros(64, 128)})
