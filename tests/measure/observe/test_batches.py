"""Padding, neighbours, batches that do not fit and parts of a corpus change no count."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact import corpus as corpora
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.ahead import Ahead
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.readings import readings
from pytest_maxact.record.merge import merge
from pytest_maxact.record.provenance import Provenance, corpus_digest
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.measuring import (
    LENGTHS,
    as_parts_add_up,
    dense,
    encoded,
    memory_limited,
    observed,
    record_of,
    within_one_step,
)


@pytest.mark.parametrize("model_type", ["qwen3", "gemma2", "qwen3_moe", "gpt_oss", "qwen3_5"])
def test_batching_and_padding_on_either_side_change_no_count(model_type: str) -> None:
    model = tiny.random_model(model_type)
    sequences = encoded(LENGTHS)
    alone = dense(observed(model, sequences, batch_tokens=1))
    splits = corpora.assign_splits([s.sample for s in sequences])
    sides = ("right", "left") if model_type != "qwen3_5" else ("right",)
    for side in sides:
        observer = Observer(decoder_of(model), resolve(decoder_of(model), model.config))  # type: ignore[arg-type]
        with observer.attached():
            observer.run(corpora.plan_batches(sequences, splits, 60), torch.device("cpu"), side=side)
        observer.finish()
        assert observer.padded_tokens > 0
        for name, counts in dense(observer).items():
            assert counts.sum() == alone[name].sum(), name
            assert within_one_step(counts, alone[name]), f"{name}, padding {side}"


def test_the_tokenizers_padding_side_changes_nothing(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3")
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    records = [
        record_of(tiny.save(tmp_path / side, model, tiny.word_tokenizer(padding_side=side)), corpus, batch_tokens=60)
        for side in ("right", "left")
    ]
    assert records[0].sites == records[1].sites


def test_padded_rows_count_nowhere_not_even_when_they_are_not_finite() -> None:
    sequences = encoded([2, 4])
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(sequences)), torch.device("cpu"))
    assert batch.padding.tolist() == [2, 3]
    values = torch.full((8, 6), 0.5, dtype=torch.bfloat16)
    values[2, 1], values[2, 2], values[3, 0], values[3, 3] = math.nan, 900.0, math.inf, -5000.0
    seen = SiteAccumulator("x", massive=True)
    seen.observe(values, batch.padding, lambda row: row, "")
    seen.commit(batch)
    counts = seen.dense_counts("evaluation")
    assert counts.nonzero()[0].tolist() == [0x3F00]
    assert counts.sum() == 36
    assert {peak.value for peak in seen.peaks} == {0.5}
    assert seen.first_nonfinite is None
    assert seen.massive.tokens == 0


def test_padding_repeats_the_sequences_own_tokens() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([2, 5]))), torch.device("cpu"))
    first = batch.plan.sequences[0].ids
    assert batch.ids[0].tolist() == [first[0], first[1], first[0], first[1], first[0]]


def test_a_batch_that_does_not_fit_is_halved_and_leaves_no_trace() -> None:
    sequences = encoded(LENGTHS)
    calm = observed(tiny.random_model("qwen3"), sequences, batch_tokens=14)
    tight = observed(memory_limited(tiny.random_model("qwen3"), 14), sequences, batch_tokens=200)
    assert tight.out_of_memory > 0
    assert tight.tokens == calm.tokens
    for name, counts in dense(tight).items():
        assert counts.sum() == dense(calm)[name].sum()
        assert abs(tight.accumulators[name].peaks[0].value) == pytest.approx(
            abs(calm.accumulators[name].peaks[0].value), rel=1e-4
        )


def test_a_single_sample_that_does_not_fit_is_an_error_that_names_it_and_the_knob() -> None:
    with pytest.raises(MeasureError, match=r"out of memory on sample s01 alone, 9 tokens long\n.*`max_seq_len`"):
        observed(memory_limited(tiny.random_model("qwen3"), 8), encoded(LENGTHS), batch_tokens=200)


def test_an_error_that_is_not_about_memory_is_not_swallowed() -> None:
    model: Any = tiny.random_model("qwen3")

    def fail(module: Any, args: Any) -> None:
        raise RuntimeError("shapes do not match")

    model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(
        MeasureError, match=r"the forward pass failed on samples s\d\d to s\d\d: RuntimeError: shapes do not match"
    ):
        observed(model, encoded(LENGTHS))


_MODEL = tiny.random_model("qwen3").to(torch.bfloat16)
_SEQUENCES = encoded([6] * 4 + [9] * 4 + [3] * 4)
_SPLITS = corpora.assign_splits([s.sample for s in _SEQUENCES])


class PlainTokens:
    """Stands where a tokenizer decodes: a token's text is its number."""

    def decode(self, ids: list[int]) -> str:
        return str(ids[0])


