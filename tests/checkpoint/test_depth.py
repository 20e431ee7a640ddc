"""A config that says many more layers than the files hold is refused by names, before a model of it is built."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_maxact.checkpoint.depth import require_depth
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny


def config(**values: Any) -> Any:
    return SimpleNamespace(to_dict=lambda: values)


def keys(layers: int, stack: str = "model.layers") -> list[str]:
    experts = [f"{stack}.0.mlp.experts.{i}.w.weight" for i in range(500)]
    return ["model.embed.weight", *experts, *(f"{stack}.{i}.self_attn.q.weight" for i in range(layers))]


@pytest.mark.parametrize("layers", [20_000, 1000, 65])
def test_many_more_layers_than_there_are_tensors_of_are_refused(layers: int) -> None:
    with pytest.raises(InputError, match=f"x: num_hidden_layers is {layers}, and the weight files hold tensors of 6"):
        require_depth(config(num_hidden_layers=layers), keys(6), "x")


def test_a_towers_depth_is_held_to_the_same() -> None:
    with pytest.raises(InputError, match=r"vision_config\.depth is 9000"):
        require_depth(config(num_hidden_layers=6, vision_config={"depth": 9000}), keys(6), "x")


def test_layers_that_run_several_times_and_deep_models_are_not() -> None:
    require_depth(config(num_hidden_layers=48), keys(1, "albert_layer_groups"), "x")
    require_depth(config(num_hidden_layers=126), keys(126), "x")
    require_depth(config(num_hidden_layers=1001), keys(1001), "x")
    require_depth(config(num_hidden_layers=126), None, "x")


def test_without_weights_no_model_is_deeper_than_any() -> None:
    with pytest.raises(InputError, match="n_layer is 20000, and no model is as deep"):
        require_depth(config(n_layer=20_000), None, "x")


def test_it_is_told_before_a_model_is_built(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("qwen3"))
    said = json.loads((folder / "config.json").read_text())
    said |= {"num_hidden_layers": 20_000, "layer_types": ["full_attention"] * 20_000}
    (folder / "config.json").write_text(json.dumps(said))
    started = time.process_time()
    with pytest.raises(InputError, match="num_hidden_layers is 20000"):
        locate(Settings(model=str(folder)))
    with pytest.raises(InputError, match="num_hidden_layers is 20000"):
        skeleton(locate(Settings(model=str(folder)), weights=False))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": []}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": "F32", "shape": [99999999999999999999], "data_offsets": [0, 4]}}',
        b'{"a": ' + b"[" * 20_000,
        b'{"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}',
        b"[]",
    ],
)
def test_a_header_that_is_none_is_refused_in_words(header: bytes, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("qwen3"))
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(InputError, match=r"model\.safetensors is corrupt or truncated"):
        locate(Settings(model=str(folder)))


def test_a_config_nested_too_deeply_is_refused_in_words(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", tiny.random_model("qwen3"))
    (folder / "config.json").write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(InputError, match=r"config\.json"):
        locate(Settings(model=str(folder)))
