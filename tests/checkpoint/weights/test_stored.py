"""Weights are found in their files whatever they are called there, each read once; those that are not whole are
errors.
"""

import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.weights import stored as stored
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.distortions import assert_equal, edited, errors_of, expected, figures, flat, saved
from tests.support.zoo import configs

# -- names and files
# ----------------------------------------------------------------------------------------------------


def test_shards_hold_what_one_file_holds(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3_moe")
    whole = errors_of(saved(tmp_path / "whole", model), ("W8A8", "FP8"))
    model.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 3
    found = errors_of(tmp_path / "shards", ("W8A8", "FP8"))
    for path, by_scheme in flat(whole).items():
        for name, error in by_scheme.items():
            assert_equal(flat(found)[path][name], figures(error))


def test_files_beside_those_that_are_loaded_are_left_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("qwen3"))
    before = errors_of(folder)
    raw = load_file(folder / "model.safetensors")
    save_file({name: tensor * 3.0 + 1.0 for name, tensor in raw.items()}, folder / "consolidated.safetensors")
    assert errors_of(folder) == before


def test_a_model_with_a_head_and_one_without_find_the_weights_of_each_other(tmp_path: Path) -> None:
    config = tiny.config_of("qwen3")
    headed = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    headed.save_pretrained(tmp_path / "headed")
    headed.model.save_pretrained(tmp_path / "bare")
    raw = load_file(tmp_path / "headed" / "model.safetensors")
    assert "model.layers.0.mlp.up_proj.weight" in raw
    found = flat(errors_of(tmp_path / "headed"))
    assert found == flat(errors_of(tmp_path / "bare"))
    assert {f"model.{path}": error for path, error in found.items()} == flat(errors_of(tmp_path / "bare", model=headed))
    assert_equal(
        found["layers.0.mlp.up_proj.weight"]["W8A8"], expected([raw["model.layers.0.mlp.up_proj.weight"]], "W8A8")
    )


def test_a_language_model_that_the_file_keeps_elsewhere_is_found(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("gemma3"))
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    found = flat(errors_of(folder))
    assert_equal(
        found["language_model.layers.0.mlp.up_proj.weight"]["W8A8"],
        expected([load_file(folder / "model.safetensors")[name]], "W8A8"),
    )