def part_record(sequences: list[Any]) -> Record:
    """A Record of some samples, their splits those of the whole corpus; batches of one, so that numerics are those of
    the sample alone.
    """
    decoder = decoder_of(_MODEL)
    observer = Observer(decoder, resolve(decoder, _MODEL.config))  # type: ignore[arg-type]
    with observer.attached():
        observer.run(
            corpora.plan_batches(sequences, {s.sample.id: _SPLITS[s.sample.id] for s in sequences}, 1),
            torch.device("cpu"),
        )
    observer.finish()
    ordered = sorted(sequences, key=lambda s: s.sample.id)
    digests = tuple(s.sample.digest for s in ordered)
    batching = {"batch_tokens": 1, "batches": observer.batches, "padded_tokens": 0, "out_of_memory": 0}
    whole = Provenance(
        model="m",
        revision=None,
        weights_sha256="w",
        model_type="qwen3",
        architecture="Qwen3Model",
        family=None,
        layers=3,
        hidden_size=64,
        config_sha256="c",
        left_out=(),
        tokenizer_sha256="t",
        remote_code=False,
        protocol="paper",
        corpus="c",
        max_seq_len=64,
        dtype="bfloat16",
        device="cpu",
        attention="sdpa",
        experts=None,
        batching=batching,
        versions={},
        sample_digests=digests,
        samples=tuple((s.sample.id, s.sample.category, _SPLITS[s.sample.id], len(s)) for s in ordered),
        corpus_sha256=corpus_digest(digests),
    )
    return Record(provenance=whole, sites=readings(observer, PlainTokens()))


@cache
def whole_record() -> Record:
    return part_record(_SEQUENCES)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.randoms(use_true_random=False))
def test_parts_of_a_corpus_merged_in_any_order_equal_the_whole(membership: list[int], random: Any) -> None:
    whole = whole_record()
    parts = [[s for s, k in zip(_SEQUENCES, membership, strict=True) if k == part] for part in set(membership)]
    records = [part_record(part) for part in parts]
    random.shuffle(records)
    merged = merge(records)
    assert as_parts_add_up(merged).sites == as_parts_add_up(whole).sites
    assert merged.provenance == whole.provenance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe", "gpt_oss", "qwen3_5"])
def test_sequences_share_batches_where_the_model_keeps_them_apart(model_type: str, dtype: torch.dtype) -> None:
    assert not observed(tiny.random_model(model_type).to(dtype), encoded([40, 17, 25, 12])).alone


@pytest.mark.parametrize("how", ["padding", "neighbour", "mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sequences_run_alone_where_one_sees_its_batch(how: str, dtype: torch.dtype) -> None:
    model: Any = tiny.random_model("qwen3").to(dtype)

    def leak(module: Any, args: Any, kwargs: Any, out: Any) -> Any:
        if how == "padding":
            return out + 0.5 * out.mean(dim=1, keepdim=True)
        if how == "neighbour":
            return out + 0.5 * out[:, :1].mean(dim=0, keepdim=True)
        return out * (2.0 if kwargs.get("attention_mask") is None else 1.0)

    model.layers[1].register_forward_hook(leak, with_kwargs=True)
    sequences = encoded([40, 17, 25, 12])
    together, single = observed(model, sequences, batch_tokens=200), observed(model, sequences, batch_tokens=1)
    assert together.alone
    assert together.batches == single.batches == 4
    assert {name: seen.peaks for name, seen in together.accumulators.items()} == {
        n: seen.peaks for n, seen in single.accumulators.items()
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_broken_model_is_not_taken_for_one_that_sees_its_batch(value: float) -> None:
    model: Any = tiny.random_model("qwen3")
    with torch.no_grad():
        model.norm.weight.fill_(value)
    assert not observed(model, encoded([40, 17, 25, 12])).alone


def test_batches_as_large_as_one_that_did_not_fit_are_halved_before_they_are_tried() -> None:
    sequences = encoded([6] * 36)
    tight = observed(memory_limited(tiny.random_model("qwen3"), 14), sequences, batch_tokens=24)
    assert tight.out_of_memory == 1
    assert tight.tokens["calibration"] + tight.tokens["evaluation"] == 6 * 36


def test_a_batch_made_ahead_is_the_one_that_is_made_when_it_is_asked_for() -> None:
    one, other, third = (PlannedBatch(split="evaluation", sequences=tuple(encoded(n))) for n in ([5, 9], [3], [4, 4]))
    ahead, device = Ahead(), torch.device("cpu")
    with ahead:
        ahead.following = other
        ahead.take(one, device, "right", 2)
        ahead.following = third
        made = ahead.take(other, device, "right", 2)
        unforeseen = ahead.take(one, device, "right", 2)
    for batch, planned in ((made, other), (unforeseen, one)):
        now = collate(planned, device, "right", 2)
        assert batch.plan is planned
        assert torch.equal(batch.ids, now.ids)
        assert torch.equal(batch.sampled, now.sampled)
