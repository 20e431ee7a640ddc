"""Tokens are sampled whatever their batch, and a sample says what all tokens do."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from pytest_maxact import corpus
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.observe import fidelity as fidelity_module
from pytest_maxact.measure.observe import observer as observer_module
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.observer import Observer
from tests.support.low_bits import model_of
from tests.support.measuring import encoded
from tests.support.plain_sums import IMPLEMENTATIONS, NAMES, QUANTIZERS, Seen, check, observed, plain, wanted_of

LONG = [30, 23, 38, 21, 27, 44, 12, 29, 31, 26, 34, 40]


def sampled(
    monkeypatch: pytest.MonkeyPatch, model: Any, sequences: Sequence[Encoded], batch_tokens: int, most: int, site: str
) -> tuple[Observer, torch.Tensor]:
    """A pass that samples about `most` tokens, and the rows that it sampled at a site."""
    rows: list[torch.Tensor] = []
    original = Fidelity.observe

    def watched(self: Fidelity, tap: Any, values: torch.Tensor, chosen: torch.Tensor, batch: Any, *where: Any) -> None:
        if tap.site.name == site and batch.plan.split == "evaluation" and batch.plan.sequences:
            rows.append(values[chosen].clone())
        original(self, tap, values, chosen, batch, *where)

    with monkeypatch.context() as patch:
        patch.setattr(observer_module, "SAMPLED_TOKENS", most)
        patch.setattr(fidelity_module.Fidelity, "observe", watched)
        observer = observed(model, sequences, batch_tokens)
    return observer, torch.cat(rows)


def whose(rows: torch.Tensor, seen: Seen, key: tuple[str, str], samples: set[str]) -> set[tuple[str, int]]:
    """Sample and position of rows, by the captured row of these samples that each is nearest to."""
    places = [
        (sample, int(position))
        for sample, _, positions in seen.rows[key]
        if sample in samples
        for position in positions
    ]
    every = seen.of(key, samples)
    distance, nearest = torch.cdist(rows.double(), every.double(), compute_mode="donot_use_mm_for_euclid_dist").min(
        dim=1
    )
    assert (distance < 1e-3 * every.norm(dim=1).mean()).all()
    return {places[int(index)] for index in nearest}


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_the_same_tokens_are_sampled_however_the_corpus_is_batched(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sequences = model_of(model_type), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    lengths = {
        sequence.sample.id: len(sequence) for sequence in sequences if splits[sequence.sample.id] == "evaluation"
    }
    stride = -(-sum(lengths.values()) // 60)
    seen = plain(model, model_type, sequences)
    key = next(key for key in seen.rows if key[0] == "layers.1.mlp_in")
    picked, expected = [], {}
    for batch_tokens in (1, 70, 150):
        observer, rows = sampled(monkeypatch, model, sequences, batch_tokens, 60, key[0])
        assert observer.stride == stride > 1
        tokens = whose(rows, seen, key, set(lengths))
        assert len(tokens) == len(rows)
        picked.append(tokens)
        for (site, name), sums in observer.fidelity.sums.items():
            place = (site, name, frozenset(tokens))
            if place not in expected:
                expected[place] = wanted_of(seen, site, name, splits, tokens)
            check(sums, expected[place], name, exactly=False)
    assert picked[0] == picked[1] == picked[2]
    per_sample = {sample: sorted(position for s, position in picked[0] if s == sample) for sample in lengths}
    for sample, positions in per_sample.items():
        assert len(positions) in (lengths[sample] // stride, -(-lengths[sample] // stride))
    assert len({positions[0] for positions in per_sample.values() if positions}) > 1
    assert len(picked[0]) == pytest.approx(sum(lengths.values()) / stride, rel=0.1)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_pairs_that_are_sampled_inside_experts_are_those_of_the_sampled_tokens(
    implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sequences = model_of("gpt_oss", implementation=implementation), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    seen = plain(model_of("gpt_oss"), "gpt_oss", sequences)
    observer, rows = sampled(monkeypatch, model, sequences, 150, 60, "layers.2.mlp_in")
    tokens = whose(
        rows,
        seen,
        ("layers.2.mlp_in", "experts"),
        {sample for sample, split in splits.items() if split == "evaluation"},
    )
    assert observer.padded_tokens > 0
    sums = observer.fidelity.sums
    for layer in range(3):
        for name in NAMES:
            site = f"layers.{layer}.down_in"
            wanted = wanted_of(seen, site, name, splits, tokens)
            assert ((site, name) in sums) == (wanted.tokens > 0)
            if wanted.tokens:
                assert wanted.tokens == 2 * len(tokens)
                check(sums[site, name], wanted, name, exactly=False)


def test_the_sqnr_of_a_sample_lies_within_four_standard_errors_of_that_of_all_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, sequences = model_of("qwen3"), encoded(LONG)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    everything = observed(model, sequences, 200)
    sample, _ = sampled(monkeypatch, model, sequences, 200, 120, "layers.0.qkv_in")
    tokens = sum(len(sequence) for sequence in sequences if splits[sequence.sample.id] == "evaluation")
    assert everything.stride == 1 < sample.stride
    found, of_all = sample.fidelity.sums, everything.fidelity.sums
    assert set(found) == set(of_all)
    for key, sums in found.items():
        # one clipped entry may be most of their error, and a small sample lacks it
        if QUANTIZERS[key[1]].static:
            continue
        full, error = of_all[key], sums.sqnr_error_db(tokens)
        assert full.tokens == tokens
        assert full.sqnr_error_db(tokens) == 0.0
        assert 0.0 < error < 1.5
        assert abs(sums.sqnr_db - full.sqnr_db) <= 4 * error, key
