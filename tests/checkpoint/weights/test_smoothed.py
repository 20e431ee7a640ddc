"""Weights that were scaled for their inputs, as AWQ and SmoothQuant scale them, are near their source once it is scaled
alike; what is scaled on one side alone is named.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.weights.smoothed import Pair, Reading, added_to_weight, smoothed
from pytest_maxact.numbers.against import Weights
from pytest_maxact.numbers.schemes import Quantizer
from tests.support.against import failing, holding, weights_of
from tests.support.exports import awq, compressed, gptq
from tests.support.exports.source import Tensors, source
from tests.support.trained import change_weights
from tests.support.zoo.configs import build

AT = "model.layers.1"
READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
GEMMA_NORMS = ("input_layernorm", "pre_feedforward_layernorm")
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


@pytest.mark.parametrize(
    ("model_type", "added"),
    [("llama", 0.0), ("qwen3", 0.0), ("gemma", 1.0), ("gemma2", 1.0), ("gemma3_text", 1.0), ("phi", 0.0)],
)
def test_what_a_norm_adds_to_its_weight_is_found_out(model_type: str, added: float) -> None:
    model = build(model_type).to("meta")
    assert added_to_weight(model, "model.layers.0.input_layernorm.weight") == added
    assert added_to_weight(model, "model.layers.0.nothing.weight") is None


@pytest.mark.parametrize("sound", [True, False])
def test_norms_that_add_one_to_their_weight_undo_scales_as_the_model_multiplies(sound: bool, tmp_path: Path) -> None:
    """Divided as such, and as the weight alone, which undoes nothing."""
    origin = source(tmp_path / "origin", "gemma2")

    def smoothed_as_gemma(tensors: Tensors) -> None:
        added = 1.0 if sound else 0.0
        for seed, (norm, readers) in enumerate(zip(GEMMA_NORMS, READERS.values(), strict=True)):
            given, name = scales(256, seed), f"{AT}.{norm}.weight"
            tensors[name] = ((tensors[name].float() + added) / given - added).bfloat16()
            for reader in readers:
                key = f"{AT}.{reader}.weight"
                tensors[key] = (tensors[key].float() * given).bfloat16()

    def spread(tensors: Tensors) -> None:
        for norm in GEMMA_NORMS:
            draw = torch.Generator().manual_seed(5)
            tensors[f"{AT}.{norm}.weight"] = (0.3 + torch.rand(256, generator=draw)).bfloat16()

    change_weights(origin, spread)
    other = shutil.copytree(origin, tmp_path / "other")
    change_weights(other, smoothed_as_gemma)
    found = weights_of(compressed.export(tmp_path / "artifact", "W8A8", other), origin)
    assert bool(failing(holding(found, form="compressed-tensors int8"))) != sound
    assert found.smoothed == (5 if sound else 0)


class _Odd(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8, device="meta"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.square()


def test_a_norm_that_does_something_else_with_its_weight_undoes_nothing() -> None:
    model = torch.nn.ModuleDict({"norm": _Odd()})
    assert added_to_weight(model, "norm.weight") is None


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


def told(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits: torch.Tensor = model(torch.arange(2, 22)[None]).logits
    return logits


@pytest.mark.parametrize("rows", [slice(32, 64), slice(40, 41)], ids=["a head", "a row"])
@pytest.mark.parametrize("projection", ["q_proj", "k_proj"])
def test_behind_a_norm_of_queries_and_keys_a_row_that_was_scaled_tells_and_a_whole_head_does_not(
    projection: str, rows: slice, origin: Path, tmp_path: Path
) -> None:
    """Either is named, for the weights are not the source's; a head's scale the norm takes out again."""
    name = f"{AT}.self_attn.{projection}.weight"

    def scale(matrix: torch.Tensor) -> torch.Tensor:
        matrix[rows] *= 4
        return matrix

    found = made(tmp_path, origin, awq.export, put(name, scale))
    named = {check.partition("::")[0].removeprefix("weights.") for check in failing(holding(found, form="awq int4"))}
    assert named == {"weights", name}
    assert torch.allclose(told(tmp_path / "other"), told(origin), atol=1e-3) == (rows == slice(32, 64))


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("experts") / "qwen3_moe", "qwen3_moe")


NORM_OF_EXPERTS, ROUTER = f"{AT}.post_attention_layernorm.weight", f"{AT}.mlp.gate.weight"
EXPERT = f"{AT}.mlp.experts.2"


def smooth_experts(tensors: Tensors) -> None:
    """Experts and router for the norm before them, and in each expert down for up."""
    read = ("gate_proj.weight", "up_proj.weight", "mlp.gate.weight")
    given = scales(256, 4)
    inside = [name for name in tensors if name.startswith(f"{AT}.mlp.")]
    for name in (name for name in inside if name.endswith(read)):
        tensors[name] = (tensors[name].float() * given).bfloat16()
    tensors[NORM_OF_EXPERTS] = (tensors[NORM_OF_EXPERTS].float() / given).bfloat16()
    for seed, down in enumerate(name for name in inside if name.endswith("down_proj.weight")):
        up, by = down.replace("down_proj", "up_proj"), scales(tensors[down].shape[1], 20 + seed)
        tensors[up] = (tensors[up].float() / by[:, None]).bfloat16()
        tensors[down] = (tensors[down].float() * by).bfloat16()


@pytest.mark.parametrize("export", [awq.export, gptq.export], ids=["awq", "gptq"])
def test_experts_whose_scales_are_undone_are_sound(export: Callable[..., Path], experts: Path, tmp_path: Path) -> None:
    found = made(tmp_path, experts, export, smooth_experts)
    assert not failing(holding(found, form="awq int4"))
    assert found.smoothed == 3 * 8


@pytest.mark.parametrize(
    ("name", "of"),
    [
        (ROUTER, lambda router: router / scales(256, 4)),
        (ROUTER, lambda router: router.flip(0)),
        (NORM_OF_EXPERTS, lambda norm: norm * 2),
        (NORM_OF_EXPERTS, lambda norm: norm * scales(256, 4)),
        (f"{EXPERT}.up_proj.weight", lambda up: up * scales(256, 6)),
        (f"{EXPERT}.up_proj.weight", lambda up: up * scales(128, 6)[:, None]),
        (f"{EXPERT}.down_proj.weight", lambda down: down * scales(128, 6)),
        (f"{EXPERT}.down_proj.weight", lambda down: down.flip(1)),
        (f"{EXPERT}.gate_proj.weight", lambda gate: gate * scales(128, 6)[:, None]),
    ],
    ids=[
        "router left as it was", "router turned", "norm doubled", "norm left as it was", "columns of up", "rows of up",
        "down", "down turned", "rows of gate",
    ],
)  # fmt: skip
def test_what_of_experts_is_scaled_on_one_side_alone_is_named(
    name: str, of: Callable[[torch.Tensor], torch.Tensor], experts: Path, tmp_path: Path
) -> None:
    found = made(tmp_path, experts, awq.export, smooth_experts, put(name, of))
    names = {check.partition("::")[0].removeprefix("weights.") for check in failing(holding(found, form="awq int4"))}
    assert name in names


WIDTH = 64
GIVEN = scales(WIDTH, 5)
INT8 = Quantizer(number="int8", granularity="row")


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(name: str, by: torch.Tensor, noise: float = 0.0) -> Pair:
    """A weight and itself scaled and rounded; `noise`: what a calibrated quantizer errs beyond."""
    exact = drawn(len(name), WIDTH, WIDTH)
    scaled = quantize(exact * by, INT8, None).restored.float()
    return Pair(read=lambda: (scaled + noise * drawn(9, WIDTH, WIDTH), exact), how=INT8)


def vector(by: torch.Tensor, seed: int = 3) -> Reading:
    exact = 1 + drawn(seed, WIDTH).abs()
    return lambda: (exact * by, exact)


def explained(norms: dict[str, Reading], pairs: dict[str, Pair], **others: Reading) -> tuple[set[str], set[str]]:
    """What scales explain of a layer: weights, and norms and biases."""
    names = {f"{name.removeprefix(AT)[1:]}": (WIDTH,) * (1 if "norm" in name else 2) for name in (*norms, *pairs)}
    biases = {f"{AT}.{name}": reading for name, reading in others.items()}
    found = smoothed(AT, pairs, norms=norms, biases=biases, names=names)
    return set(found.weights), set(found.norms)


@pytest.mark.parametrize(
    ("layer", "blocks", "undone"),
    [
        (("input_layernorm", "post_attention_layernorm"), ("self_attn", "mlp"), 2),
        (
            ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
            ("self_attn", "mlp"),
            2,
        ),
        (("post_attention_layernorm", "post_feedforward_layernorm"), ("self_attn", "mlp"), 0),
        (("input_layernorm",), ("self_attn", "mlp"), 0),
        (("input_layernorm", "pre_ff_layernorm"), ("self_attn", "mlp", "mamba"), 0),
    ],
    ids=["llama", "gemma", "olmo2", "cohere", "falcon_h1"],
)
def test_a_norm_undoes_the_scales_of_all_that_reads_it_and_of_nothing_else(
    layer: tuple[str, ...], blocks: tuple[str, ...], undone: int
) -> None:
    norms = {f"{AT}.{name}.weight": vector(1 / GIVEN) for name in layer}
    readers = {"self_attn": ("q_proj", "k_proj", "v_proj"), "mlp": ("gate_proj", "up_proj"), "mamba": ("in_proj",)}
    pairs = {f"{AT}.{block}.{name}.weight": pair(name, GIVEN) for block in blocks for name in readers[block]}
    weights, found = explained(norms, pairs)
    assert len(weights) == (5 if undone else 0)
    assert len([name for name in found if name in norms]) == undone


@pytest.mark.parametrize(
    ("block", "readers", "router", "others", "undone"),
    [
        ("mlp", ("experts.0.gate_proj", "experts.0.up_proj"), ("gate",), (), True),
        ("block_sparse_moe", ("experts.0.w1", "experts.0.w3"), ("gate",), ("experts.0.w2",), True),
        (
            "mlp",
            ("experts.0.gate_proj", "shared_experts.gate_proj", "shared_experts.up_proj", "experts.0.up_proj"),
            ("gate",),
            ("shared_experts.down_proj",),
            True,
        ),
        ("mlp", ("experts.0.up_proj", "shared_expert.up_proj"), ("gate", "shared_expert_gate"), (), True),
        ("mlp", ("experts.0.gate_proj", "experts.0.up_proj"), ("gate",), ("latent_proj",), False),
        ("mlp", ("experts.0.gate_proj", "experts.0.up_proj"), ("gate",), ("experts.norm",), False),
    ],
    ids=["qwen3_moe", "mixtral", "deepseek_v3", "qwen2_moe", "a projection in front", "a norm in front"],
)
@pytest.mark.parametrize("scaled", [True, False], ids=["router scaled", "router as it was"])
def test_experts_are_undone_with_their_router_or_not_at_all(
    block: str, readers: tuple[str, ...], router: tuple[str, ...], others: tuple[str, ...], undone: bool, scaled: bool
) -> None:
    weights, beside = ([f"{AT}.{block}.{one}.weight" for one in names] for names in (readers, router))
    norms = {NORM: vector(1 / GIVEN), f"{AT}.input_layernorm.weight": vector(torch.ones(WIDTH))}
    pairs = {name: pair(name, GIVEN) for name in weights}
    exact = {name: vector(GIVEN if scaled else torch.ones(WIDTH)) for name in beside}
    named = {name.removeprefix(f"{AT}."): (WIDTH,) * (1 + ("norm" not in name)) for name in (*norms, *pairs, *exact)}
    named |= {f"{block}.{name}.weight": (WIDTH,) * (1 + ("norm" not in name)) for name in others}
    found = smoothed(AT, pairs, norms=norms, biases={}, names=named, exact=exact)
    assert set(found.weights) == (set(weights) if undone and scaled else set())
    assert bool(set(beside) & found.norms) == (undone and scaled)


@pytest.mark.parametrize("follows", [True, False])
def test_a_bias_that_does_not_follow_its_weights_is_not_undone(follows: bool) -> None:
    by = GIVEN if follows else torch.ones(WIDTH)
    up, down, gate = (f"{AT}.mlp.{name}_proj.weight" for name in ("up", "down", "gate"))
    pairs = {up: pair("up", GIVEN[:, None]), down: pair("down", 1 / GIVEN), gate: pair("gate", torch.ones(WIDTH))}
    weights, settled = explained({}, pairs, **{"mlp.up_proj.bias": vector(by)})
    assert (weights, settled) == (({up, down}, {f"{AT}.mlp.up_proj.bias"}) if follows else (set(), set()))
    norms = {NORM: vector(1 / GIVEN), f"{AT}.input_layernorm.weight": vector(torch.ones(WIDTH))}
    pairs = {up: pair("up", GIVEN), gate: pair("gate", GIVEN)}
    weights, _ = explained(norms, pairs, **{"post_attention_layernorm.bias": vector(1 / by)})
    assert weights == ({up, gate} if follows else set())


@pytest.mark.parametrize(
    ("front", "after", "beside", "undone"),
    [
        ("mlp.up_proj", "mlp.down_proj", ["mlp.gate_proj"], True),
        ("mlp.up_proj", "mlp.down_proj", [], False),
        ("mlp.up_proj", "mlp.down_proj", ["mlp.gate_proj", "mlp.ffn_sub_norm"], False),
        ("self_attn.v_proj", "self_attn.o_proj", ["self_attn.q_norm", "self_attn.k_norm"], True),
        ("self_attn.v_proj", "self_attn.o_proj", ["self_attn.attn_sub_norm"], False),
    ],
    ids=[
        "gated",
        "a power of its rows",
        "a norm between",
        "norms of queries and keys",
        "a norm of its sums",
    ],
)
def test_rows_are_undone_only_where_the_block_hands_them_on_as_they_are(
    front: str, after: str, beside: list[str], undone: bool
) -> None:
    one, other = f"{AT}.{front}.weight", f"{AT}.{after}.weight"
    pairs = {one: pair("front", GIVEN[:, None]), other: pair("after", 1 / GIVEN)}
    names = {f"{name}.weight": (WIDTH,) * (1 + ("proj" in name)) for name in (front, after, *beside)}
    found = smoothed(AT, pairs, norms={}, biases={}, names=names)
    assert set(found.weights) == (pairs.keys() if undone else set())


@pytest.mark.parametrize(("noise", "sound"), [(0.018, True), (0.05, False)])
def test_a_weight_that_was_scaled_and_calibrated_costs_its_layer_no_explanation(noise: float, sound: bool) -> None:
    up, gate = (f"{AT}.mlp.{name}_proj.weight" for name in ("up", "gate"))
    norms = {NORM: vector(1 / GIVEN), f"{AT}.input_layernorm.weight": vector(torch.ones(WIDTH))}
    found = smoothed(
        AT, {up: pair("up", GIVEN, noise), gate: pair("gate", GIVEN)}, norms=norms, biases={},
        names={name.removeprefix(f"{AT}."): (1,) * (1 + ("proj" in name)) for name in (*norms, up, gate)},
    )  # fmt: skip
    assert set(found.weights) == ({up, gate} if sound else set())
    if sound:
        assert 3 < found.weights[up].expected_db - found.weights[up].sqnr_db < 6
