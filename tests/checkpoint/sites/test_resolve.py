"""Sites of every family of the paper, resolved and seen: maxima against plain hooks written out by hand, one name at a
time.
"""

from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.feed_forward import gate_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.sites.table import Exceptions
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.sites import ranges
from tests.support import tiny
from tests.support.measuring import encoded, observed, plain_maxima
from tests.support.zoo.configs import build


def by_hand(model: Any) -> dict[str, tuple[nn.Module, str, Any]]:
    """The same sites by attribute names, as a reader of the modelling files would write them down."""
    decoder = decoder_of(model)
    read: dict[str, tuple[nn.Module, str, Any]] = {
        "embedding": (decoder.embed_tokens, "output", 0),
        "final_norm": (decoder.norm, "output", 0),
    }
    for i, layer in enumerate(decoder.layers):
        mixer = layer.linear_attn if hasattr(layer, "linear_attn") else layer.self_attn
        read[f"layers.{i}.hidden"] = (layer, "output", 0)
        read[f"layers.{i}.attn_output"] = (mixer, "output", 0)
        read[f"layers.{i}.mlp_output"] = (layer.mlp, "output", 0)
        router = getattr(layer.mlp, "router", getattr(layer.mlp, "gate", None))
        if router is not None:
            read[f"layers.{i}.router"] = (router, "output", 0)
        else:
            read[f"layers.{i}.gate"] = (layer.mlp.gate_proj, "output", 0)
    return read


@pytest.mark.parametrize("model_type", tiny.FAMILIES)
def test_maxima_equal_those_of_plain_hooks(model_type: str) -> None:
    model = tiny.random_model(model_type)
    sequences = encoded([9, 17, 5, 12, 9, 3])
    observer = observed(model, sequences, batch_tokens=64)
    assert observer.padded_tokens > 0
    expected = plain_maxima(model, sequences, by_hand(model))
    found = {name: abs(seen.peaks[0].value) for name, seen in observer.accumulators.items() if name in expected}
    assert found == pytest.approx(expected, rel=1e-4)
    extra = set(observer.accumulators) - set(expected)
    assert extra == (
        {f"layers.{i}.gate" for i in range(tiny.LAYERS)} - set(expected) if model_type in tiny.MOE_FAMILIES else set()
    )


