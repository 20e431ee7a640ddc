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
    here = replace(footing_of(records.provenance()), arithmetic="native", splits_sha256="s")
    there = replace(here, **{field: "another"})
    assert differences(here, here) == []
    assert [words.split(" ")[0] for words in differences(there, here)] == [field]


@pytest.mark.parametrize("field", ["corpus_sha256", "tokenizer_sha256", "protocol", "max_seq_len"])
def test_other_token_ids_are_not_named_beside_what_they_follow_from(field: str) -> None:
    here = footing_of(records.provenance())
    there = replace(here, tokens_sha256="other", **{field: "another"})
    assert [words.split(" ")[0] for words in differences(there, here)] == [field]
    both = replace(here, tokens_sha256="other", dtype="float16")
    assert differences(both, here) == [
        "dtype (float16 there, bfloat16 here)",
        f"tokens_sha256 (other there, {str(here.tokens_sha256)[:12]} here)",
    ]


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
    assert record_differences(one, one) == []
    elsewhere = replace(one, provenance=replace(one.provenance, dtype="float16"))
    assert record_differences(elsewhere, one) == ["dtype (float16 there, bfloat16 here)"]
    newer = replace(elsewhere, metric_version=one.metric_version + 1)
    assert record_differences(newer, one) == ["dtype (float16 there, bfloat16 here)", "metric_version"]


def test_fewer_samples_are_named_beside_another_corpus() -> None:
    one = records.record(VALUES)
    fewer = records.record_of([records.Measured(id="s0", values=VALUES)])
    require_alike(one, one)
    with pytest.raises(InputError, match=r"corpus_sha256 \(.* there, .* here\); 2 samples there, 1 here"):
        require_alike(one, fewer)


def test_what_was_not_measured_alike_is_refused_with_every_difference() -> None:
    one = records.record(VALUES)
    other = replace(one, provenance=replace(one.provenance, model="other", dtype="float16", max_seq_len=128))
    with pytest.raises(InputError) as caught:
        require_alike(one, other)
    assert str(caught.value) == (
        "somebody/model (there) and other (here) were not measured alike; they differ in "
        "dtype (bfloat16 there, float16 here), max_seq_len (4096 there, 128 here)\n"
        "  measure both on the same corpus, with the same tokenizer, protocol, dtype, arithmetic and cut"
    )


def test_where_figures_of_limits_come_from_is_told_as_limits_have_it() -> None:
    provenance = replace(records.provenance(), samples=(("s0", "math", "evaluation", 4),))
    assert origin_of(provenance) == Origin(
        corpus="built-in", sha256=provenance.corpus_sha256[:12], tokens=4, dtype="bfloat16"
    )


@pytest.mark.parametrize(("digits", "tokens", "dtype", "same"), [
    (64, 4, "bfloat16", True), (8, 4, "bfloat16", True), (12, 5, "bfloat16", False), (12, 4, "float16", False),
])  # fmt: skip
def test_figures_of_limits_are_of_the_same_text_and_dtype(digits: int, tokens: int, dtype: str, same: bool) -> None:
    provenance = replace(records.record(VALUES).provenance, samples=(("s0", "math", "evaluation", 4),))
    stated = Origin(corpus="mine", sha256=provenance.corpus_sha256[:digits], tokens=tokens, dtype=dtype)
    assert is_same_origin(stated, origin_of(provenance)) is same
    assert not is_same_origin(replace(stated, sha256="0" * digits), origin_of(provenance))
