"""What a Record tells of a model's own predictions: figures, merging, and what is refused."""

import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.file import load, save
from pytest_maxact.record.predictions import Predicted, Predictions
from pytest_maxact.record.reading import SPLITS
from tests.support.records import record


def category(name: str, margin: float, tokens: int = 8, nonfinite: int = 0) -> Predicted:
    return Predicted(
        category=name, tokens=tokens, nonfinite=nonfinite, nll=4.0 * tokens, unigram=(4.0 + margin) * tokens
    )


def told(*categories: Predicted) -> Predictions:
    return Predictions(categories=categories)


def test_the_category_in_the_middle_counts_and_perplexity_is_of_all_tokens() -> None:
    found = told(category("a", -7.0), category("b", 0.5), category("c", 2.0, tokens=24))
    assert found.margin == 0.5
    assert found.perplexity == pytest.approx(math.exp(4.0))
    assert (found.tokens, found.nonfinite) == (40, 0)


@pytest.mark.parametrize("broken", [category("b", 0.5, nonfinite=1), category("b", 0.5, tokens=0)])
def test_one_category_that_is_not_told_leaves_no_figure(broken: Predicted) -> None:
    found = told(category("a", 1.0), broken, category("c", 1.0))
    assert math.isnan(found.margin)
    assert math.isnan(found.perplexity) == bool(broken.nonfinite)


def test_a_surprise_beyond_all_numbers_is_infinite_and_raises_nothing() -> None:
    assert told(Predicted(category="a", tokens=1, nonfinite=0, nll=900.0, unigram=3.0)).perplexity == math.inf


def test_parts_add_up_in_any_order() -> None:
    parts = [told(category("a", 0.1 * i, tokens=i + 1), category(f"b{i % 2}", 1 / (i + 3))) for i in range(4)]
    sums = {repr(a + b + c + d) for a, b, c, d in permutations(parts)}
    assert len(sums) == 1
    assert (parts[0] + parts[1]).tokens == sum(part.tokens for part in parts[:2])


def test_a_file_holds_them_and_refuses_more_tokens_than_the_samples_have(tmp_path: Path) -> None:
    measured = record({"embedding": [[1.0, 2.0]], "layers.0.hidden": [[1.0, 2.0]]}, layers=1, hidden_size=2)
    name = next(category for _, category, split, _ in measured.provenance.samples if split == SPLITS[1])
    for predictions in (told(category(name, 1.0, tokens=0)), Predictions(unchecked="no head", by_design=True)):
        save(replace(measured, predictions=predictions), tmp_path / "r")
        assert load(tmp_path / "r").predictions == predictions
    for wrong in (category(name, 1.0, tokens=10**6), category("other", 1.0), category(name, 1.0, 1, nonfinite=2)):
        save(replace(measured, predictions=told(wrong)), tmp_path / "w")
        with pytest.raises(InputError, match=r"predictions\.categories\.0\."):
            load(tmp_path / "w")
