"""What schemes make of stored weights is what compressed-tensors makes of the matrices in the files."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.weights import stored as stored
from pytest_maxact.checkpoint.weights.distortion import _PIECE, weight_distortions
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.distortions import EVERY, WIDE, assert_equal, edited, errors_of, expected, flat, saved


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
                    most_flushed=0.0,
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
    model = skeleton(locate(Settings(model=str(folder)))).body
    alone = Scheme(name="A8", activations=SCHEMES["W8A8"].activations)
    found = weight_distortions(
        weight_files(folder), model, resolve(model, model.config, True).linears, [alone, SCHEMES["FP8"]]
    )
    assert {tuple(by_scheme) for by_scheme in flat(found).values()} == {("FP8",)}