class Watched:
    """Files as they are opened, the names that are read from them, and how many tensors are alive at a time."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.alive: set[int] = set()
        self.most = 0

    def open(self, file: Path, framework: str) -> Any:
        watched = self

        class Candidate:
            def __init__(self) -> None:
                self.file = safetensors.safe_open(file, framework=framework)

            def __enter__(self) -> Any:
                self.file.__enter__()
                return self

            def __exit__(self, *error: Any) -> Any:
                return self.file.__exit__(*error)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

            def get_tensor(self, name: str) -> torch.Tensor:
                tensor: torch.Tensor = self.file.get_tensor(name)
                watched.read.append(name)
                watched.alive.add(id(tensor))
                weakref.finalize(tensor, watched.alive.discard, id(tensor))
                watched.most = max(watched.most, len(watched.alive))
                return tensor

        return Candidate()


@pytest.mark.parametrize("shard", ["60KB", "50GB"])
def test_one_tensor_is_held_at_a_time_and_each_is_read_once_for_all_schemes(
    shard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.random_model("qwen3_moe").save_pretrained(tmp_path, max_shard_size=shard)
    watched = Watched()
    monkeypatch.setattr(stored, "safe_open", watched.open)
    found = flat(errors_of(tmp_path, ("W8A8", "FP8", "FP8_BLOCK", "FP16")))
    assert watched.most == 1
    assert len(watched.read) == len(set(watched.read)) == 3 * (4 + 8 * 3)
    assert sum(by_scheme["FP8"].entries for by_scheme in found.values()) == 3 * (
        64 * 64 * 2 + 2 * 64 * 32 + 8 * 3 * 64 * 32
    )


def test_a_weight_that_layers_share_is_read_once_and_reported_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path, configs.build("hrm_text"))
    watched = Watched()
    monkeypatch.setattr(stored, "safe_open", watched.open)
    found = errors_of(folder)
    assert len(watched.read) == len(set(watched.read)) == 8 * 4
    places: dict[str, list[WeightDistortion]] = {}
    for errors in found.values():
        for path, by_scheme in errors.items():
            places.setdefault(path, []).append(by_scheme["W8A8"])
    assert {len(same) for same in places.values()} == {2, 6}
    assert all(error == same[0] for same in places.values() for error in same)


def test_a_tied_weight_is_read_once_under_the_name_that_the_file_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path, configs.build("zamba2"))
    one, other = (f"layers.{layer}.shared_transformer.feed_forward.down_proj.weight" for layer in (1, 3))
    raw = load_file(folder / "model.safetensors")
    assert [name for name in raw if name.endswith("feed_forward.down_proj.weight")] == [f"model.{one}"]
    watched = Watched()
    monkeypatch.setattr(stored, "safe_open", watched.open)
    found = errors_of(folder)
    assert len(watched.read) == len(set(watched.read))
    for path, site in ((one, "layers.1.down_in"), (other, "layers.3.down_in")):
        assert_equal(found[site][path]["W8A8"], expected([raw[f"model.{one}"]], "W8A8"))


# -- what must not pass
# ----------------------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(MeasureError) as caught:
        errors_of(folder)
    text = str(caught.value).replace(str(folder), "FOLDER")
    assert len(text.splitlines()) <= 3
    return text


UP = "layers.1.mlp.up_proj.weight"
AGAIN = "  config.json and the weight files do not belong together; export the checkpoint again"
ALREADY = "  its weights are quantized already; give the checkpoint before it was quantized"


def dropped(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[UP]


def reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP] = tensors[UP].T.contiguous()


def twice(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"model.{UP}"] = tensors[UP].clone()


def eight_bits(tensors: dict[str, torch.Tensor]) -> None:
    tensors[UP] = tensors[UP].to(torch.float8_e4m3fn)


def packed(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.1.mlp.up_proj.qweight"] = tensors.pop(UP)[:, :8].to(torch.int32).contiguous()


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (dropped, f"FOLDER/model.safetensors does not hold {UP}\n{AGAIN}"),
        (reshaped, f"FOLDER/model.safetensors: {UP} is 64 x 96 where the config makes {UP} 96 x 64\n{AGAIN}"),
        (
            twice,
            (
                f"FOLDER/model.safetensors: {UP} and what else makes up {UP} hold 12288 elements where the config "
                "makes it 96 x 64\n"
                f"{AGAIN}"
            ),
        ),
        (eight_bits, f"FOLDER/model.safetensors: {UP} holds F8_E4M3\n{ALREADY}"),
        (packed, f"FOLDER/model.safetensors: layers.1.mlp.up_proj.qweight holds I32 in place of {UP}\n{ALREADY}"),
    ],
)
def test_a_weight_that_the_file_does_not_hold_whole_is_an_error(
    edit: Callable[[dict[str, torch.Tensor]], None], text: str, tmp_path: Path
) -> None:
    assert refusal(edited(saved(tmp_path, tiny.random_model("qwen3")), edit)) == text


@pytest.mark.parametrize("number", ["0", "7"])
def test_an_expert_that_is_missing_or_too_many_is_an_error(number: str, tmp_path: Path) -> None:
    name = f"layers.1.mlp.experts.{number}.down_proj.weight"
    whole = "layers.1.mlp.experts.down_proj"

    def missing(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[name]

    def surplus(tensors: dict[str, torch.Tensor]) -> None:
        tensors["layers.1.mlp.experts.8.down_proj.weight"] = tensors["layers.1.mlp.experts.7.down_proj.weight"].clone()

    folder = saved(tmp_path, tiny.random_model("qwen3_moe"))
    kept = (folder / "model.safetensors").read_bytes()
    text = refusal(edited(folder, missing))
    assert f"what else makes up {whole} hold {7 * 64 * 32} elements where the config makes it 8 x 64 x 32" in text
    (folder / "model.safetensors").write_bytes(kept)
    assert f"hold {9 * 64 * 32} elements" in refusal(edited(folder, surplus))


def test_packed_experts_are_quantized_already(tmp_path: Path) -> None:
    def blocks(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
            tensors[f"{name}_blocks"] = torch.zeros((8, 4, 16), dtype=torch.uint8)
            del tensors[name]

    text = refusal(edited(saved(tmp_path, tiny.random_model("gpt_oss")), blocks))
    assert "_blocks holds U8 in place of layers.0.mlp.experts.gate_up_proj" in text
    assert text.endswith(ALREADY)


def test_a_weight_that_no_shard_holds_is_an_error_that_names_it(tmp_path: Path) -> None:
    tiny.random_model("qwen3").save_pretrained(tmp_path, max_shard_size="100KB")
    skeleton_of = skeleton(locate(Settings(model=str(tmp_path)))).body
    first, *_, last = sorted(tmp_path.glob("*.safetensors"))
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = {k: v for k, v in content["weight_map"].items() if v != last.name} | {"other": last.name}
    index.write_text(json.dumps(content))
    save_file({"other": torch.zeros(2)}, last)
    with pytest.raises(MeasureError) as caught:
        errors_of(tmp_path, model=skeleton_of)
    assert str(caught.value).startswith(
        f"none of the {len(list(tmp_path.glob('*.safetensors')))} weight files, from {first}, holds layers.2."
    )


def test_matrices_that_do_not_tell_inputs_from_outputs_are_an_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("mixtral", intermediate_size=32))
    model = skeleton(locate(Settings(model=str(folder)))).body
    for layer in model.layers:
        del layer.mlp.experts.is_transposed
    with pytest.raises(
        MeasureError, match=r"gate_up_proj: matrices of 64 x 64 do not tell inputs from outputs at a width of 64"
    ):
        errors_of(folder, model=model)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_leaves_no_figure_to_hold(value: float, tmp_path: Path) -> None:
    def plant(tensors: dict[str, torch.Tensor]) -> None:
        tensors["layers.1.mlp.experts.3.up_proj.weight"][2, 5] = value
        tensors["layers.0.self_attn.q_proj.weight"][0, 0] = value

    names = ("W8A8", "FP8", "FP8_BLOCK", "MXFP4", "NVFP4", "FP16", "BF16")
    found = flat(errors_of(edited(saved(tmp_path, tiny.random_model("qwen3_moe")), plant), names))
    planted = {"layers.1.mlp.experts.gate_up_proj", "layers.0.self_attn.q_proj.weight"}
    for path, by_scheme in found.items():
        for error in by_scheme.values():
            numbers = (error.sqnr_db, error.lowest_db, error.rel_rmse, error.clip_rate, error.flush_to_zero)
            assert all(math.isnan(number) == (path in planted) for number in numbers)
            assert not error.refused


def test_a_width_that_groups_do_not_divide_is_refused_with_its_reason(tmp_path: Path) -> None:
    found = flat(errors_of(saved(tmp_path, tiny.random_model("mixtral")), ("W4A16", "W8A8")))
    for path, width in (("layers.0.mlp.experts.gate_up_proj", 64), ("layers.0.mlp.experts.down_proj", 96)):
        refused = found[path]["W4A16"]
        assert refused.refused == f"{width} is no multiple of its groups of 128"
        assert refused.entries == found[path]["W8A8"].entries
        assert all(
            math.isnan(number) for number in (refused.sqnr_db, refused.lowest_db, refused.rel_rmse, refused.clip_rate)
        )
        assert not found[path]["W8A8"].refused
