"""What writes a massive channel: planted causes of four kinds are found, and none where there is none."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from pytest_maxact.checkpoint.quantize import fake_quantized
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.cause.command import causes_of
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.cause import BIAS, EMBEDDING, GAIN, MATRIX, Cause
from tests.support import causes, effects, tiny
from tests.support.measuring import loaded

TEXT = [
    Sequence(
        sample=Sample(id=f"s{i}", category="a", text=str(i)), ids=tuple((5 + 11 * i + 7 * j) % 60 for j in range(6))
    )
    for i in range(4)
]
TOKENIZER = tiny.word_tokenizer()


def found_in(model: Any, headed: Any = None) -> list[Cause]:
    run, anatomy = replace(loaded(model), headed=headed), resolve(model, model.config)
    readings = seen_on(run, anatomy, TEXT, 512, TOKENIZER)
    carrier = max((one for one in readings.values() if one.site.counted), key=lambda one: one.max_abs)
    return causes_of(run, anatomy, TOKENIZER, TEXT, carrier, [SCHEMES["W8A8"], SCHEMES["FP8"]])


PLANTED = [(kind, number) for kind in (MATRIX, BIAS, GAIN, EMBEDDING) for number in range(5)]


@pytest.fixture(scope="module")
def planted() -> list[causes.Planted]:
    return list(causes.planted(word=5))


@pytest.mark.parametrize(("kind", "number"), PLANTED)
def test_a_planted_cause_is_found(kind: str, number: int, planted: list[causes.Planted]) -> None:
    cause = [one for one in planted if one.kind == kind][number]
    before = {name: parameter.clone() for name, parameter in cause.model.named_parameters()}
    told = next(one for one in found_in(cause.model) if one.channel == cause.place[-1 if kind == EMBEDDING else 0])
    assert told.ratio >= 20
    proven = told.found
    assert proven is not None
    assert (proven.kind, proven.parameter, proven.place) == (kind, cause.parameter, cause.place)
    assert proven.without < told.largest / 2
    assert bool(proven.kept) == (kind == MATRIX)
    after = dict(cause.model.named_parameters())
    assert all(torch.equal(parameter, after[name]) for name, parameter in before.items()), "put back to the bit"
    assert not any(parameter.grad is not None for parameter in after.values())


@pytest.mark.parametrize("number", range(20))
def test_nothing_is_found_where_there_is_no_cause(number: int, controls: list[nn.Module]) -> None:
    assert [one.found for one in found_in(controls[number]) if one.found] == []


@pytest.fixture(scope="module")
def controls() -> list[nn.Module]:
    return list(causes.controls())


def test_a_rounded_entry_is_told_as_what_is_left_of_it(planted: list[causes.Planted]) -> None:
    told = found_in(planted[0].model)[0].found
    assert told is not None
    assert told.kept["W8A8"] == pytest.approx(1, abs=0.01)
    assert told.kept["FP8"] == pytest.approx(1, abs=0.07)


def test_of_one_path_the_entry_is_named_that_stands_out_in_its_tensor() -> None:
    model: Any = tiny.planted_model("qwen3", layer=1, value=4096.0, dtype=torch.float32)
    sequences = [
        Sequence(sample=Sample(id=name, category="a", text=name), ids=ids)
        for name, ids in (("p", (5, 3, 6)), ("q", (7, 8)))
    ]
    run, anatomy = loaded(model), resolve(model, model.config)
    readings = seen_on(run, anatomy, sequences, 512, TOKENIZER)
    (told,) = causes_of(run, anatomy, TOKENIZER, sequences, readings["layers.1.hidden"], [])
    assert (told.channel, told.position, told.token) == (tiny.PEAK_CHANNEL, 1, tiny.PEAK_WORD)
    assert told.found is not None
    assert told.found.called == f"layers.1.mlp.down_proj.weight[{tiny.PEAK_CHANNEL}, 0]"
    assert told.found.share == pytest.approx(1)
    assert len([trial for trial in told.trials if trial.writes(told.largest)]) > 1


def test_predictions_as_they_were_are_those_of_the_head_with_its_row() -> None:
    config = tiny.config_of("qwen3", tie_word_embeddings=True)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    row = model.get_input_embeddings().weight
    with torch.no_grad():
        row.normal_(0.0, 0.15, generator=torch.Generator().manual_seed(0))
        row[5, 2] = 60.0
        before = torch.cat([model(torch.tensor([one.ids])).logits[0] for one in TEXT]).double().log_softmax(1)
    trials = [trial for one in found_in(model.model, model) for trial in one.trials if trial.kind == EMBEDDING]
    trial = next(trial for trial in trials if trial.place == (5, 2))
    with torch.no_grad():
        row[5] = 0.0
        after = torch.cat([model(torch.tensor([one.ids])).logits[0] for one in TEXT]).double().log_softmax(1)
    assert trial.mean_kl == pytest.approx(float((before.exp() * (before - after)).sum(1).mean()), rel=1e-4)
    assert trial.top1 == float((before.argmax(1) == after.argmax(1)).double().mean())


def test_a_matrix_that_is_stored_in_out_is_rounded_as_its_scheme_rounds_it() -> None:
    config = AutoConfig.for_model("gpt2", **effects.ARCHITECTURES["gpt2"])
    model: Any = AutoModel.from_config(config, dtype=torch.float32).eval()
    mlp = model.h[0].mlp
    weight = mlp.c_proj.weight
    with torch.no_grad():
        weight[9, 7], mlp.c_fc.bias[9] = 40.3, 5.0
        weight[8, 7], mlp.c_fc.bias[8] = 100.0, -100.0  # of a neuron that is always zero; the scale of channel 7 is its
    told = [trial for one in found_in(model) for trial in one.trials if trial.place == (9, 7)]
    assert told
    how = SCHEMES["W8A8"].weights
    assert how is not None
    kept = fake_quantized(weight.data.t().contiguous(), how)[7, 9] / weight.data[9, 7]
    assert told[0].kept["W8A8"] == pytest.approx(float(kept), rel=1e-6)
    assert told[0].kept["W8A8"] != pytest.approx(float(fake_quantized(weight.data, how)[9, 7] / weight.data[9, 7]))


def test_what_is_not_finite_is_no_model_without_causes() -> None:
    model = tiny.random_model("llama", seed=5)
    with torch.no_grad():
        model.get_input_embeddings().weight[TEXT[1].ids[3]] = torch.nan  # type: ignore[operator]
    with pytest.raises(MeasureError, match=re.escape("is NaN or infinite on the corpus, first in sample ")):
        found_in(model)
