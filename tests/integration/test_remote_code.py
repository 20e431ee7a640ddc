"""Modelling code that comes with the weights: off by default, resolved by structure when opted in."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.settings.settings import Settings
from tests.support import remote_code, tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import encoded, loaded, observed, plain_maxima, record_of


@pytest.fixture(scope="module")
def ling(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    return remote_code.write(tmp_path_factory.mktemp("remote") / "ling")


def trusted(folder: Path) -> Any:
    settings = Settings(model=str(folder), trust_remote_code=True)
    return load(locate(settings), settings).model


def test_it_does_not_run_unless_trusted(ling: Path) -> None:
    with pytest.raises(InputError, match="its code comes with the weights: review it, then add `trust_remote_code`"):
        locate(Settings(model=str(ling)))


def test_a_gate_names_the_option_that_trusts_it(pytester: pytest.Pytester, ling: Path, corpus: Path) -> None:
    run_gate(
        pytester,
        f"--maxact-model={ling}",
        f"--maxact-corpus={corpus}",
        refuses="its code comes with the weights: review it, then add --maxact-trust-remote-code",
    )


def test_trusted_it_is_measured_in_full_and_the_record_says_so(ling: Path, corpus: Path) -> None:
    record = record_of(ling, corpus, trust_remote_code=True, batch_tokens=40)
    assert record.provenance.remote_code
    kinds = {
        name: [r.site.kind for r in record.sites.values() if r.site.layer == i]
        for i, name in enumerate(("dense", "sparse", "last"))
    }
    assert kinds["dense"] == ["hidden", "attn_output", "mlp_output", "gate"]
    assert kinds["sparse"] == kinds["last"] == ["hidden", "attn_output", "mlp_output", "gate", "router"]
    assert record.provenance.layers == 3
    assert record["layers.1.gate"].count == record.tokens * (2 * 32 + 16)
    assert record["embedding"].count == record.tokens * 64


def test_its_maxima_are_those_of_plain_hooks(ling: Path) -> None:
    model = trusted(ling)
    sequences = encoded([9, 17, 5, 12, 9, 3])
    observer = observed(model, sequences, batch_tokens=64)
    assert observer.padded_tokens > 0
    read = {"embedding": (model.word_embeddings, "output", 0), "final_norm": (model.norm, "output", 0)}
    for i, layer in enumerate(model.layers[: tiny.LAYERS]):
        read[f"layers.{i}.hidden"] = (layer, "output", 0)
        read[f"layers.{i}.attn_output"] = (layer.attention, "output", 0)
        read[f"layers.{i}.mlp_output"] = (layer.mlp, "output", 0)
        if i:
            read[f"layers.{i}.router"] = (layer.mlp.gate, "output", 2)
        else:
            read[f"layers.{i}.gate"] = (layer.mlp.gate_proj, "output", 0)
    del read["embedding"]
    expected = plain_maxima(model, sequences, read)
    found = {name: abs(observer.accumulators[name].peaks[0].value) for name in expected}
    assert found == pytest.approx(expected, rel=1e-4)
    looked_up = max(model.word_embeddings.weight[list(s.ids)].abs().max().item() for s in sequences)
    assert abs(observer.accumulators["embedding"].peaks[0].value) == looked_up


def test_a_router_without_logits_is_refused(ling: Path) -> None:
    model = trusted(ling)
    router = model.layers[1].mlp.gate
    router.forward = lambda states: (torch.zeros(15, 2, dtype=torch.long), torch.ones(15, 2), torch.zeros(3))
    with pytest.raises(MeasureError, match="0 products with its matrix where one was expected"):
        observed(model, encoded([5, 5, 5]))


def test_inputs_of_experts_in_a_list_are_those_of_plain_hooks_counted_once(ling: Path) -> None:
    model = trusted(ling)
    sequences = encoded([9, 17, 5, 12, 9, 3])
    anatomy = resolve(model, model.config, linear_inputs=True)
    observer = observe(loaded(model), anatomy, sequences, 64, schemes=[SCHEMES["W8A8"]])
    assert observer.padded_tokens > 0
    read: dict[str, tuple[torch.nn.Module, str, object]] = {}
    for i, layer in enumerate(model.layers[: tiny.LAYERS]):
        blocks = [layer.mlp] if not i else [*layer.mlp.experts, layer.mlp.shared_experts]
        for number, block in enumerate(blocks):
            read[f"layers.{i}.mlp_in {number}"] = (block.up_proj, "input", 0)
            read[f"layers.{i}.down_in {number}"] = (block.down_proj, "input", 0)
    expected: dict[str, float] = {}
    for name, value in plain_maxima(model, sequences, read).items():
        site = name.split(" ")[0]
        expected[site] = max(expected.get(site, 0.0), value)
    assert {name: abs(observer.accumulators[name].peaks[0].value) for name in expected} == pytest.approx(
        expected, rel=1e-4
    )
    tokens = sum(map(len, sequences))
    counted = sum(
        int(observer.accumulators["layers.1.mlp_in"].dense_counts(split).sum())
        for split in ("calibration", "evaluation")
    )
    assert counted == tokens * 64 * (2 + 1), "two experts to a token, and the shared one"
    weights = [weight for tap in anatomy.linears if tap.site.name == "layers.1.mlp_in" for weight in tap.weights]
    assert len(weights) == len(set(weights)) == 2 * (len(model.layers[1].mlp.experts) + 1)


def test_of_rows_whose_tokens_are_not_known_one_in_so_many_is_sampled(
    ling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the first row of every expert's call, which would let an expert with few rows count for more than it has."""
    monkeypatch.setattr("pytest_maxact.measure.observe.observer.SAMPLED_TOKENS", 40)
    model = trusted(ling)
    sequences = encoded([30] * 24)
    observer = observe(
        loaded(model), resolve(model, model.config, linear_inputs=True), sequences, 90, schemes=[SCHEMES["W8A8"]]
    )  # fmt: skip
    tokens = observer.tokens["evaluation"]
    assert observer.stride >= 8
    sampled = observer.fidelity.sums["layers.1.down_in", "W8A8"].tokens
    batches = sum(
        batch.split == "evaluation"
        for batch in corpus.plan_batches(sequences, corpus.assign_splits([s.sample for s in sequences]), 90)
    )
    assert abs(sampled - 3 * tokens / observer.stride) <= 2 * batches
