"""Limits on keys, values and scores: what is planted in one layer is named by layer, head and channel, and models
without it are green.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.attention import LOGIT, layer_of_logits
from pytest_maxact.judge.verdict.attention import check_attention
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.record.file import load, save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.loudest import loudest
from pytest_maxact.record.metrics.metric import CHANNEL_RATIO, LAYER_RATIO
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support.kv import Plant, attended, breaches, findings


def scaled(name: str, rows: slice, factor: float) -> Plant:
    def plant(attention: object) -> None:
        getattr(attention, name).weight[rows] *= factor

    return plant


def biased(value: float, channel: int = 19) -> Plant:
    def plant(attention: object) -> None:
        attention.k_proj.bias[channel] += value  # type: ignore[attr-defined]

    return plant


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return attended(tmp_path_factory.mktemp("sound"), "llama", attention_bias=True)


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """With a bias on channel 3 of head 1 of the keys of layer 1, two hundred times the middle key."""
    return attended(tmp_path_factory.mktemp("loud"), "llama", biased(200.0), attention_bias=True)


def test_a_sound_model_is_green_at_every_key_value_and_head(sound: Record) -> None:
    found = findings(sound)
    assert all(finding.passed for finding in found)
    names = {finding.limit.check for finding in found}
    layers = range(sound.provenance.layers)
    wanted = {f"layers.{layer}.{kind}::channel_ratio" for layer in layers for kind in "kv"}
    wanted |= {f"layers.{layer}.{kind}::layer_ratio" for layer in layers for kind in "kq"}
    assert names == wanted | {f"layers.{layer}.attn_logit::logit_ratio" for layer in layers}


def test_a_bias_of_one_key_channel_is_named_by_layer_head_and_channel(loud: Record) -> None:
    found = breaches(loud)
    words = found["layers.1.k::channel_ratio"]
    assert words.startswith("layers.1.k: head 1, channel 3 ")
    assert "reach" in words
    assert "head 1, channel 3" in found["layers.1.k::layer_ratio"]
    assert not any(check.startswith("layers.0") for check in found)


@pytest.mark.parametrize(
    ("model_type", "plant", "where"),
    [
        ("llama", scaled("k_proj", slice(3, 4), 300), "layers.1.k::channel_ratio"),
        ("mistral", scaled("v_proj", slice(30, 31), 300), "layers.1.v::channel_ratio"),
        ("qwen3", scaled("k_norm", slice(3, 4), 300), "layers.1.k::channel_ratio"),
        ("gemma", scaled("k_proj", slice(0, 32), 300), "layers.1.k::layer_ratio"),
        ("llama", scaled("q_proj", slice(16, 32), 300), "layers.1.attn_logit::logit_ratio"),
    ],
)
def test_what_weights_alone_make_loud_is_named(model_type: str, plant: Plant, where: str, tmp_path: Path) -> None:
    found = breaches(attended(tmp_path, model_type, plant))
    assert where in found
    assert "head" in found[where]


def test_a_head_with_large_scores_is_named_with_both_tokens(tmp_path: Path) -> None:
    found = breaches(attended(tmp_path, "llama", scaled("q_proj", slice(16, 32), 300)))[
        "layers.1.attn_logit::logit_ratio"
    ]
    assert " in head 1, " in found
    assert "to token" in found


@pytest.mark.parametrize(
    ("of_dead", "of_others", "fails"),
    [
        (0.03, 1.0, False),  # thirty times its own head, and next to nothing beside the others
        (1.0, 1.0, False),
        (40.0, 1.0, True),
        (0.001, 40.0, True),
        (math.nan, 1.0, True),
    ],
)
def test_a_channel_of_a_head_that_is_all_but_dead_is_loud_only_beside_the_others(
    of_dead: float, of_others: float, fails: bool, sound: Record
) -> None:
    reading = sound.sites["layers.1.k"]
    assert isinstance(reading.held, Distributions)
    amax = np.linspace(0.9, 1.1, 4 * 8, dtype=np.float32).reshape(4, 8)
    amax[0] = 0.001
    amax[0, 5], amax[2, 3] = of_dead, of_others
    held = replace(reading.held, channels=Channels({"": amax.flatten()}), evaluated=None)
    found = loudest(replace(reading, held=held, heads=4))
    assert (found.ratio > 24) == fails
    if fails:
        assert (found.head, found.channel) == ((2, 3) if of_others > 1 else (0, 5))


def test_a_record_from_its_file_and_a_slim_one_give_the_same_verdict(loud: Record, tmp_path: Path) -> None:
    for record in (loud, summary(loud)):
        save(record, tmp_path / "record.safetensors")
        again = load(tmp_path / "record.safetensors")
        assert record.is_summary or again == record
        assert breaches(again).keys() == breaches(loud).keys()
    assert "channel" in breaches(summary(loud))["layers.1.k::channel_ratio"]


def test_scores_that_are_no_numbers_fail(sound: Record) -> None:
    assert sound.logits
    broken = replace(sound, logits=(replace(sound.logits[0], heads=(math.inf, 1.0, 1.0, 1.0)), *sound.logits[1:]))
    assert "layers.0.attn_logit::logit_ratio" in breaches(broken)


def test_what_was_not_looked_at_is_an_error_and_no_small_number(sound: Record) -> None:
    limits = {finding.limit.metric.name: finding.limit for finding in findings(sound)}
    blind = replace(
        sound,
        logits=None,
        sites={
            name: replace(reading, held=replace(reading.held, channels=None, evaluated=None))  # type: ignore[arg-type]
            for name, reading in sound.sites.items()
        },
    )
    with pytest.raises(MeasureError, match="holds no maxima of its channels"):
        check(blind, limits["channel_ratio"])
    with pytest.raises(MeasureError, match="holds nothing of layers"):
        check(blind, limits["logit_ratio"])
    with pytest.raises(MeasureError, match=r"holds nothing of layers\.9\.k"):
        check_attention(sound, replace(limits["layer_ratio"], site="layers.9.k"))
    with pytest.raises(InputError, match="has no metric channel_ratio"):
        check(sound, replace(limits["logit_ratio"], metric=CHANNEL_RATIO))


def test_a_file_states_its_own_bounds_and_null_is_remarked(loud: Record, tmp_path: Path) -> None:
    own = tmp_path / "limits.yaml"
    own.write_text("version: 1\nextends: builtin\nattention: {max_channel_ratio: 500, max_layer_ratio: null}\n")
    found = {finding.limit.check: finding.passed for finding in findings(loud, [own])}
    assert found["layers.1.k::channel_ratio"]
    assert not any(LAYER_RATIO.name in check for check in found)
    assert found["layers.0.attn_logit::logit_ratio"]


def test_only_a_layers_scores_are_of_logits() -> None:
    assert layer_of_logits(f"layers.12.{LOGIT}") == 12
    assert layer_of_logits("layers.12.k") is None
    assert layer_of_logits("model") is None
