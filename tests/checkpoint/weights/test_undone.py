"""Experts in one stack that were scaled where the model undoes it are near their source; one scale that was forgotten
on one side is named, with its expert.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.weights.against import Side, weights_against
from pytest_maxact.checkpoint.weights.stored import Stored
from pytest_maxact.checkpoint.weights.undone import is_gated
from pytest_maxact.numbers.against import Weights
from pytest_maxact.numbers.schemes import Quantizer
from tests.support import tiny
from tests.support.against import failing, holding, judged
from tests.support.exports.source import Tensors
from tests.support.paths import REPOSITORY
from tests.support.zoo.configs import build

AT, EXPERTS, WIDTH, INNER = "model.layers.1", "model.layers.1.mlp.experts", 64, 32
NORM, ROUTER = f"{AT}.post_attention_layernorm.weight", f"{AT}.mlp.gate.weight"
STACKS = f"{EXPERTS}.gate_up_proj", f"{EXPERTS}.down_proj"
INT8 = Quantizer(number="int8", granularity="row")
FORM = "gguf int8"


@cache
def model() -> Any:
    """Of four experts, with weights that are not one anywhere."""
    torch.manual_seed(0)
    config = tiny.config_of(
        "qwen3_moe", hidden_size=WIDTH, moe_intermediate_size=INNER, num_experts=4, num_hidden_layers=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    built = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1 + (parameter.ndim == 1))
    return built


def scales(count: int, seed: int) -> torch.Tensor:
    """From a third to three."""
    return torch.exp(2.2 * (torch.rand(count, generator=torch.Generator().manual_seed(seed)) - 0.5))


def smooth(tensors: Tensors) -> None:
    """As AWQ does it: router and experts for the norm before them, and in each expert down for up."""
    given = scales(WIDTH, 1)
    tensors[NORM] /= given
    tensors[ROUTER] *= given
    tensors[STACKS[0]] *= given
    for expert in range(4):
        rows = scales(INNER, 2 + expert)
        tensors[STACKS[0]][expert, INNER:] /= rows[:, None]
        tensors[STACKS[1]][expert] *= rows


def one_by_one(tensors: Tensors) -> Tensors:
    """With every expert's matrices by themselves, as files of qwen3_moe hold them."""
    found = dict(tensors)
    for stack in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj")) and tensors[name].ndim == 3]:
        module, _, role = stack.rpartition(".")
        names = ("gate_proj", "up_proj") if role == "gate_up_proj" else (role,)
        for expert, whole in enumerate(found.pop(stack)):
            found |= {f"{module}.{expert}.{n}.weight": x for n, x in zip(names, whole.chunk(len(names)), strict=True)}
    return found


def side(tensors: Tensors, **more: Any) -> Side:
    stored = [Stored(file=REPOSITORY, key=name, dtype="F32", shape=tuple(x.shape)) for name, x in tensors.items()]
    return Side(stored=stored, tensors=tensors, forms=more.pop("forms", {}), method="gguf", **more)


def rounded(tensors: Tensors, halves: bool) -> Side:
    """An artifact whose experts are in eight bits, a scale for every row; `halves`: gates by another tensor of its file
    than what they gate.
    """
    low = [name for name in tensors if name in STACKS]
    found = dict(tensors)
    for name in low:
        found[name] = torch.stack([quantize(one, INT8, None).restored.float() for one in tensors[name]])
    forms, parts = dict.fromkeys(low, INT8), {}
    if halves:
        parts = {STACKS[0]: {"blk.1.ffn_gate_exps.weight": INNER, "blk.1.ffn_up_exps.weight": INNER}}
        forms |= dict.fromkeys(parts[STACKS[0]], INT8)
    return side(found, forms=forms, halves=parts)


def compared(*changes: Callable[[Tensors], None], halves: bool = False, apart: bool = False) -> Weights:
    """`apart`: in the source experts lie one by one."""
    exact = {name: tensor.detach() for name, tensor in model().state_dict().items()}
    scaled = {name: tensor.clone() for name, tensor in exact.items()}
    for change in changes:
        change(scaled)
    source = one_by_one(exact) if apart else exact
    return weights_against(rounded(scaled, halves), side(source), model().to("meta"), {})


@pytest.fixture(autouse=True)
def whole() -> None:
    """The model with its weights, which a comparison moves away."""
    model.cache_clear()


def named(found: Weights) -> set[str]:
    checks = failing(holding(found, form=FORM))
    return {check.partition("::")[0].removeprefix("weights.") for check in checks} - {"weights"}


LAYOUTS = pytest.mark.parametrize(
    ("halves", "apart"), [(False, False), (False, True), (True, False), (True, True)],
    ids=["stacks", "source one by one", "halves", "halves, source one by one"],
)  # fmt: skip


@LAYOUTS
def test_a_stack_whose_scales_are_undone_is_sound(halves: bool, apart: bool) -> None:
    found = compared(smooth, halves=halves, apart=apart)
    assert not named(found)
    assert found.smoothed == (3 if halves else 2)
    assert not found.changed
    assert not found.unmatched


