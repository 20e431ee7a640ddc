"""What of a text's fit to its model stands beside the verdict."""

from dataclasses import replace

import pytest

from pytest_maxact.judge.context import context_remarks
from pytest_maxact.record.merge import merge
from pytest_maxact.record.provenance import Context, merged_context
from tests.support.records import record_of
from tests.support.samples import measured


def remarks(context: Context | None, max_seq_len: int = 64) -> list[str]:
    return list(context_remarks(context, 10, max_seq_len))


@pytest.mark.parametrize(
    ("cut", "positions", "told"), [(1, 64, True), (10, 64, True), (0, 64, False), (10, 128, False), (10, None, False)]
)
def test_samples_that_the_models_own_positions_cut_are_told(cut: int, positions: int | None, told: bool) -> None:
    found = remarks(Context(cut=cut, distinct=900, longest=64, positions=positions))
    verb = "is" if cut == 1 else "are"
    words = f"{cut} of 10 samples {verb} cut to 64 tokens, for which alone the config states positions "
    assert found == ([words + "(max_position_embeddings)"] if told else [])


def test_a_text_of_few_different_tokens_is_told() -> None:
    assert remarks(Context(cut=0, distinct=16, longest=9, positions=64)) == []
    assert remarks(Context(cut=0, distinct=15, longest=9, positions=64)) == [
        "the whole corpus has 15 different tokens in this model's tokenizer"
    ]


def test_of_a_record_of_an_earlier_version_nothing_is_told() -> None:
    assert remarks(None) == []


def test_parts_add_up_and_one_that_does_not_know_leaves_none() -> None:
    one = Context(cut=2, distinct=30, longest=64, positions=64)
    other = Context(cut=1, distinct=50, longest=20, positions=64)
    assert merged_context([one, other]) == Context(cut=3, distinct=50, longest=64, positions=64)
    assert merged_context([one, None]) is None
    parts = [record_of(measured(6)[:3]), record_of(measured(6)[3:])]
    known = [replace(part, provenance=replace(part.provenance, context=one)) for part in parts]
    assert merge(known).provenance.context == replace(one, cut=4)


def test_positions_that_models_of_language_have_cut_samples_without_a_remark() -> None:
    cut = Context(cut=10, distinct=900, longest=512, positions=512)
    assert remarks(cut, 512) == []
    assert remarks(replace(cut, longest=511, positions=511), 511) != []
