"""Measured alike: which fields decide it, for comparing and for merging."""

from dataclasses import fields, replace

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.comparability import (
    Footing,
    Origin,
    differences,
    footing_of,
    is_same_origin,
    origin_of,
    part_differences,
    record_differences,
    require_alike,
)
from tests.support import records

VALUES = {"embedding": [[1.0, 2.0]], "layers.0.hidden": [[4.0, 8.0]]}


@pytest.mark.parametrize("field", [field.name for field in fields(Footing)])
def test_each_field_of_a_footing_tells_measurements_apart(field: str) -> None:
    here = footing_of(records.provenance())
    there = replace(here, **{field: "another"})
    assert differences(here, here) == []
    assert [words.split(" ")[0] for words in differences(there, here)] == [field]


def test_what_is_not_known_yet_differs_from_nothing() -> None:
    here = footing_of(records.provenance())
    unknown = replace(here, dtype=None)
    assert differences(unknown, here) == differences(here, unknown) == []


def test_a_digest_is_told_by_its_beginning() -> None:
    here = footing_of(records.provenance())
    words = differences(replace(here, tokenizer_sha256="a" * 64), here)
    assert words == [f"tokenizer_sha256 ({'a' * 12} there, {'t' * 12} here)"]


@pytest.mark.parametrize(
    "field",
    [
        *("weights_sha256", "config_sha256", "template_date", "attention", "experts", "left_out", "schemes"),
        "sampling",
    ],
)
def test_parts_of_one_measurement_share_more_than_what_is_compared(field: str) -> None:
    one = records.provenance()
    other = replace(one, **{field: "another"})
    assert part_differences(one, other) == [field]
    assert differences(footing_of(one), footing_of(other)) == []


def test_other_sites_and_other_versions_of_metrics_differ() -> None:
    one = records.record(VALUES)
    other = replace(records.record({"embedding": [[1.0, 2.0]]}), metric_version=one.metric_version + 1)
    assert record_differences(one, other) == ["metric_version", "sites"]


def test_fewer_samples_are_named_beside_another_corpus() -> None:
    one = records.record(VALUES)
    fewer = records.record_of([records.Measured(id="s0", values=VALUES)])
    require_alike(one, one)
    with pytest.raises(InputError, match=r"corpus_sha256 \(.* there, .* here\); 2 samples there, 1 here"):
        require_alike(one, fewer)


@pytest.mark.parametrize(("digits", "tokens", "dtype", "same"), [
    (64, 4, "bfloat16", True), (8, 4, "bfloat16", True), (12, 5, "bfloat16", False), (12, 4, "float16", False),
])  # fmt: skip
def test_figures_of_limits_are_of_the_same_text_and_dtype(digits: int, tokens: int, dtype: str, same: bool) -> None:
    provenance = replace(records.record(VALUES).provenance, samples=(("s0", "math", "evaluation", 4),))
    stated = Origin(corpus="mine", sha256=provenance.corpus_sha256[:digits], tokens=tokens, dtype=dtype)
    assert is_same_origin(stated, origin_of(provenance)) is same
    assert not is_same_origin(replace(stated, sha256="0" * digits), origin_of(provenance))