def up(expert: int) -> Callable[[Tensors], None]:
    return lambda t: t[STACKS[0]][expert, INNER:].mul_(scales(INNER, 9)[:, None])


def gate(expert: int) -> Callable[[Tensors], None]:
    """The half that gates in place of the other: no column of down undoes that."""

    def change(tensors: Tensors) -> None:
        rows = scales(INNER, 9)
        tensors[STACKS[0]][expert, :INNER] /= rows[:, None]
        tensors[STACKS[1]][expert] *= rows

    return change


def down(expert: int) -> Callable[[Tensors], None]:
    return lambda t: t[STACKS[1]][expert].mul_(scales(INNER, 9))


def columns(expert: int) -> Callable[[Tensors], None]:
    """Scales for the norm, which this expert was not given."""
    return lambda t: t[STACKS[0]][expert].div_(scales(WIDTH, 1))


FORGOTTEN = {
    "rows of up": (up, {0}), "columns of down": (down, {1}), "rows of gate": (gate, {0, 1}), "for the norm":
    (columns, {0}),
}  # fmt: skip


@pytest.mark.parametrize("before", [(), (smooth,)], ids=["plain", "smoothed"])
@pytest.mark.parametrize("what", FORGOTTEN)
@LAYOUTS
def test_a_scale_forgotten_on_one_side_is_named_with_its_expert(
    halves: bool, apart: bool, what: str, before: tuple[Callable[[Tensors], None], ...]
) -> None:
    change, stacks = FORGOTTEN[what]
    found = compared(*before, change(2), halves=halves, apart=apart)
    worst = {name for name, low in found.lows.items() if low.loss_db > 6}
    roles = [("gate_up_proj", "ffn_gate_exps", "ffn_up_exps"), ("down_proj",)]
    for stack in stacks:
        assert any(role in name for name in worst for role in roles[stack]), worst
    assert worst <= named(found)
    assert {found.lows[name].expert for name in worst} == {2}
    assert {found.lows[name].layer for name in worst} == {1}
    name = min(worst)
    assert judged(holding(found, form=FORM))[f"weights.{name}::source_loss_db"].message.startswith(
        f"{name} (layer 1, expert 2): SQNR "
    )


BESIDE: dict[str, Callable[[Tensors], Any]] = {
    "router left as it was": lambda t: t[ROUTER].div_(scales(WIDTH, 1)),
    "norm doubled": lambda t: t[NORM].mul_(2),
    "norm scaled otherwise": lambda t: t[NORM].mul_(scales(WIDTH, 7)),
}


@pytest.mark.parametrize("what", BESIDE)
@LAYOUTS
def test_what_reads_the_norm_beside_experts_is_undone_with_them_or_nothing_is(
    halves: bool, apart: bool, what: str
) -> None:
    found = compared(smooth, BESIDE[what], halves=halves, apart=apart)
    assert NORM in named(found)
    assert any("gate" in name for name in named(found) if name != NORM)


def test_experts_are_gated_as_they_are_run() -> None:
    qwen, mixtral, gpt_oss = (build(kind).to("meta") for kind in ("qwen3_moe", "mixtral", "gpt_oss"))
    assert is_gated(qwen, "model.layers.1.mlp.experts")
    assert is_gated(mixtral, "model.layers.1.mlp.experts")
    assert gpt_oss.get_submodule("model.layers.1.mlp.experts") is not None
    assert not is_gated(gpt_oss, "model.layers.1.mlp.experts"), "clamped, one added, in turns"
    assert not is_gated(qwen, "model.layers.1.mlp")
    assert not is_gated(qwen, "model.layers.1.nothing")


@pytest.mark.parametrize(
    ("gate", "gated"),
    [
        (lambda g, u: torch.sigmoid(g) * u, True),
        (lambda g, u: torch.sigmoid(u) * g, False),
        (lambda g, u: torch.sigmoid(g) * (u + 1), False),
        (lambda g, u: torch.sigmoid(g) * u.clamp(max=100), False),
        (lambda g, u: torch.sigmoid(g) * u.square(), False),
        (lambda g, u: torch.sigmoid(g.mean(-1, keepdim=True)) * u, True),
        (lambda g, u: torch.sigmoid(g) * u * u.mean(-1, keepdim=True), False),
    ],
    ids=["gated", "the other half", "one added", "clamped", "squared", "by all of its gates", "by a mean of it"],
)  # fmt: skip
def test_what_a_gate_makes_of_the_other_half_is_found_out(
    gate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], gated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = model().to("meta")
    module = built.get_submodule(EXPERTS)
    monkeypatch.setattr(module, "_apply_gate", lambda both: gate(*both.chunk(2, -1)), raising=False)
    assert is_gated(built, EXPERTS) == gated
    for turned in ("is_transposed", "has_bias"):
        with monkeypatch.context() as patched:
            patched.setattr(module, turned, True)
            assert not is_gated(built, EXPERTS)
