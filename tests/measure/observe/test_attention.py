"""Queries, keys, values and attention logits over the architectures of the zoo, against what eager attention multiplies
and what its softmax is given.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AttentionInterface

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.attention import head_width
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from tests.support.attention import Below, seen_from_below
from tests.support.measuring import encoded
from tests.support.zoo.configs import TYPES, build, headless

SEQUENCES = encoded((7, 12, 3, 9, 5), vocabulary=128)
PLAN = corpus.plan_batches(SEQUENCES, dict.fromkeys((one.sample.id for one in SEQUENCES), "evaluation"), 64)


WITHOUT = (
    "big_bird",
    "bloom",
    "codegen",
    "cpmant",
    "deepseek_v4",
    "diffllama",
    "falcon",
    "falcon_mamba",
    "gpt_neo",
    "gpt_neox_japanese",
    "gptj",
    "mamba",
    "mamba2",
    "megatron-bert",
    "mpt",
    "mvp",
    "openai-gpt",
    "prophetnet",
    "rembert",
    "roformer",
    "rwkv",
    "trocr",
    "xglm",
    "xlm",
    "xlnet",
    "xlstm",
)
"""Architectures that compute their attention themselves, or have none."""


def resolved(model_type: str, implementation: str = "eager") -> tuple[Any, Anatomy]:
    model = headless(build(model_type)).eval()
    if implementation:
        model.set_attn_implementation(implementation)
    return model, resolve(model, model.config, attention=True)


def observed(model: Any, anatomy: Anatomy) -> Observer:
    observer = Observer(decoder_of(model), anatomy)
    with observer.attached():
        observer.run(PLAN, torch.device("cpu"))
    observer.finish()
    return observer


def below(model: Any, anatomy: Anatomy, alone: bool) -> dict[str, Below]:
    """By module that attends, whichever layers share it."""
    modules = {tap.site.module: tap.module for tap in anatomy.taps if tap.site.kind == "q"}
    whole: dict[str, Below] = {}
    for planned in PLAN:
        for part in [replace(planned, sequences=(one,)) for one in planned.sequences] if alone else [planned]:
            batch = collate(part, torch.device("cpu"))
            with seen_from_below(modules, batch.mask) as found, torch.inference_mode():
                decoder_of(model)(**batch.model_inputs, use_cache=False)
            for name, one in found.items():
                known = whole.setdefault(name, one)
                known.maxima = {kind: max(value, known.maxima[kind]) for kind, value in one.maxima.items()}
                known.heads = list(map(max, known.heads, one.heads))
    return whole


@pytest.mark.parametrize("model_type", [name for name in TYPES if name not in WITHOUT])
def test_what_is_read_is_what_eager_attention_multiplies(model_type: str) -> None:
    model, anatomy = resolved(model_type)
    observer = observed(model, anatomy)
    expected = below(model, anatomy, observer.alone)
    assert observer.logits is not None
    assert expected
    maxima: dict[tuple[str, str], float] = {}
    for tap in anatomy.taps:
        if tap.site.kind in ("q", "k", "v") and not tap.part:
            largest = max(abs(peak.value) for peak in observer.accumulators[tap.site.name].peaks)
            maxima[tap.site.module, tap.site.kind] = max(largest, maxima.get((tap.site.module, tap.site.kind), 0.0))
            seen = observer.accumulators[tap.site.name]
            assert seen.widths[""] == (seen.heads or 0) * (head_width(tap) or 0), "as its module states it"
    heads: dict[str, tuple[float, ...]] = {}
    for tap in anatomy.taps:
        if tap.site.kind == "q":
            found = next(one for one in observer.logits.layers if (one.layer, one.part) == (tap.site.layer, tap.part))
            heads[tap.site.module] = tuple(map(max, found.heads, heads.get(tap.site.module, found.heads)))
    for module, one in expected.items():
        for kind, value in one.maxima.items():
            assert maxima.get((module, kind), value) == pytest.approx(value, rel=1e-6)
        assert heads[module] == pytest.approx(one.heads, rel=1e-4, abs=2e-5)


def test_of_the_architectures_of_the_zoo_120_and_more_are_read() -> None:
    assert len(TYPES) - len(WITHOUT) >= 120


@pytest.mark.parametrize("model_type", WITHOUT)
def test_what_computes_its_attention_itself_or_has_none_is_left_out_by_name(model_type: str) -> None:
    _, anatomy = resolved(model_type, implementation="")
    assert not any(site.is_of_attention for site in anatomy.sites)
    assert any(entry.what.startswith("q, k, v of ") for entry in anatomy.left_out)


def test_another_implementation_is_read_alike() -> None:
    """Flexible attention too, which takes two minutes to compile on a CPU."""
    eager = observed(*resolved("qwen3"))
    other = observed(*resolved("qwen3", "sdpa"))
    assert eager.logits
    assert other.logits
    for name, accumulator in eager.accumulators.items():
        assert other.accumulators[name].peaks[0].value == pytest.approx(accumulator.peaks[0].value, rel=1e-4)
    for one, two in zip(eager.logits.layers, other.logits.layers, strict=True):
        assert (one.sample, one.query, one.key, one.head) == (two.sample, two.query, two.key, two.head)
        assert one.heads == pytest.approx(two.heads, rel=1e-4)


def test_latent_attention_is_read_as_it_is_cached() -> None:
    model, anatomy = resolved("deepseek_v3")
    parts = {tap.part for tap in anatomy.taps if tap.site.name == "layers.0.kv_latent"}
    assert parts == {"latent", "rope"}
    observer = observed(model, anatomy)
    config = model.config
    assert observer.accumulators["layers.0.kv_latent"].widths == {
        "latent": config.kv_lora_rank, "rope": config.qk_rope_head_dim
    }  # fmt: skip


def test_a_latent_state_is_read_beside_the_inputs_of_linear_layers_of_which_it_is_one() -> None:
    model, alone = resolved("deepseek_v3")
    inputs = observed(model, resolve(model, model.config, linear_inputs=True))
    kept = observed(model, alone)
    both = observed(model, resolve(model, model.config, linear_inputs=True, attention=True))
    assert both.accumulators.keys() == {*inputs.accumulators, *kept.accumulators}
    for name, accumulator in both.accumulators.items():
        for one in (inputs, kept):
            if name in one.accumulators:
                assert (
                    accumulator.dense_counts("evaluation") == one.accumulators[name].dense_counts("evaluation")
                ).all()


def test_a_planted_bias_of_keys_is_found_by_layer_head_and_channel() -> None:
    model, anatomy = resolved("qwen2")
    before = observed(model, anatomy)
    attention = model.layers[2].self_attn
    width = model.config.hidden_size // model.config.num_attention_heads
    with torch.no_grad():
        attention.k_proj.bias[width + 3] += 400.0
    after = observed(model, anatomy)
    peak = after.accumulators["layers.2.k"].peaks[0]
    assert abs(peak.value) > 200
    assert peak.channel // width == 1
    assert before.logits
    assert after.logits
    found = max(after.logits.layers, key=lambda one: one.largest)
    shared = model.config.num_attention_heads // model.config.num_key_value_heads
    assert (found.layer, found.head // shared) == (2, 1)


def test_the_interface_is_as_it_was_afterwards_also_when_the_pass_fails() -> None:
    original = AttentionInterface.get_interface
    model, anatomy = resolved("qwen3")
    observer = Observer(decoder_of(model), anatomy)
    with observer.attached():
        assert AttentionInterface.get_interface is not original
    assert AttentionInterface.get_interface is original
    with observer.attached(), pytest.raises(MeasureError):
        observer.run([replace(PLAN[0], sequences=(replace(SEQUENCES[0], ids=(1 << 40,)),))], torch.device("cpu"))
    assert AttentionInterface.get_interface is original


def test_scores_are_computed_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = observed(*resolved("qwen3"))
    monkeypatch.setattr("pytest_maxact.measure.observe.blocks._BLOCK", 1)
    blocks = observed(*resolved("qwen3"))
    assert whole.logits
    assert blocks.logits
    for one, two in zip(whole.logits.layers, blocks.logits.layers, strict=True):
        assert one.heads == pytest.approx(two.heads, rel=1e-6)
        assert (one.sample, one.query, one.key, one.head) == (two.sample, two.query, two.key, two.head)


def test_of_equal_scores_the_earliest_pair_is_told_however_batches_were_cut() -> None:
    """The first token attends to itself alike in every sequence that begins with it."""
    model, anatomy = resolved("qwen3")
    with torch.no_grad():
        for layer in model.layers:
            for weight in (layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight):
                weight.zero_()
    together = observed(model, anatomy)
    apart = Observer(decoder_of(model), anatomy)
    with apart.attached():
        apart.run(
            [replace(batch, sequences=(one,)) for batch in PLAN for one in reversed(batch.sequences)],
            torch.device("cpu"),
        )
    assert together.logits
    assert apart.logits
    assert together.logits.layers == apart.logits.layers
    assert {(one.sample, one.query, one.key, one.head) for one in apart.logits.layers} == {
        (min(sequence.sample.id for sequence in SEQUENCES), 0, 0, 0)
    }
