"""The error of every weight, from the files alone, against compressed-tensors on the raw matrices, closed forms, and
what must not pass.
"""

import json
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights import stored as stored
from pytest_maxact.checkpoint.weights.distortion import _PIECE, weight_distortions
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.deployed import by_compressed_tensors
from tests.support.zoo import composite, configs

Errors = dict[str, dict[str, dict[str, WeightDistortion]]]
WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_hidden_layers": 1}
EVERY = tuple(SCHEMES)


def errors_of(folder: Path, names: Sequence[str] = ("W8A8",), model: nn.Module | None = None) -> Errors:
    """What the files in a folder give, for a model that holds no weights."""
    model = skeleton(locate(Settings(model=str(folder)))) if model is None else model
    return weight_distortions(
        folder, model, resolve(model, model.config, True).linears, [SCHEMES[name] for name in names]
    )


def flat(errors: Errors) -> dict[str, dict[str, WeightDistortion]]:
    """By weight alone."""
    return {path: by_scheme for site in errors.values() for path, by_scheme in site.items()}


def saved(folder: Path, model: nn.Module, dtype: torch.dtype = torch.float32) -> Path:
    model.to(dtype).save_pretrained(folder)
    return folder


def edited(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A checkpoint of one file, its tensors changed."""
    file = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def expected(matrices: Sequence[torch.Tensor], name: str, rows: slice = slice(None)) -> dict[str, float]:
    """The figures of matrices [out, in] as compressed-tensors quantizes each; of `rows` of theirs where a file holds
    more than one weight in one.
    """
    totals: list[tuple[float, ...]] = []
    for whole in matrices:
        if SCHEMES[name].cast:
            restored = levels = whole.to(getattr(torch, SCHEMES[name].cast)).to(torch.float64)
            clipped = restored.isinf()
        else:
            deployed = by_compressed_tensors(whole, "W8A8" if name == "W8A8_STATIC" else name, "weights")
            restored, levels, clipped = deployed.restored, deployed.levels, deployed.clipped
        x, restored, levels, clipped = whole.double()[rows], restored.double()[rows], levels[rows], clipped[rows]
        flushed = (x != 0) & (levels == 0)
        counts = (x.numel(), (x != 0).sum().item(), clipped.sum().item(), flushed.sum().item())
        totals.append((*counts, (x * x).sum().item(), ((x - restored) ** 2).sum().item()))
    entries, nonzero, clipped_all, flushed_all, signal, error = (sum(column) for column in zip(*totals, strict=True))
    return {
        "entries": entries,
        "sqnr_db": db(signal, error),
        "lowest_db": min(db(s, e) for *_, s, e in totals),
        "rel_rmse": math.sqrt(error / signal),
        "clip_rate": clipped_all / entries,
        "flush_to_zero": flushed_all / nonzero,
    }


def db(signal: float, error: float) -> float:
    return 10.0 * math.log10(signal / error) if error else math.inf


def figures(error: WeightDistortion) -> dict[str, float]:
    assert not error.refused
    names = ("entries", "sqnr_db", "lowest_db", "rel_rmse", "clip_rate", "flush_to_zero")
    return {name: getattr(error, name) for name in names}


def assert_equal(error: WeightDistortion, wanted: dict[str, float]) -> None:
    assert figures(error) == pytest.approx(wanted, rel=2e-6, abs=1e-12)


# -- against compressed-tensors on the raw matrices
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_weight_under_every_scheme_is_that_of_compressed_tensors_on_the_matrix_in_the_file(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = saved(tmp_path, tiny.random_model("qwen3", **WIDE), dtype)
    raw = load_file(folder / "model.safetensors")
    found = errors_of(folder, EVERY)
    assert {site: sorted(errors) for site, errors in found.items()} == {
        "layers.0.qkv_in": [f"layers.0.self_attn.{name}_proj.weight" for name in "kqv"],
        "layers.0.o_in": ["layers.0.self_attn.o_proj.weight"],
        "layers.0.mlp_in": ["layers.0.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight"],
        "layers.0.down_in": ["layers.0.mlp.down_proj.weight"],
    }
    for path, by_scheme in flat(found).items():
        assert tuple(by_scheme) == EVERY
        for name, error in by_scheme.items():
            if SCHEMES[name].cast and raw[path].to(getattr(torch, SCHEMES[name].cast)).equal(raw[path]):
                assert error == WeightDistortion(
                    entries=raw[path].numel(),
                    sqnr_db=math.inf,
                    lowest_db=math.inf,
                    rel_rmse=0.0,
                    clip_rate=0.0,
                    flush_to_zero=0.0,
                )
            else:
                assert_equal(error, expected([raw[path]], name))


def test_a_matrix_larger_than_what_is_quantized_at_a_time_has_the_scales_of_the_whole(tmp_path: Path) -> None:
    folder = saved(
        tmp_path, tiny.random_model("qwen3", **(WIDE | {"hidden_size": 512, "intermediate_size": 1664})), torch.bfloat16
    )

    def spread(tensors: dict[str, torch.Tensor]) -> None:
        tensors["layers.0.mlp.up_proj.weight"] *= torch.logspace(-3, 1, 1664)[:, None]

    raw = load_file(edited(folder, spread) / "model.safetensors")["layers.0.mlp.up_proj.weight"]
    assert raw.numel() > _PIECE
    for name, error in flat(errors_of(folder, ("W8A8", "FP8", "FP8_BLOCK", "NVFP4", "FP16")))[
        "layers.0.mlp.up_proj.weight"
    ].items():
        assert_equal(error, expected([raw], name))


def test_a_model_that_is_loaded_serves_as_well_as_its_skeleton(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("mixtral"))
    loaded = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    assert errors_of(folder, model=loaded) == errors_of(folder)


def test_a_scheme_that_leaves_weights_alone_has_no_entry(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("qwen3", **WIDE))
    model = skeleton(locate(Settings(model=str(folder))))
    alone = Scheme(name="A8", activations=SCHEMES["W8A8"].activations)
    found = weight_distortions(folder, model, resolve(model, model.config, True).linears, [alone, SCHEMES["FP8"]])
    assert {tuple(by_scheme) for by_scheme in flat(found).values()} == {("FP8",)}


# -- how matrices lie, and how they are stored
# --------------------------------------------------------------------------------------------


def test_conv1d_keeps_its_weight_transposed(tmp_path: Path) -> None:
    folder = saved(tmp_path, configs.build("gpt2"))
    raw = load_file(folder / "model.safetensors")
    found = flat(errors_of(folder, ("W8A8", "FP8", "MXFP8")))
    assert len(found) == 16
    for path, by_scheme in found.items():
        for name in ("W8A8", "FP8"):
            assert_equal(by_scheme[name], expected([raw[f"transformer.{path}"].T.contiguous()], name))
    assert not found["h.0.mlp.c_fc.weight"]["MXFP8"].refused
    assert found["h.0.mlp.c_proj.weight"]["MXFP8"].refused == "44 is no multiple of its groups of 32"


PER_EXPERT = {
    "qwen3_moe": ("layers.1.mlp.experts.{}.{}.weight", ("gate_proj", "up_proj"), "down_proj"),
    "mixtral": ("layers.1.block_sparse_moe.experts.{}.{}.weight", ("w1", "w3"), "w2"),
}


@pytest.mark.parametrize("model_type", PER_EXPERT)
def test_matrices_of_single_experts_are_joined_in_the_stacked_weight_they_make_up(
    model_type: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, tiny.random_model(model_type))
    raw = load_file(folder / "model.safetensors")
    pattern, into, back = PER_EXPERT[model_type]
    found = flat(errors_of(folder, ("W8A8", "FP8", "NVFP4", "MXFP4")))
    for name in ("W8A8", "FP8", "NVFP4", "MXFP4"):
        parts = [raw[pattern.format(number, part)] for part in into for number in range(8)]
        assert_equal(found["layers.1.mlp.experts.gate_up_proj"][name], expected(parts, name))
        parts = [raw[pattern.format(number, back)] for number in range(8)]
        assert_equal(found["layers.1.mlp.experts.down_proj"][name], expected(parts, name))


def test_gate_and_up_stacked_as_one_in_the_file_share_a_scale_per_expert(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3_moe")
    folder = saved(tmp_path, model)
    with torch.no_grad():
        for layer in model.layers:
            layer.mlp.experts.gate_up_proj[:, :32] *= 2.0**18
    stacked = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    save_file(stacked, folder / "model.safetensors", metadata={"format": "pt"})
    found = flat(errors_of(folder, ("FP8",)))["layers.1.mlp.experts.gate_up_proj"]["FP8"]
    whole = stacked["layers.1.mlp.experts.gate_up_proj"]
    assert_equal(found, expected(list(whole), "FP8"))
    assert found.flush_to_zero > 0.3


@pytest.mark.parametrize("model_type", ["gpt_oss", "llama4_text", "aria_text", "longcat_flash", "jetmoe"])
def test_rows_of_stacked_experts_are_what_the_forward_pass_sums_over_inputs(model_type: str, tmp_path: Path) -> None:
    """An entry of the input that is zero hides the weights it is multiplied with, and these lie along a row [out,
    in].
    """
    model = configs.headless(configs.build(model_type))
    folder = saved(tmp_path, model)
    found = flat(errors_of(folder, ("W8A8",)))
    for path, by_scheme in found.items():
        parameter = model.get_parameter(path)
        if parameter.ndim == 3:
            axis = input_axis(model_type, model, path)
            matrices = [matrix if axis == 1 else matrix.T.contiguous() for matrix in parameter.detach()]
            wanted = expected(matrices, "W8A8")
            wanted["lowest_db"] = by_scheme["W8A8"].lowest_db  # some files hold gate and up apart
            assert_equal(by_scheme["W8A8"], wanted)


def input_axis(model_type: str, model: Any, path: str) -> int:
    """Along which side of its matrices a stacked weight is multiplied with inputs: that of which an entry does nothing
    where the input is zero; or the other one than that of which an entry moves a single output.
    """
    experts, parameter = model.get_submodule(path.rpartition(".")[0]), model.get_parameter(path)
    torch.manual_seed(0)
    into = "gate_up" in path or "input_linear" in path
    count, width = (
        parameter.shape[0],
        (model.config.hidden_size if into or model_type != "jetmoe" else parameter.shape[2]),
    )
    states = torch.randn(count, width)
    states[:, 3] = 0.0

    def run() -> Any:
        if model_type == "llama4_text":
            return experts(states)
        if model_type == "jetmoe":
            return experts(states, [1] * count)
        real = getattr(experts, "num_routed_experts", count)
        chosen = torch.arange(real)
        return experts(states[:real], torch.stack([chosen, (chosen + 1) % real], dim=1), torch.ones(real, 2))

    before, found = run(), []
    for axis in (0, 1):
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.select(axis + 1, 3).add_(1.0)
            moved = (run() - before).abs().amax(dim=0) > 0
            parameter.copy_(kept)
        if into and not moved.any():
            found.append(axis)
        if not into and moved.sum() == 1:
            found.append(1 - axis)
    assert len(found) == 1
    return found[0]


def test_a_fused_projection_in_the_file_is_quantized_as_one_and_told_apart_by_its_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path, configs.build("hrm_text"))

    def uneven(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.L_module.layers.0.attn.gqkv_proj.weight"][:32] *= 2.0**18

    raw = load_file(edited(folder, uneven) / "model.safetensors")["model.L_module.layers.0.attn.gqkv_proj.weight"]
    found = flat(errors_of(folder, ("W8A8", "FP8")))
    for index, part in enumerate(("gate", "q", "k", "v")):
        rows = slice(32 * index, 32 * index + 32)
        for name in ("W8A8", "FP8"):
            assert_equal(found[f"L_module.layers.0.self_attn.{part}_proj.weight"][name], expected([raw], name, rows))
    assert found["L_module.layers.0.self_attn.q_proj.weight"]["FP8"].flush_to_zero > 0.3


def test_a_list_of_experts_that_two_weights_share_is_dealt_out_as_loading_deals_it(tmp_path: Path) -> None:
    folder = saved(tmp_path, composite.headless("ernie4_5_vl_moe"))
    raw = load_file(folder / "model.safetensors")
    count = sum(name.startswith("layers.1.mlp.experts.") and name.endswith("down_proj.weight") for name in raw) // 2
    found = flat(errors_of(folder, ("FP8",)))
    path = "language_model.layers.1.mlp.text_moe.experts"
    for weight, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
        matrices = [raw[f"layers.1.mlp.experts.{number}.{part}.weight"] for part in parts for number in range(count)]
        assert_equal(found[f"{path}.{weight}"]["FP8"], expected(matrices, "FP8"))


def test_a_file_that_holds_experts_transposed_is_quantized_as_the_model_has_them(tmp_path: Path) -> None:
    folder = saved(tmp_path, composite.headless("qwen3_vl_moe"))
    loaded = AutoModel.from_pretrained(folder)
    path = "language_model.layers.1.mlp.experts.gate_up_proj"
    name = next(
        name for name in load_file(folder / "model.safetensors") if "layers.1." in name and "gate_up_proj" in name
    )

    def transposed(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = loaded.get_parameter(path).detach().transpose(1, 2).contiguous()

    found = flat(errors_of(edited(folder, transposed)))
    assert_equal(found[path]["W8A8"], expected(list(loaded.get_parameter(path).detach()), "W8A8"))


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

        class Opened:
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

        return Opened()


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


def test_a_shard_that_is_missing_cut_short_or_of_another_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    tiny.random_model("qwen3").save_pretrained(tmp_path, max_shard_size="100KB")
    skeleton_of = skeleton(locate(Settings(model=str(tmp_path))))
    first, *_, last = sorted(tmp_path.glob("*.safetensors"))
    whole = last.read_bytes()

    def text() -> str:
        with pytest.raises(MeasureError) as caught:
            errors_of(tmp_path, model=skeleton_of)
        return str(caught.value)

    last.write_bytes(whole[: len(whole) // 2])
    assert text().startswith(f"{last} cannot be read: ")
    last.unlink()
    assert text().startswith(f"{last} cannot be read: ")
    save_file({"other": torch.zeros(2)}, last)
    assert text().startswith(
        f"none of the {len(list(tmp_path.glob('*.safetensors')))} weight files, from {first}, holds layers.2."
    )


def test_a_folder_without_weight_files_or_with_a_broken_index_is_an_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("qwen3"))
    model = skeleton(locate(Settings(model=str(folder))))
    (folder / "model.safetensors").unlink()
    for content in (None, "{", "[]", json.dumps({"weight_map": ["model.safetensors"]})):
        if content is not None:
            (folder / "model.safetensors.index.json").write_text(content)
        with pytest.raises(
            MeasureError, match=r"neither model\.safetensors nor an index of weight files that can be read"
        ):
            errors_of(folder, model=model)


def test_matrices_that_do_not_tell_inputs_from_outputs_are_an_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny.random_model("mixtral", intermediate_size=32))
    model = skeleton(locate(Settings(model=str(folder))))
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


# -- closed forms
# ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("plain"), tiny.random_model("qwen3", **WIDE))


def of_matrix(folder: Path, matrix: torch.Tensor, names: Sequence[str]) -> Mapping[str, WeightDistortion]:
    """The figures of a checkpoint's gate projection [256, 128], when it is this matrix."""

    def put(tensors: dict[str, torch.Tensor]) -> None:
        tensors["layers.0.mlp.gate_proj.weight"] = matrix

    return flat(errors_of(edited(folder, put), names))["layers.0.mlp.gate_proj.weight"]


def test_a_constant_matrix_loses_half_a_level_of_255_to_int8_and_nothing_to_powers_of_two(plain: Path) -> None:
    found = of_matrix(plain, torch.full((256, 128), 3.0), ("W8A8",))["W8A8"]
    assert found.sqnr_db == pytest.approx(20 * math.log10(255), abs=1e-4)
    assert found.rel_rmse == pytest.approx(1 / 255, rel=1e-5)
    assert (found.clip_rate, found.flush_to_zero) == (1.0, 0.0)
    exact = of_matrix(plain, torch.full((256, 128), 4.0), ("MXFP8", "MXFP4", "FP16"))
    assert [error.sqnr_db for error in exact.values()] == [math.inf] * 3


def test_one_outlier_row_flushes_the_others_where_they_share_its_scale(plain: Path) -> None:
    matrix = torch.full((256, 128), 2.0**-12)
    matrix[77] = 448.0
    found = of_matrix(plain, matrix, ("FP8", "FP8_DYNAMIC"))
    flushed, kept = found["FP8"], found["FP8_DYNAMIC"]
    assert flushed.flush_to_zero == 255 / 256
    assert flushed.sqnr_db == pytest.approx(10 * math.log10((448.0**2 + 255 * 2.0**-24) / (255 * 2.0**-24)), abs=1e-4)
    assert kept.flush_to_zero == 0.0
    assert kept.sqnr_db > 120


def test_a_matrix_of_zeros_loses_nothing(plain: Path) -> None:
    for name, error in of_matrix(plain, torch.zeros(256, 128), EVERY).items():
        assert error == WeightDistortion(
            entries=256 * 128, sqnr_db=math.inf, lowest_db=math.inf, rel_rmse=0.0, clip_rate=0.0, flush_to_zero=0.0
        ), name


def test_values_of_the_format_up_to_its_maximum_are_kept_exactly(plain: Path) -> None:
    levels = torch.tensor([448.0, -448.0, 256.0, -0.5, 2.0**-9, 0.0, 1.75, -208.0])
    found = of_matrix(plain, levels.repeat(256, 16), ("FP8", "FP8_DYNAMIC"))
    assert [(error.sqnr_db, error.clip_rate) for error in found.values()] == [(math.inf, 0.0)] * 2
    integers = torch.arange(-127.0, 129.0).roll(1).repeat(256)[: 256 * 128].view(256, 128).clamp(max=127)
    integers[:, 0] = -127.5
    error = of_matrix(plain, integers, ("W8A8",))["W8A8"]
    assert error.clip_rate == 0.0
    assert error.sqnr_db == pytest.approx(
        10 * math.log10(float((integers.double() ** 2).sum()) / (256 * 0.25)), abs=1e-4
    )


def test_a_cast_that_overflows_has_no_sqnr_and_counts_what_became_infinite(plain: Path) -> None:
    matrix = torch.ones(256, 128)
    matrix[:, 0] = 1e6
    found = of_matrix(plain, matrix, ("FP16", "BF16"))
    assert (found["FP16"].sqnr_db, found["FP16"].lowest_db, found["FP16"].clip_rate) == (-math.inf, -math.inf, 1 / 128)
    assert found["FP16"].rel_rmse == math.inf
    assert found["BF16"].clip_rate == 0.0


@pytest.mark.parametrize("power", [-100, 100])
def test_magnitudes_whose_squares_leave_the_range_have_the_figures_of_any_other(power: int, plain: Path) -> None:
    matrix = torch.randn((256, 128), generator=torch.Generator().manual_seed(3))
    usual = of_matrix(plain, matrix, ("W8A8", "FP8"))
    for name, error in of_matrix(plain, matrix * 2.0**power, ("W8A8", "FP8")).items():
        assert_equal(error, figures(usual[name]))


def test_weights_in_double_precision_are_quantized_as_single_ones(plain: Path) -> None:
    matrix = torch.randn((256, 128), generator=torch.Generator().manual_seed(3))
    assert of_matrix(plain, matrix.double(), ("W8A8", "NVFP4")) == of_matrix(plain, matrix, ("W8A8", "NVFP4"))
