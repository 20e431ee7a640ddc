"""Any order and batching of the corpus gives the figures of one sequence at a time on a fresh model, also where rotary
tables are computed by length, or modules note what ran. `test_architectures` holds the same of the zoo.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.rotary import steady_up_to
from tests.support import tiny
from tests.support.measuring import dense, encoded, observed, plain_maxima, within_one_step

LENGTHS = [15, 300, 129, 499, 60, 128]
SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8,
    "num_key_value_heads": 2, "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LONG: dict[str, Any] = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 128, "factor": 4.0,
}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
PLAIN = {"rope_type": "default", "rope_theta": 1e4}
LAYERS = ["sliding_attention", "full_attention"]
SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 128}),
    "longrope that scales": (
        "phimoe", {"rope_parameters": {**LONG, "short_mscale": 1.0, "long_mscale": 1.3}, "num_local_experts": 4},
    ),
    "dynamic": ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 128}),
    "dynamic in some layers": (
        "gemma3_text",
        {
            "rope_parameters": {"sliding_attention": PLAIN, "full_attention": DYNAMIC}, "layer_types": LAYERS,
            "max_position_embeddings": 128, "sliding_window": 64,
        },
    ),
    "longrope in some layers": (
        "gemma3_text",
        {"rope_parameters": {"sliding_attention": PLAIN, "full_attention": LONG}, "layer_types": LAYERS},
    ),
}  # fmt: skip


def built(model_type: str, dtype: torch.dtype = torch.float32, **overrides: Any) -> Any:
    torch.manual_seed(0)
    stated = {**SMALL, "max_position_embeddings": 512, **overrides}
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **stated), dtype=dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.3)
    return model


def maxima(observer: Observer, kind: str = "attn_output") -> dict[str, float]:
    return {name: abs(seen.peaks[0].value) for name, seen in observer.accumulators.items() if name.endswith(f".{kind}")}


def alone_and_fresh(make: Callable[[], Any]) -> dict[str, float]:
    """Maxima of attention blocks by plain hooks, every sequence alone on a model of its own."""
    found: dict[str, float] = {}
    for sequence in encoded(LENGTHS):
        model = make()
        read = {f"layers.{i}.attn_output": (layer.self_attn, "output", 0) for i, layer in enumerate(model.layers)}
        for name, value in plain_maxima(model, [sequence], read).items():
            found[name] = max(value, found.get(name, 0.0))
    return found


@pytest.mark.parametrize("subject", SUBJECTS)
def test_tables_that_depend_on_the_length_are_those_of_one_sequence_on_a_fresh_model(subject: str) -> None:
    model_type, overrides = SUBJECTS[subject]

    def make() -> Any:
        return built(model_type, **overrides)

    truth, model, sequences = alone_and_fresh(make), make(), encoded(LENGTHS)
    assert steady_up_to(model) == 128
    alone = observed(model, sequences, batch_tokens=1)
    assert maxima(alone) == pytest.approx(truth, rel=1e-5)
    mixed = sequences[::-1]
    random.Random(1).shuffle(mixed)
    again = dense(observed(model, mixed, batch_tokens=1))
    assert all(np.array_equal(counts, again[name]) for name, counts in dense(alone).items()), "bit for bit, alone"
    for order, batch_tokens in ((sequences, 4096), (mixed, 512)):
        together = observed(model, order, batch_tokens=batch_tokens)
        assert not together.alone
        assert together.kept_apart == sum(length > 128 for length in LENGTHS)
        assert together.padded_tokens > 0, "those below the limit still share batches"
        assert maxima(together) == pytest.approx(truth, rel=1e-5)
        counts = dense(alone)
        assert all(within_one_step(found, counts[name]) for name, found in dense(together).items())


@pytest.mark.parametrize("subject", ["longrope", "dynamic"])
def test_in_16_bits_they_are_too(subject: str) -> None:
    model_type, overrides = SUBJECTS[subject]
    model = built(model_type, dtype=torch.bfloat16, **overrides)
    together, alone = (maxima(observed(model, encoded(LENGTHS), batch_tokens=n)) for n in (4096, 1))
    assert together == pytest.approx(alone, rel=0.01)


@pytest.mark.parametrize("rope", ["default", "linear", "yarn", "llama3"])
def test_tables_that_depend_on_the_config_alone_keep_no_sequence_apart(rope: str) -> None:
    stated = {"rope_type": rope, "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
    more = {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if rope == "llama3" else {}
    model = built("llama", rope_parameters={**stated, **more} if rope != "default" else PLAIN)
    assert steady_up_to(model) is None
    observer = observed(model, encoded(LENGTHS), batch_tokens=4096)
    assert (observer.alone, observer.kept_apart) == (False, 0)


# What modules note


def noting(how: str) -> Any:
    """A model whose second layer notes the longest sequence it has met, and multiplies by what it noted."""
    model: Any = tiny.random_model("qwen3")
    layer = model.layers[1]
    outside = [1.0]
    layer.longest, layer.met, layer.tables = 1.0, [], {}
    layer.register_buffer("held", torch.ones(1))
    layer.register_buffer("unheld", torch.ones(1), persistent=False)

    def forward(module: Any, args: Any, out: Any) -> Any:
        length = float(out.shape[1])
        if how == "attribute":
            module.longest = max(module.longest, length)
            return out * module.longest
        if how == "new attribute":
            module.later = max(getattr(module, "later", 1.0), length)
            return out * module.later
        if how == "list":
            module.met.append(length)
            return out * max(module.met)
        if how == "dict":
            return out * module.tables.setdefault("first", length)
        if how in ("held", "unheld"):
            getattr(module, how).clamp_(min=length)
            return out * getattr(module, how)
        if how == "new buffer":
            module.unheld = torch.maximum(module.unheld, torch.tensor([length]))
            return out * module.unheld
        if how == "closure":
            outside[0] = max(outside[0], length)
            return out * outside[0]
        if how == "chance":
            return nn.functional.dropout(out, 0.1)
        assert how == "large"
        module.large[0] += 1
        return out

    if how == "large":
        layer.register_buffer("large", torch.ones(5000))
    layer.register_forward_hook(forward)
    return model


@pytest.mark.parametrize("how", ["attribute", "new attribute", "list", "dict", "held", "unheld", "new buffer"])
def test_what_a_module_notes_of_a_pass_is_gone_before_the_next(how: str) -> None:
    sequences, model = encoded([12, 40, 25]), noting(how)
    one = [dense(observed(noting(how), [*sequences[:i], *sequences[i + 1 :]], batch_tokens=1)) for i in range(3)]
    for order in (sequences, sequences[::-1]):
        found = dense(observed(model, order, batch_tokens=1))
        for name, counts in found.items():
            assert np.array_equal(2 * counts, sum(each[name] for each in one)), name


@pytest.mark.parametrize(("how", "message"), [
    ("closure", "it remembers what ran, or draws random numbers"), ("chance", "is not the same before and after"),
    ("large", "writes to its buffer large while it runs"),
])  # fmt: skip
def test_a_model_that_remembers_elsewhere_is_refused(how: str, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        observed(noting(how), encoded([12, 40, 25]), batch_tokens=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sequences_run_alone_where_one_sees_the_longest_of_its_batch(dtype: torch.dtype) -> None:
    def switch(module: Any, args: Any, out: Any) -> Any:
        return out * (1.5 if out.shape[1] > 100 else 1.0)

    def make() -> Any:
        model: Any = tiny.random_model("qwen3").to(dtype)
        model.layers[1].register_forward_hook(switch)
        return model

    sequences = encoded([40, 150, 25, 12])
    together, single = observed(make(), sequences, batch_tokens=800), observed(make(), sequences, batch_tokens=1)
    assert together.alone
    assert together.kept_apart == 4
    assert {n: seen.peaks for n, seen in together.accumulators.items()} == {
        n: seen.peaks for n, seen in single.accumulators.items()
    }


def test_neighbours_of_equal_length_are_told_apart_too() -> None:
    model: Any = tiny.random_model("qwen3")
    model.layers[1].register_forward_hook(lambda module, args, out: out + out.mean(dim=0, keepdim=True))
    assert observed(model, encoded([12, 12, 12, 12]), batch_tokens=100).alone
