"""What a model predicts is what its whole forward pass predicts, sample by sample, and what it is held against is how
often tokens occur elsewhere.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence
from pytest_maxact.measure.predict import LEADING, TOKENS, Shares, chosen
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.effects import ARCHITECTURES, headed

LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6, 12, 10, 15, 8]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("texts") / "corpus.jsonl", tiny.sentences(LENGTHS))


def predicted(folder: Path, model: Any, texts: Path, **options: Any) -> tuple[Predictions, Any]:
    settings = Settings(model=str(tiny.save(folder, model)), corpus=str(texts), **options)
    prepared = prepare(settings)
    found = measure(prepared, settings, None).predictions
    assert found is not None
    return found, prepared


@pytest.mark.parametrize("model_type", ARCHITECTURES)
@pytest.mark.parametrize("batch_tokens", [1, 40])
def test_it_is_what_the_whole_model_predicts_of_one_sample_at_a_time(
    model_type: str, batch_tokens: int, texts: Path, tmp_path: Path
) -> None:
    """Soft caps, scales of logits and biases among them; batches are padded."""
    model = headed(model_type)
    found, prepared = predicted(tmp_path / "m", model, texts, batch_tokens=batch_tokens)
    expected: dict[str, list[float]] = {}
    for sequence, tokens in chosen(prepared.sequences).values():
        ids = torch.tensor(sequence.ids)
        with torch.inference_mode():
            logits = model(ids[None]).logits[0].double()
        surprise = -logits.log_softmax(1)[:-1].gather(1, ids[1:, None])[:tokens, 0]
        expected.setdefault(sequence.sample.category, []).extend(surprise.tolist())
    assert [one.category for one in found.categories] == sorted(expected)
    for one in found.categories:
        assert one.tokens == len(expected[one.category])
        assert one.surprise == pytest.approx(float(np.mean(expected[one.category])), abs=2e-3)
        assert one.nonfinite == 0


def test_a_head_that_gives_nothing_finite_is_counted_token_by_token(texts: Path, tmp_path: Path) -> None:
    model = headed("llama")
    with torch.no_grad():
        model.lm_head.weight[3] = math.nan
    found, _ = predicted(tmp_path / "m", model, texts)
    assert found.tokens == found.nonfinite > 20
    assert math.isnan(found.margin)


@pytest.mark.parametrize("named", [["Qwen3Model"], ["LlamaModel"]])
def test_a_checkpoint_without_a_head_says_so(named: list[str], checkpoint: Path, texts: Path, tmp_path: Path) -> None:
    settings = Settings(model=str(checkpoint), corpus=str(texts))
    prepared = prepare(settings)
    prepared.checkpoint.config.architectures = named
    found = measure(prepared, settings, None).predictions
    assert found is not None
    assert (found.unchecked, found.by_design) == ("config.json names Qwen3Model, which has no LM head", True)


def test_a_head_that_the_files_lack_is_no_head_by_design(texts: Path, tmp_path: Path) -> None:
    model = headed("llama")
    folder = tiny.save(tmp_path / "m", model)
    from tests.support.gate_runs import drop_tensor

    drop_tensor(folder, "lm_head.weight")
    settings = Settings(model=str(folder), corpus=str(texts))
    found = measure(prepare(settings), settings, None).predictions
    assert found is not None
    assert (found.tokens, found.by_design) == (0, False)
    assert "lack the LM head (lm_head.weight)" in found.unchecked


def sequences(*rows: tuple[str, tuple[int, ...]]) -> list[Sequence]:
    return [
        Sequence(sample=Sample(id=f"{name}{i:03d}", category=name, text=f"{i}"), ids=ids)
        for i, (name, ids) in enumerate(rows)
    ]


def test_what_it_is_held_against_never_saw_the_sample_itself() -> None:
    """By Witten and Bell: a sample of other tokens than all others is as surprising as tokens that never occur."""
    some = sequences(("a", (0, 0, 1)), ("a", (0, 2, 2, 2)), ("b", (3, 3)))
    here, everywhere, alike = Shares(some, 5).surprise(some[0], 2)
    # others in all: 0 once, 2 and 3 three and two times; of 6 tokens 3 kinds
    shares = {token: (count + 3 / 5) / 9 for token, count in {0: 1, 1: 0}.items()}
    assert everywhere == pytest.approx([-math.log(shares[0]), -math.log(shares[1])])
    # others of the category: 0 once, 2 three times; of 4 tokens 2 kinds
    assert here == pytest.approx([-math.log((1 + 2 * shares[0]) / 6), -math.log(2 * shares[1] / 6)])
    assert alike == pytest.approx([math.log(5)] * 2)
    (lonely,) = sequences(("c", (1, 1, 1)))
    assert Shares([lonely], 5).surprise(lonely, 2) == pytest.approx(np.full((3, 2), math.log(5)))


def test_every_category_has_its_part_of_the_tokens_in_leading_parts_of_samples() -> None:
    many = [("a", tuple(range(2000)))] * 30 + [("b", (1, 2, 3))] * 30 + [("c", (1,))] * 30
    found = chosen(sequences(*many))
    by_category = {name: [n for s, n in found.values() if s.sample.category == name] for name in "abc"}
    assert set(by_category["a"]) == {LEADING}
    assert sum(by_category["a"]) == TOKENS // 2
    assert set(by_category["b"]) == {2}
    assert by_category["c"] == []