@pytest.mark.parametrize("model_type", ["qwen3_moe", "mixtral", "qwen3_5_moe", "gpt_oss", "bailing_hybrid"])
@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_gates_inside_experts_are_those_of_the_chosen_experts_by_direct_computation(
    model_type: str, implementation: str
) -> None:
    model = tiny.random_model(model_type)
    decoder = decoder_of(model)
    for module in decoder.modules():
        if hasattr(getattr(module, "config", None), "_experts_implementation"):
            module.config._experts_implementation = implementation
    sequences = encoded([9, 17, 5, 12, 9, 3])
    observer = observed(model, sequences, batch_tokens=64)
    layer = tiny.LAYERS - 1
    block = decoder.layers[layer].mlp
    expected: list[tuple[float, str, int]] = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        states, chosen = args[0], args[1]
        for position in range(states.shape[0]):
            for expert in chosen[position].tolist():
                weight = block.experts.gate_up_proj[expert]
                if model_type == "gpt_oss":
                    gate = (states[position] @ weight + block.experts.gate_up_proj_bias[expert])[::2]
                else:
                    gate = (weight @ states[position])[: weight.shape[0] // 2]
                expected.append((gate.abs().max().item(), current, position))

    handle = block.experts.register_forward_pre_hook(note)
    with torch.inference_mode():
        for sequence in sequences:
            current = sequence.sample.id
            decoder(input_ids=torch.tensor([sequence.ids]), use_cache=False)
    handle.remove()
    value = max(expected)[0]
    places = {(sample, position) for entry, sample, position in expected if entry == pytest.approx(value, rel=1e-5)}
    peaks = [peak for peak in observer.accumulators[f"layers.{layer}.gate"].peaks if peak.part == "experts"]
    assert abs(peaks[0].value) == pytest.approx(value, rel=1e-4)
    assert (peaks[0].sample, peaks[0].position) in places


def test_an_expert_implementation_of_unknown_row_order_reports_no_token() -> None:
    from pytest_maxact.measure.observe.routing import Routing

    routing = Routing(torch.tensor([[0, 1], [1, 0]]), "sonicmoe", count=2)
    assert routing.behind(torch.zeros(1, dtype=torch.int64)) is None


def test_a_layer_of_unknown_build_is_an_error_that_names_it() -> None:
    model = tiny.random_model("llama")
    decoder = decoder_of(model)
    decoder.layers[1].extra = nn.Linear(4, 4)
    with pytest.raises(
        InputError, match=r"layers\.1 \(LlamaDecoderLayer\): extra \(Linear\) hold matrices and are neither a mixer nor"
    ):
        resolve(decoder, model.config)


def test_fewer_layers_than_the_config_says_is_an_error() -> None:
    model = tiny.random_model("llama")
    model.config.num_hidden_layers = 7
    with pytest.raises(InputError, match="found 3 declared decoder layers"):
        resolve(decoder_of(model), model.config)


def test_a_block_without_a_gate_is_absent_by_design_not_missing() -> None:
    model = tiny.random_model("llama")
    for layer in decoder_of(model).layers:
        del layer.mlp.gate_proj
    anatomy = resolve(decoder_of(model), model.config)
    assert not any(site.kind == "gate" for site in anatomy.sites)
    assert [str(entry) for entry in anatomy.left_out if entry.by_design] == [
        "gate: no gated feed-forward block in these layers"
    ]


def test_vision_modules_are_not_observed() -> None:
    for model_type in ("qwen2_5_vl", "gemma3", "qwen3_5"):
        model = tiny.random_model(model_type)
        vision = {id(m) for name, m in model.named_modules() if "vis" in name}
        assert vision
        assert not any(id(tap.module) in vision for tap in resolve(decoder_of(model), model.config).taps)


class Wrapped(nn.Module):
    """A projection inside another module, as an adapter library leaves it."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer, self.adapter = base, nn.Linear(base.in_features, 4)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "names", [("gate_proj",), ("gate_proj", "up_proj"), ("down_proj",), ("gate_proj", "up_proj", "down_proj")]
)
def test_a_block_of_which_it_cannot_be_told_whether_it_has_a_gate_is_an_error(names: tuple[str, ...]) -> None:
    model: Any = tiny.random_model("llama")
    for name in names:
        setattr(model.layers[1].mlp, name, Wrapped(getattr(model.layers[1].mlp, name)))
    with pytest.raises(InputError, match="LlamaMLP: it cannot be told whether this feed-forward block has a gate"):
        resolve(model, model.config)


def test_a_projection_with_a_norm_of_its_own_is_still_a_projection() -> None:
    model: Any = tiny.random_model("llama")
    before = resolve(model, model.config).outline
    model.layers[1].mlp.up_proj.norm = nn.RMSNorm(tiny.WIDTH)
    assert resolve(model, model.config).outline == before


def renamed_mlp(names: tuple[str, str, str], activation: nn.Module | None) -> nn.Module:
    mlp = nn.Module()
    for name, shape in zip(names, ((64, 96), (64, 96), (96, 64)), strict=True):
        setattr(mlp, name, nn.Linear(*shape, bias=False))
    if activation is not None:
        mlp.act = activation
    return mlp


@pytest.mark.parametrize(
    ("names", "activation", "read"),
    [
        (("w1", "w3", "w2"), None, "w1"),
        (("w1", "w2", "c_proj"), nn.SiLU(), "act"),
        (("gate", "up", "down"), None, "gate"),
        (("w1", "w2", "c_proj"), None, None),
        (("a", "b", "c"), None, None),
    ],
)
def test_the_gate_is_the_projection_called_so_or_what_the_activation_is_given(
    names: tuple[str, str, str], activation: nn.Module | None, read: str | None
) -> None:
    mlp = renamed_mlp(names, activation)
    if read is None:
        with pytest.raises(InputError, match="neither one activation module nor one projection by that name"):
            gate_of(mlp, Exceptions())
        return
    gate = gate_of(mlp, Exceptions())
    assert gate is not None
    assert gate.module is getattr(mlp, read)


class Attention(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.query_key_value, self.dense = nn.Linear(64, inner), nn.Linear(inner // 2, 64)


@pytest.mark.parametrize("inner", [128, 192])
def test_attention_of_two_matrices_is_not_a_feed_forward_block(inner: int) -> None:
    model: Any = tiny.random_model("llama")
    for layer in model.layers:
        layer.self_attn = Attention(inner)
    taps = {tap.site.name: tap.module for tap in resolve(model, model.config).taps}
    assert isinstance(taps["layers.1.attn_output"], Attention)
    assert taps["layers.1.mlp_output"] is model.layers[1].mlp


def test_a_block_that_wraps_a_feed_forward_block_is_not_taken_for_a_mixer() -> None:
    model: Any = tiny.random_model("llama")
    for layer in model.layers:
        channel = nn.Module()
        channel.inner = layer.mlp
        layer.channel, layer.mlp = channel, Attention(128)
        del layer.self_attn
    with pytest.raises(InputError, match="channel"):
        resolve(model, model.config)


def test_a_gated_block_of_berts_build_is_an_error() -> None:
    model: Any = build("bert")
    model.bert.encoder.layer[1].intermediate.dense = nn.Linear(32, 88)
    with pytest.raises(InputError, match="it cannot be told whether the feed-forward block of this build has a gate"):
        resolve(model, model.config)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([0, 1, 2, 5], "0-2, 5"),
        ([3, 7, 11], "3-11 by 4"),
        ([4], "4"),
        ([], ""),
        ([0, 2], "0, 2"),
        (list(range(30)), "0-29"),
    ],
)
def test_layers_in_few_words(layers: list[int], words: str) -> None:
    assert ranges(layers) == words


@pytest.mark.parametrize(
    ("model_type", "kinds"),
    [
        ("jamba", {"Mamba", "attention"}),
        ("qwen3_next", {"linear attention", "attention"}),
        ("lfm3", {"convolution", "attention"}),
        ("rwkv", {"RWKV"}),
        ("recurrent_gemma", {"recurrent", "attention"}),
        ("xlstm", {"xLSTM"}),
        ("bloom", {"attention"}),
        ("falcon_h1", {"Mamba"}),
    ],
)
def test_the_sort_of_mixer_is_said(model_type: str, kinds: set[str]) -> None:
    model: Any = build(model_type)
    assert {site.detail for site in resolve(model, model.config).sites if site.kind == "attn_output"} == kinds
