"""Static scales find the site of what they quantize, whatever their module is called: experts that the model stacks,
parts of a site that are several tensors, latent attention, one scale of keys and values; towers and heads find none.
"""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.static import StaticScale
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.static import are_held, held_scales
from tests.support import records

VALUES = np.random.default_rng(0).normal(size=(16, 32))
VALUES[0, 0] = 8.0


def scale(
    module: str, reach: float = 8.0, part: str = "input", expert: int | None = None, layer: int = 0
) -> StaticScale:
    name = f"{module}.input_scale" if part == "input" else f"{module}.{part}_scale"
    return StaticScale(
        tensor=name, module=module, part=part, number="fp8_e4m3", stated=reach / 448, reach=reach, layer=layer,
        expert=expert,
    )  # fmt: skip


def at(name: str, **shared: str) -> dict[str, SiteReading]:
    """A site whose linear layers have these paths, dots spelled as two underscores, of these parts."""
    paths = {path.replace("__", "."): part for path, part in shared.items()}
    return {name: replace(records.reading(VALUES, VALUES, name), shared=paths)}


@pytest.mark.parametrize("prefix", ["", "model.", "model.language_model.", "language_model.model."])
def test_a_module_is_found_by_its_path_in_the_decoder(prefix: str) -> None:
    sites = at("layers.0.down_in", layers__0__mlp__down_proj="down")
    (held,) = held_scales([scale(f"{prefix}layers.0.mlp.down_proj")], sites)
    assert (held.site, held.most, held.overflow, held.spare, held.scales) == ("layers.0.down_in", 8.0, 1.0, 1.0, 1)
    assert held.exact


@pytest.mark.parametrize("module", ["lm_head", "model.layers.7.mlp.down_proj", "model.layers.0.self_attn.o_proj"])
def test_what_is_not_read_is_not_held(module: str) -> None:
    assert held_scales([scale(module)], at("layers.0.down_in", layers__0__mlp__down_proj="down")) == ()


@pytest.mark.parametrize("last", ["down_proj", "w2"])
def test_of_experts_that_are_stacked_the_one_that_reaches_farthest_is_held(last: str) -> None:
    sites = at("layers.0.down_in", layers__0__mlp__experts__down_proj="experts")
    sites |= at("layers.0.mlp_in", layers__0__mlp__experts__gate_up_proj="experts")
    scales = [
        scale(f"model.layers.0.block_sparse_moe.experts.{n}.{last}", reach=2.0 * (n + 1), expert=n) for n in range(4)
    ]
    (held,) = held_scales(scales, sites)
    assert (held.site, held.reach, held.scales, held.exact) == ("layers.0.down_in", 8.0, 4, False)


def test_of_several_tensors_of_a_site_each_is_held_to_its_own_largest_entry() -> None:
    site = "layers.0.down_in"
    sites = at(site, layers__0__mlp__experts__down_proj="experts", layers__0__mlp__shared__down_proj="shared")
    held_here = Channels({"experts": np.float32([1.0, 8.0]), "shared": np.float32([0.5, 0.25])})
    sites = {site: records.holding(sites[site], channels=held_here)}
    scales = [scale("layers.0.mlp.experts.0.down_proj", expert=0), scale("layers.0.mlp.shared.down_proj", reach=0.05)]
    wide, narrow = sorted(held_scales(scales, sites), key=lambda held: -held.reach)
    assert (wide.overflow, wide.is_told) == (1.0, True)
    assert narrow.overflow == pytest.approx(10)
    assert isnan(narrow.sqnr_db)


def test_one_scale_of_keys_and_values_is_held_to_the_larger_and_latent_attention_to_what_it_keeps() -> None:
    small = replace(records.reading(VALUES / 4, VALUES / 4, "layers.0.v"))
    both = at("layers.0.k") | {"layers.0.v": small}
    (held,) = held_scales([scale("model.layers.0.self_attn", part="kv")], both)
    assert held.site == "layers.0.k"
    latent = at("layers.0.kv_latent") | both
    (found,) = held_scales([scale("model.layers.0.self_attn", part=part) for part in ("k", "v")], latent)
    assert (found.site, found.tensor) == ("layers.0.kv_latent", "model.layers.0.self_attn.k_scale")


def test_of_projections_that_are_fused_the_largest_number_is_held_alone() -> None:
    own = {f"layers__0__self_attn__{name}_proj": "x" for name in "qkv"}
    sites = at("layers.0.qkv_in", **own)
    scales = [
        scale(f"model.layers.0.self_attn.{name}_proj", reach) for name, reach in zip("qkv", (1, 8, 2), strict=True)
    ]
    (held,) = held_scales(scales, sites)
    assert (held.tensor, held.overflow, held.scales) == ("model.layers.0.self_attn.k_proj.input_scale", 1.0, 3)
    assert held.exact
    dividing = [replace(one, upside=True, stated=448 * 6 / one.reach) for one in scales]
    (least,) = held_scales(dividing, sites)
    assert (least.tensor, least.overflow) == ("model.layers.0.self_attn.q_proj.input_scale", 8.0)
    assert len(held_scales([*scales[:2], replace(scales[2], number="int8")], sites)) == 2


@pytest.mark.parametrize(("reaches", "overflow"), [((8.0, 8.0), 1.0), ((8.0, 0.5), 4.0), ((8.0, 0.0), float("inf"))])
def test_of_scales_a_head_each_is_held_to_what_its_own_head_has(reaches: tuple[float, ...], overflow: float) -> None:
    values = VALUES.copy()
    values[:, 16:] = 2.0
    reading = replace(records.reading(values, values, "layers.0.k"), heads=2)
    sites = {"layers.0.k": records.holding(reading, channels=Channels({"k": np.abs(values).max(0).astype(np.float32)}))}
    (held,) = held_scales([replace(scale("model.layers.0.self_attn", part="k"), by_head=reaches)], sites)
    assert held.overflow == overflow


def test_scales_are_held_where_their_sites_are_read_and_called_for() -> None:
    inputs, cache = [records.site("layers.0.down_in")], [records.site("layers.0.k")]
    assert are_held(("input",), inputs)
    assert are_held(("cache",), cache)
    assert not are_held(("cache",), inputs)
    assert not are_held(("input",), cache)
    assert not are_held((), [*inputs, *cache])
