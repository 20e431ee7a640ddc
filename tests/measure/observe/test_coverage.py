"""What is refused as a partial measurement, site by site and expert by expert, and when every sequence runs alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.observe.routing import Routing
from pytest_maxact.measure.run import observe
from tests.support import tiny
from tests.support.measuring import LENGTHS, encoded, loaded, observed

REPORT = "\n  please report the model_type"


def retapped(change: Callable[[Tap], Tap | None], model_type: str = "qwen3", **changes: Any) -> Observer:
    """A pass over a model whose taps were changed, or taken out."""
    model: Any = tiny.random_model(model_type)
    anatomy = resolve(model, model.config)
    taps = tuple(changed for tap in anatomy.taps if (changed := change(tap)) is not None)
    return observe(loaded(model), replace(anatomy, taps=taps, **changes), encoded(LENGTHS), 60)


@pytest.mark.parametrize("site", ["layers.0.attn_output", "layers.1.mlp_output", "layers.2.hidden", "final_norm"])
def test_every_site_of_the_residual_stream_is_as_wide_as_the_config_says(site: str) -> None:
    with pytest.raises(MeasureError) as error:
        retapped(lambda tap: replace(tap, columns=slice(0, 60)) if tap.site.name == site else tap)
    assert str(error.value) == f"{site} is 60 wide where the config says 64{REPORT}"


def test_a_site_that_gave_nothing_is_refused_whatever_its_width_would_be() -> None:
    observer = observed(tiny.random_model("qwen3"), encoded(LENGTHS))
    observer.accumulators["layers.0.gate"] = SiteAccumulator("layers.0.gate", massive=False)
    split, tokens = next(iter(observer.tokens.items()))
    with pytest.raises(MeasureError) as error:
        observer.finish()
    assert str(error.value) == (
        f"layers.0.gate: 0 elements counted in the {split} split where {tokens} tokens make 0{REPORT}"
    )


def widened(observer: Observer, kind: str) -> None:
    for name, seen in observer.accumulators.items():
        if name.endswith(kind):
            seen.widths = {part: 2 * width for part, width in seen.widths.items()}
            seen.counts = {split: 2 * counts for split, counts in seen.counts.items()}


@pytest.mark.parametrize(
    ("wide", "refused"),
    [
        (["hidden", "final_norm"], None),
        (["hidden"], None),
        (["hidden", "mlp_output"], "layers.0.mlp_output is 128 wide where the config says 64"),
        (["hidden", "attn_output"], "layers.0.attn_output is 128 wide where the config says 64"),
        ([], "layers.0.hidden is 64 wide where the config says 128"),
    ],
)
def test_residual_streams_widen_what_holds_all_of_them(wide: list[str], refused: str | None) -> None:
    observer = observed(tiny.random_model("qwen3"), encoded(LENGTHS))
    observer.anatomy = replace(observer.anatomy, streams=2)
    for kind in wide:
        widened(observer, kind)
    if refused is None:
        observer.finish()
        return
    with pytest.raises(MeasureError) as error:
        observer.finish()
    assert str(error.value) == refused + REPORT


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize(("site", "factor"), [("layers.1.router", 1), ("layers.1.gate", 2), ("layers.2.hidden", 1)])
def test_one_element_too_many_or_too_few_is_refused(site: str, factor: int, change: int) -> None:
    observer = observed(tiny.random_model("qwen3_moe"), encoded(LENGTHS))
    seen = observer.accumulators[site]
    (width,) = seen.widths.values()
    tokens = observer.tokens["evaluation"]
    seen.counts["evaluation"] = seen.counts["evaluation"].clone()
    seen.counts["evaluation"][0x3F80] += change
    with pytest.raises(MeasureError) as error:
        observer.finish()
    expected = tokens * width * factor
    assert str(error.value) == (
        f"{site}: {expected + change} elements counted in the evaluation split where {tokens} tokens make "
        f"{expected}{REPORT}"
    )


def test_token_expert_pairs_are_those_of_the_layers_own_router() -> None:
    observer = observed(tiny.random_model("qwen3_moe"), encoded(LENGTHS))
    given = observer.traffic["layers.2.router"]
    given["evaluation"] = given["evaluation"] + torch.tensor([0, 0, 0, 1, 0, 0, 0, 0])
    with pytest.raises(MeasureError, match=r"^layers\.2\.gate: \d+ elements counted in the evaluation split"):
        observer.finish()


def with_experts(**changes: Any) -> Observer:
    """A pass over a mixture of experts that is known by other facts."""
    model: Any = tiny.random_model("qwen3_moe")
    anatomy = resolve(model, model.config)
    experts = {one.site: replace(one, **changes) for one in anatomy.experts}
    taps = (replace(tap, experts=experts[tap.experts.site]) if tap.experts else tap for tap in anatomy.taps)
    changed = replace(anatomy, taps=tuple(taps), experts=tuple(experts.values()))
    return observe(loaded(model), changed, encoded([60, 60]), 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 3}, r"layers\.0\.router: 120 token-expert pairs where 60 tokens take 3 each"),
        ({"top_k": 3, "skips": True}, None),
        ({"top_k": None}, None),
    ],
)
def test_a_token_takes_as_many_experts_as_the_model_says(changes: dict[str, Any], message: str | None) -> None:
    model: Any = tiny.random_model("qwen3_moe")
    anatomy = resolve(model, model.config)
    experts = {one.site: replace(one, **changes) for one in anatomy.experts}
    taps = tuple(
        tap if tap.experts is None else replace(tap, experts=experts[tap.experts.site]) for tap in anatomy.taps
    )
    changed = replace(anatomy, taps=taps, experts=tuple(experts.values()))
    if message is None:
        assert observe(loaded(model), changed, encoded([60, 60]), 60).tokens["evaluation"] == 60
        return
    with pytest.raises(MeasureError, match=message):
        observe(loaded(model), changed, encoded([60, 60]), 60)


def test_experts_that_were_not_called_are_refused() -> None:
    model: Any = tiny.random_model("qwen3_moe")
    block = model.layers[1].mlp
    block.experts.forward = lambda states, *args, **kwargs: torch.zeros_like(states)
    anatomy = resolve(model, model.config)
    idle = next(one for one in anatomy.experts if one.site == "layers.1.router")
    elsewhere = replace(idle, module=torch.nn.Identity())
    taps = tuple(replace(tap, experts=elsewhere) if tap.experts is idle else tap for tap in anatomy.taps)
    experts = tuple(elsewhere if one is idle else one for one in anatomy.experts)
    with pytest.raises(MeasureError) as error:
        observe(loaded(model), replace(anatomy, taps=taps, experts=experts), encoded(LENGTHS), 60)
    assert str(error.value) == (
        f"layers.1.router: its experts were not called\n  a partial measurement is refused;{REPORT[2:]}"
    )


def test_an_expert_that_is_given_other_rows_than_the_router_chose_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Routing.traffic
    monkeypatch.setattr(Routing, "traffic", lambda self: real(self) + torch.tensor([1, -1] + [0] * 6))
    assert observed(tiny.random_model("qwen3_moe"), encoded([60, 60])).tokens["evaluation"] == 60
    monkeypatch.setattr(Routing, "traffic", lambda self: real(self) + torch.tensor([1] + [0] * 7))
    with pytest.raises(
        MeasureError,
        match=r"site layers\.0\.gate \(experts\), module layers\.0\.mlp\.experts\S*, gave 120 rows where 121 were",
    ):
        with_experts(top_k=None)


def refusing(model: Any, error: Exception, when: Callable[[dict[str, Any]], bool]) -> Any:
    """The model, with an error where `when` holds of what it is given."""

    def refuse(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if when(kwargs):
            raise error

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return model


def slots(given: dict[str, Any]) -> int:
    return int(given["input_ids"].numel())


@pytest.mark.parametrize(
    ("error", "when"),
    [
        (RuntimeError("no mask, please"), lambda given: "attention_mask" in given),
        (ValueError("one sequence, please"), lambda given: given["input_ids"].shape[0] > 1),
        (torch.OutOfMemoryError("tried to allocate too much"), lambda given: "attention_mask" in given),
    ],
)
def test_where_sharing_a_batch_could_not_be_tried_each_sequence_runs_alone(
    error: Exception, when: Callable[[dict[str, Any]], bool]
) -> None:
    sequences = encoded([40, 17, 25, 12, 17])
    pass_ = observed(refusing(tiny.random_model("qwen3"), error, when), sequences, batch_tokens=200)
    single = observed(tiny.random_model("qwen3"), sequences, batch_tokens=1)
    assert pass_.alone
    assert (pass_.batches, pass_.kept_apart, pass_.out_of_memory, pass_.padded_tokens) == (5, 5, 0, 0)
    for name, seen in pass_.accumulators.items():
        assert seen.peaks == single.accumulators[name].peaks


@pytest.mark.parametrize(("most", "alone"), [(16, False), (4, False), (3, True)])
def test_sharing_a_batch_is_tried_on_shorter_pieces_where_memory_runs_out(most: int, alone: bool) -> None:
    model = refusing(
        tiny.random_model("qwen3"),
        torch.OutOfMemoryError("tried to allocate too much"),
        lambda given: given["input_ids"].shape[0] > 1 and slots(given) > most,
    )
    pass_ = observed(model, encoded([40, 17, 25, 12]), batch_tokens=200)
    assert pass_.alone == alone
    assert pass_.batches == 4
    assert pass_.kept_apart == (4 if alone else 0)
    assert (pass_.out_of_memory > 0) != alone


def test_a_neighbour_is_seen_on_shorter_pieces_too() -> None:
    model: Any = refusing(
        tiny.random_model("qwen3"),
        torch.OutOfMemoryError("tried to allocate too much"),
        lambda given: "attention_mask" in given and slots(given) > 16,
    )
    model.layers[1].register_forward_hook(lambda m, args, out: out + 0.5 * out[:, :1].mean(dim=0, keepdim=True))
    assert observed(model, encoded([24, 24, 24, 24]), batch_tokens=200).alone


@pytest.mark.parametrize("sequences", [[40], [12, 7]])
def test_nothing_is_tried_where_no_batch_is_shared(sequences: list[int]) -> None:
    model = refusing(tiny.random_model("qwen3"), ValueError("mask"), lambda given: "attention_mask" in given)
    assert not observed(model, encoded([40, *sequences]), batch_tokens=1).alone


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_memory_that_ran_out_is_told_by_torchs_words(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory
