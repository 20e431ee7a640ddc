"""Weights that were scaled for their inputs, as AWQ and SmoothQuant scale them, are near their source once it is scaled
alike; what is scaled on one side alone is named.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pytest_maxact.numbers.against import Weights
from tests.support.against import failing, holding, weights_of
from tests.support.exports import awq, compressed, gptq
from tests.support.exports.source import Tensors, source
from tests.support.trained import change_weights

AT = "model.layers.1"
READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
NORM, UP, DOWN = (f"{AT}.{name}.weight" for name in ("post_attention_layernorm", "mlp.up_proj", "mlp.down_proj"))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With as many heads of keys as of queries, and norms that are not one."""
    folder = source(tmp_path_factory.mktemp("origin") / "qwen3", num_key_value_heads=4)

    def spread(tensors: Tensors) -> None:
        for name in tensors:
            if name.endswith("layernorm.weight"):
                tensors[name] = (0.5 + torch.rand(256, generator=torch.Generator().manual_seed(1))).bfloat16()

    change_weights(folder, spread)
    return folder


def scales(width: int, seed: int) -> torch.Tensor:
    """From a third to three."""
    return torch.exp(2.2 * (torch.rand(width, generator=torch.Generator().manual_seed(seed)) - 0.5))


def smooth(tensors: Tensors) -> None:
    """As AWQ does it: projections for the norm before them, o for v, down for up."""

    def scale(name: str, by: torch.Tensor) -> None:
        tensors[name] = (tensors[name].float() * by).bfloat16()

    for seed, (norm, readers) in enumerate(READERS.items()):
        given = scales(256, seed)
        scale(f"{AT}.{norm}.weight", 1 / given)
        for reader in readers:
            scale(f"{AT}.{reader}.weight", given)
    for seed, (front, after) in enumerate((("self_attn.v_proj", "self_attn.o_proj"), ("mlp.up_proj", "mlp.down_proj"))):
        given = scales(tensors[f"{AT}.{after}.weight"].shape[1], 7 + seed)
        scale(f"{AT}.{front}.weight", 1 / given[:, None])
        scale(f"{AT}.{after}.weight", given)


def made(folder: Path, origin: Path, export: Callable[..., Path], *changes: Callable[[Tensors], None]) -> Weights:
    other = shutil.copytree(origin, folder / "other")
    for change in changes:
        change_weights(other, change)
    return weights_of(export(folder / "artifact", origin=other), origin)


@pytest.mark.parametrize(
    "export", [awq.export, gptq.export, lambda folder, origin: compressed.export(folder, "W8A8", origin)],
    ids=["awq", "gptq", "W8A8"],
)  # fmt: skip
def test_a_layer_whose_scales_are_undone_is_sound(export: Callable[..., Path], origin: Path, tmp_path: Path) -> None:
    found = made(tmp_path, origin, export, smooth)
    assert not failing(holding(found, form="awq int4"))
    assert found.smoothed == 7
    assert not found.changed


def put(name: str, of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: of(tensors[name].float()).bfloat16()})


@pytest.mark.parametrize(
    ("name", "of"),
    [
        (NORM, lambda norm: norm * scales(256, 3)),
        (NORM, lambda norm: norm * 2),
        (UP, lambda up: up * scales(256, 3)),
        (f"{AT}.self_attn.k_proj.weight", lambda k: k * scales(256, 3)),
        (DOWN, lambda down: down * scales(384, 3)),
        (DOWN, lambda down: down.flip(1)),
        (f"{AT}.self_attn.v_proj.weight", lambda v: v * scales(128, 3)[:, None]),
    ],
    ids=["norm", "norm doubled", "up", "k", "down", "down turned", "rows of v"],
)
@pytest.mark.parametrize("before", [(), (smooth,)], ids=["plain", "smoothed"])
def test_what_is_scaled_on_one_side_alone_is_named(
    before: tuple[Callable[[Tensors], None], ...], name: str, of: Callable[[torch.Tensor], torch.Tensor], origin: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    found = made(tmp_path, origin, awq.export, *before, put(name, of))
    names = {check.partition("::")[0].removeprefix("weights.") for check in failing(holding(found, form="awq int4"))}
    assert name in names
