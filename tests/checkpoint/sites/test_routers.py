"""A router that neither transformers nor its build tells of is refused, and read where the table of exceptions states
it.
"""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_maxact.checkpoint.sites import table
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError
from tests.support import tiny
from tests.support.measuring import encoded, observed, plain_maxima

LENGTHS = [9, 17, 5, 12, 9, 3]


class Switchboard(nn.Module):
    """Two matrices of a row per expert, `plug` that a token is sorted by and `damp` that only damps; what comes out is
    indices alone.
    """

    def __init__(self, experts: int, width: int) -> None:
        super().__init__()
        self.plug, self.damp = nn.Linear(width, experts, bias=False), nn.Linear(width, experts, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return (self.plug(tokens) - 0.01 * self.damp(tokens).square()).topk(2).indices


class Exchange(nn.Module):
    """A mixture of experts with a switchboard for its router, of the experts of another one."""

    def __init__(self, experts: Any, width: int) -> None:
        super().__init__()
        self.switchboard, self.experts = Switchboard(len(experts.down_proj), width), experts

    def forward(self, states: Tensor) -> Tensor:
        flat = states.reshape(-1, states.shape[-1])
        chosen = self.switchboard(flat)
        mixed: Tensor = self.experts(flat, chosen, torch.full(chosen.shape, 0.5))
        return mixed.view(states.shape)


@pytest.fixture
def model() -> Any:
    built: Any = tiny.random_model("qwen3_moe")
    torch.manual_seed(7)
    for layer in built.layers:
        layer.mlp = Exchange(layer.mlp.experts, built.config.hidden_size)
    return built


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the table's entry for this architecture."""

    def set_router(router: str) -> None:
        entry = table.Exceptions(router=router)
        monkeypatch.setattr(table, "TABLE", {**table.TABLE, "qwen3_moe": entry})

    return set_router


def refused(model: Any, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(model, model.config)
    assert reason in str(caught.value)


def test_candidates_are_counted_before_their_names_are_looked_at_and_contributors_are_told_where_to_state_one(
    model: Any,
) -> None:
    refused(
        model,
        "layers.0.mlp (Exchange): 2 modules could be the router of its 8 experts\n"
        "  this architecture cannot be measured yet; please report its model_type;"
        " contributors: state its `router` in checkpoint/sites/table.py",
    )


@pytest.mark.parametrize(
    ("stated", "matrices"), [("switchboard:plug.weight", 2), ("switchboard.plug", 2), ("switchboard", 1)]
)
@pytest.mark.parametrize("block", ["mlp", "exchange"])
def test_a_stated_router_is_measured_as_plain_hooks_see_it(
    stated: str, matrices: int, block: str, model: Any, state: Any
) -> None:
    """Also by its path alone, where one of its matrices has enough rows, and in a block whose name tells nothing."""
    if matrices == 1:
        for layer in model.layers:
            layer.mlp.switchboard.damp = nn.Linear(model.config.hidden_size, 1, bias=False)
    if block != "mlp":
        rename(model, block)
    state(f"{block}.{stated}")
    sequences = encoded(LENGTHS)
    blocks = [layer.mlp for layer in model.layers]
    traffic = {f"layers.{i}.router": torch.zeros(8, dtype=torch.int64) for i in range(len(blocks))}
    handles = [
        exchange.switchboard.register_forward_hook(lambda m, args, out, site=site: counted(traffic[site], out))
        for site, exchange in zip(traffic, blocks, strict=True)
    ]
    read: dict[str, tuple[nn.Module, str, Any]] = {
        f"layers.{i}.router": (exchange.switchboard.plug, "output", 0) for i, exchange in enumerate(blocks)
    }
    read |= {f"layers.{i}.mlp_output": (exchange, "output", 0) for i, exchange in enumerate(blocks)}
    expected = plain_maxima(model, sequences, read)
    for handle in handles:
        handle.remove()
    observer = observed(model, sequences)
    assert observer.padded_tokens > 0
    found = {name: abs(seen.peaks[0].value) for name, seen in observer.accumulators.items() if name in expected}
    assert found == pytest.approx(expected, rel=1e-4)
    assert {f"layers.{i}.gate" for i in range(len(blocks))} <= observer.accumulators.keys()
    given = {site: torch.stack(list(splits.values())).sum(0).tolist() for site, splits in observer.traffic.items()}
    assert given == {site: tokens.tolist() for site, tokens in traffic.items()}


def counted(traffic: Tensor, chosen: Tensor) -> None:
    traffic += torch.bincount(chosen.flatten(), minlength=len(traffic))


def rename(model: Any, name: str) -> None:
    """The block under another name, and the old one left to its layer's forward, which calls it so."""
    for layer in model.layers:
        exchange = layer.mlp
        del layer.mlp
        setattr(layer, name, exchange)
        object.__setattr__(layer, "mlp", exchange)


def test_linear_inputs_beside_a_stated_router_are_those_of_the_experts(model: Any, state: Any) -> None:
    """What lies in a router is deployed in high precision, its other matrices too."""
    state("mlp.switchboard:plug.weight")
    anatomy = resolve(model, model.config, linear_inputs=True)
    inside = {path for tap in anatomy.linears for path in tap.weights if ".mlp." in path}
    assert {path.rsplit(".", 1)[-1] for path in inside} == {"gate_up_proj", "down_proj"}
    assert not [entry for entry in anatomy.left_out if entry.elements]


def test_a_stated_router_that_lies_bare_in_the_layer_beside_its_experts_is_found(model: Any, state: Any) -> None:
    state("switchboard:plug.weight")
    for layer in model.layers:
        exchange = layer.mlp
        del layer.mlp
        layer.switchboard, layer.experts = exchange.switchboard, exchange.experts
    routers = [tap for tap in resolve(model, model.config).taps if tap.site.kind == "router"]
    assert [tap.module for tap in routers] == [layer.switchboard for layer in model.layers]
    assert all(tap.parameter is tap.module.plug.weight for tap in routers)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("mlp.telephone", "no module 'mlp.telephone', where this build of layers has one"),
        ("mlp.switchboard:cord", "Switchboard: no parameter 'cord', where the table of exceptions has one"),
        ("mlp.switchboard", "2 matrices of Switchboard could give the logits of 8 experts"),
        ("self_attn:q_norm.weight", "self_attn:q_norm.weight, in the table of exceptions, is no matrix with a row for"),
        ("mlp", "layers.0.mlp (Exchange): stated as a router in the table of exceptions, and holds the experts"),
        ("mlp:experts.down_proj", "stated as a router in the table of exceptions, and holds the experts"),
    ],
)
def test_an_entry_that_states_no_router_is_refused(stated: str, reason: str, model: Any, state: Any) -> None:
    state(stated)
    refused(model, reason)


def test_a_stated_matrix_with_too_few_rows_is_refused(model: Any, state: Any) -> None:
    state("mlp.switchboard:plug.weight")
    model.layers[2].mlp.switchboard.plug = nn.Linear(model.config.hidden_size, 7, bias=False)
    with pytest.raises(InputError, match=re.escape("layers.2 (Qwen3MoeDecoderLayer): mlp.switchboard:plug.weight, in")):
        resolve(model, model.config)
