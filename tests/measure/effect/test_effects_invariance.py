"""What must not matter to predictions: padding, neighbours, slices of the head, batches in parts; the model is its own
again.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.effect.effects import (
    HEAD_ROWS,
    measure_effects,
)
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.effects import (
    COMPARED,
    Measured,
    Plain,
    figures,
    headed,
    measured,
    plain_figures,
    prepared,
    split,
    watched,
)
from tests.support.measuring import encoded
from tests.support.paths import TRAINED


def test_a_scheme_that_changes_nothing_gives_exactly_nothing() -> None:
    checkpoint = prepared(TRAINED, max_samples=6, max_seq_len=32, batch_tokens=256)
    effect = checkpoint.effects("BF16")["BF16"]
    assert (effect.mean_kl, effect.kl_q99, effect.top1_agreement, effect.perplexity_ratio) == (0.0, 0.0, 1.0, 1.0)
    assert effect.perplexity > 1.0


def test_with_every_site_kept_nothing_changes(qwen3: Measured) -> None:
    kept = dict.fromkeys(COMPARED, qwen3.linear_inputs)
    for effect in qwen3.effects(*COMPARED, kept=kept).values():
        assert (effect.mean_kl, effect.kl_q99, effect.top1_agreement, effect.perplexity_ratio) == (0.0, 0.0, 1.0, 1.0)
        assert effect.kept == tuple(qwen3.linear_inputs)


def test_layers_of_kept_sites_are_not_quantized_and_the_others_are(qwen3: Measured) -> None:
    evaluation = split(qwen3.sequences, "evaluation")
    observer = Plain(qwen3.model)
    observer.logits(split(qwen3.sequences, "calibration"))
    layers = (
        "layers.0.mlp.down_proj",
        "layers.1.self_attn.q_proj",
        "layers.1.self_attn.k_proj",
        "layers.1.self_attn.v_proj",
    )
    other = Plain(qwen3.model, scheme="NVFP4", amax=observer.amax, kept=layers).logits(evaluation)
    effects = qwen3.effects("NVFP4", "W8A8", kept={"NVFP4": ("layers.1.qkv_in", "layers.0.down_in")})
    expected = plain_figures(Plain(qwen3.model).logits(evaluation), other, evaluation)
    assert figures(effects["NVFP4"]) == pytest.approx(expected, rel=1e-3)
    assert effects["NVFP4"].kept == ("layers.0.down_in", "layers.1.qkv_in")
    assert effects["W8A8"].kept == ()


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_padding_and_neighbours_do_not_matter(model_type: str, tmp_path: Path) -> None:
    one = measured(tmp_path, headed(model_type))
    many = Measured(one.checkpoint, Settings(model=one.settings.model, batch_tokens=64), one.readings, one.sequences)
    schemes = ("MXFP8A16", "W4A16", "W8A8")
    alone, together, told = one.effects(*schemes), many.effects(*schemes), many.effects(*schemes, alone=True)
    for name in schemes:
        assert figures(together[name]) == pytest.approx(figures(alone[name]), rel=1e-4 if name.endswith("16") else 2e-2)
        assert told[name] == alone[name]


ROPE: dict[str, Any] = {"rope_theta": 1e4, "factor": 4.0}
LONG = {**ROPE, "rope_type": "longrope", "short_factor": [1.0] * 16, "long_factor": [1.0 + i for i in range(16)]}
LONG |= {"original_max_position_embeddings": 32}


@pytest.mark.parametrize(("model_type", "overrides"), [
    ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 32}),
    ("llama", {"rope_parameters": {**ROPE, "rope_type": "dynamic"}, "max_position_embeddings": 32}),
])  # fmt: skip
def test_tables_that_depend_on_the_length_are_those_of_a_sequence_alone(
    model_type: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    model = headed(model_type, **overrides)
    settings = Settings(model=str(tiny.save(tmp_path / "model", model)), batch_tokens=400)
    sequences = encoded([20, 90, 33, 120, 32, 70])
    chosen = split(sequences, "evaluation")
    assert {len(sequence) > 32 for sequence in chosen} == {True, False}
    assert len({len(sequence) for sequence in chosen if len(sequence) > 32}) > 1
    effect = measure_effects(locate(settings), settings, [SCHEMES["W4A16"]], {}, sequences)["W4A16"]
    own = [logits for one in chosen for logits in Plain(fresh(settings)).logits([one])]
    other = [logits for one in chosen for logits in Plain(fresh(settings), "W4A16", defaultdict(float)).logits([one])]
    assert figures(effect) == pytest.approx(plain_figures(own, other, chosen), rel=1e-4)


def fresh(settings: Settings) -> Any:
    return AutoModelForCausalLM.from_pretrained(settings.model, dtype="auto").eval()


def test_the_model_is_bit_for_bit_its_own_again(qwen3: Measured) -> None:
    stored = load_file(qwen3.checkpoint.folder / "model.safetensors")
    with watched() as (models, _):
        qwen3.effects("FP16", "W8A8", "NVFP4", "BF16")
    (model,) = models
    assert not [module for module in model.modules() if "forward" in vars(module)]
    state = model.state_dict()
    assert state.keys() == stored.keys()
    for name, tensor in stored.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name


def test_no_more_than_a_slice_of_tokens_is_in_the_head(qwen3: Measured) -> None:
    generator = torch.Generator().manual_seed(0)
    long = [
        Encoded(
            sample=Sample(id=f"s{i}", category="a", text=f"{i}"),
            ids=tuple(torch.randint(4, 64, (200,), generator=generator).tolist()),
        )
        for i in range(4)
    ]
    with watched() as (_, rows):
        effect = measure_effects(
            qwen3.checkpoint, Settings(model=qwen3.settings.model, batch_tokens=800), [SCHEMES["W8A8"]], {}, long
        )["W8A8"]
    assert effect.tokens > 2 * HEAD_ROWS
    assert max(rows) == HEAD_ROWS
    assert sum(count for count in rows if count > 8) >= 2 * effect.tokens


def test_a_batch_that_does_not_fit_is_run_in_parts(qwen3: Measured) -> None:
    large = Measured(
        qwen3.checkpoint, Settings(model=qwen3.settings.model, batch_tokens=64), qwen3.readings, qwen3.sequences
    )

    def small_memory(module: nn.Module, args: Any) -> None:
        if isinstance(module, nn.Embedding) and args[0].numel() > 20:
            raise torch.OutOfMemoryError("out of memory")

    handle = nn.modules.module.register_module_forward_pre_hook(small_memory)
    try:
        in_parts = large.effects("W8A16")["W8A16"]
        with pytest.raises(MeasureError) as error:
            measure_effects(large.checkpoint, large.settings, [], {}, encoded([21, 21]))
    finally:
        handle.remove()
    assert figures(in_parts) == pytest.approx(figures(qwen3.effects("W8A16")["W8A16"]), rel=1e-4)
    assert str(error.value).splitlines() == [
        "out of memory on one sample and the head, at most 21 tokens",
        "  lower `max_seq_len`, or use a device with more memory",
    ]
