"""While a model runs on a device the host never waits for what is observed: on the meta device, which has no values,
anything that asks for one, or for a shape that depends on one, is an error.
"""

import warnings
from typing import Any

import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.measure.effect.headed import headed_of
from pytest_maxact.measure.observe import accumulate
from pytest_maxact.measure.observe.batch import Batch, collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.predict import Predicting
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support import tiny
from tests.support.effects import headed
from tests.support.measuring import encoded, observed

META = torch.device("meta")
PADDED, WHOLE = [5, 9, 7], [6, 6]


def on(device: torch.device, model_type: str, experts: str = "") -> Any:
    model: Any = tiny.random_model(model_type, num_hidden_layers=2).to(device, torch.bfloat16)
    model.set_attn_implementation("eager")  # the fused one looks at the mask itself
    if experts:
        model.set_experts_implementation(experts)  # eager ones look which experts were chosen
    return model


def batch_of(lengths: list[int], split: str, device: torch.device, stride: int = 2) -> Batch:
    sequences = encoded(lengths)
    (planned,) = plan_batches(sequences, dict.fromkeys((s.sample.id for s in sequences), split), 256)
    return collate(planned, device, stride=stride)


def inputs_of(batch: Batch) -> dict[str, torch.Tensor]:
    """With a mask in any case: without one a model looks at its positions."""
    return {**batch.model_inputs, "attention_mask": batch.mask.long()}


@torch.inference_mode()
def run(observer: Observer, batch: Batch) -> torch.Tensor:
    """The forward pass of a batch, and all that its hooks do."""
    observer.intake.batch = batch
    with observer.attached():
        states: torch.Tensor = observer.decoder(**inputs_of(batch), use_cache=False)[0]
    return states


@pytest.mark.parametrize("lengths", [PADDED, WHOLE])
@pytest.mark.parametrize("split", ["calibration", "evaluation"])
@pytest.mark.parametrize(
    ("model_type", "experts"),
    [
        ("qwen3", ""),
        ("gemma3_text", ""),
        ("qwen3_moe", "grouped_mm"),
        ("qwen3_moe", "batched_mm"),
        ("mixtral", "grouped_mm"),
    ],
)
def test_nothing_observed_is_waited_for(model_type: str, experts: str, split: str, lengths: list[int]) -> None:
    """Paper sites, inputs of linear layers under every scheme, routed tokens."""
    model = on(META, model_type, experts)
    anatomy = resolve(model, model.config, linear_inputs=True)
    observer = Observer(model, anatomy, tuple(SCHEMES.values()))
    run(observer, batch_of(lengths, split, META))
    assert all(seen.staged_findings for seen in observer.accumulators.values())
    staged = observer.fidelity._staged_channels if split == "calibration" else observer.fidelity._staged_sums
    assert len(staged) >= len({tap.site.name for tap in anatomy.linears})
    assert set(observer.intake.traffic) == {one.site for one in anatomy.experts}


def test_a_hook_that_asks_for_a_value_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on(META, "qwen3")
    observer = Observer(model, resolve(model, model.config))
    real = accumulate.findings
    monkeypatch.setattr(
        accumulate, "findings", lambda values, work, locate: real(values, work, locate) if values.any() else None
    )
    with pytest.raises(RuntimeError, match="meta"):
        run(observer, batch_of(PADDED, "calibration", META))


def test_predictions_are_not_waited_for_until_the_batch_counts() -> None:
    sequences = encoded([5, 9, 7, 8, 6, 10])
    model = headed("qwen3")
    with torch.no_grad():
        parts = headed_of(model, torch.tensor(sequences[0].ids), torch.device("cpu"))
    model.to(META)
    vocabulary, width = model.get_input_embeddings().weight.shape
    told = Predicting(parts, sequences, vocabulary)
    planned = plan_batches(sequences, {s.sample.id: "evaluation" for s in sequences}, 256)
    batch = collate(planned[0], META)
    states = torch.empty(*batch.ids.shape, width, dtype=model.dtype, device=META)
    keep = told.see(batch, states)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        keep()


def test_what_a_batch_left_on_the_device_comes_to_the_host_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers: list[int] = []
    real = accumulate.at_once
    monkeypatch.setattr(accumulate, "at_once", lambda tensors: transfers.append(len(tensors)) or real(tensors))
    observer = observed(tiny.random_model("qwen3"), encoded([5, 9, 3, 12]), batch_tokens=24)
    assert len(transfers) == observer.batches
    assert max(transfers) == 2 * len(observer.accumulators)  # what was found, and the largest entry of every sample


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_waits_no_more_often_than_the_bare_pass() -> None:
    device = torch.device("cuda", 0)
    model = on(device, "qwen3")
    observer = Observer(model, resolve(model, model.config, linear_inputs=True), tuple(SCHEMES.values()))
    batch = batch_of(PADDED, "evaluation", device)
    run(observer, batch)  # the kernel is tried and tuned

    def waits(work: Any) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(one.message) for one in caught)

    with torch.inference_mode():
        bare = waits(lambda: model(**inputs_of(batch), use_cache=False))
    assert waits(lambda: run(observer, batch)) == bare
