"""With which baselines a checkpoint may be compared, as that is known before it is measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.gate.candidate import Candidate, open_source
from pytest_maxact.gate.comparable import require_comparable, require_sound
from pytest_maxact.gate.sources import Source
from pytest_maxact.numbers.sites import LINEAR_KINDS
from pytest_maxact.record.file import save
from pytest_maxact.settings.settings import Settings
from tests.support import records

VALUES = {"embedding": [[1.0, 2.0]], "layers.0.hidden": [[4.0, -8.0]], "layers.1.hidden": [[4.0, -8.0]]}


def opened(
    folder: Path, name: str = "v1", values: dict[str, list[list[float]]] | None = None, **provenance: object
) -> Candidate:
    path = folder / f"{name}.safetensors"
    save(records.record(values or VALUES, **provenance), path)
    return open_source(Source(name=name, path=str(path), is_record=True), Settings(replay=str(path)))


def refusal(subject: Candidate, baseline: Candidate) -> str:
    with pytest.raises(InputError) as caught:
        require_comparable(subject, baseline, "`baseline` v1.safetensors")
    message = str(caught.value)
    assert message.startswith("`baseline` v1.safetensors cannot be compared with new: ")
    assert len(message.splitlines()) == 2
    return message


def test_records_measured_alike_are_comparable_whatever_their_weights(tmp_path: Path) -> None:
    require_comparable(
        opened(tmp_path, "new"), opened(tmp_path, weights_sha256="x" * 64, model="other", device="cuda:0"), "a baseline"
    )


@pytest.mark.parametrize("field", ["corpus_sha256", "tokenizer_sha256", "protocol", "dtype"])
def test_what_was_measured_otherwise_is_refused_with_both_values(field: str, tmp_path: Path) -> None:
    baseline = opened(tmp_path)
    baseline = replace(baseline, footing=replace(baseline.footing, **{field: "another"}))  # type: ignore[arg-type]
    new = opened(tmp_path, "new")
    assert f"they differ in {field} (another there, {str(getattr(new.footing, field))[:12]} here)" in refusal(
        new, baseline
    )
    assert "they differ in max_seq_len (7 there, 4096 here)" in refusal(new, opened(tmp_path, max_seq_len=7))


def test_a_tokenizer_in_other_words_may_be_the_sources_where_the_ids_are_and_no_baselines(tmp_path: Path) -> None:
    new = opened(tmp_path, "new", tokens_sha256="ids")
    other = opened(tmp_path, tokenizer_sha256="another", tokens_sha256="ids")
    require_comparable(new, other, "a source", is_source=True)
    assert "they differ in tokenizer_sha256" in refusal(new, other)
    for ids in ("others", None):
        unlike = replace(other, footing=replace(other.footing, tokens_sha256=ids))
        with pytest.raises(InputError, match="they differ in tokenizer_sha256"):
            require_comparable(new, unlike, "a source", is_source=True)


def test_what_only_loading_can_tell_is_left_to_the_verdict(tmp_path: Path) -> None:
    new = opened(tmp_path, "new")
    require_comparable(
        replace(new, footing=replace(new.footing, dtype=None)), opened(tmp_path, dtype="float16"), "a baseline"
    )


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    """Qwen3-0.6B and Qwen3-1.7B have the same layers, sites and tokenizer."""
    assert "it is a model of 2 layers x 8, this one of 2 layers x 4" in refusal(
        opened(tmp_path, "new"), opened(tmp_path, hidden_size=8)
    )


def test_sites_on_one_side_only_are_refused(tmp_path: Path) -> None:
    more, less = opened(tmp_path, "new", {**VALUES, "layers.0.gate": [[1.0, 1.0]]}), opened(tmp_path, "new")
    assert "it has no layers.0.gate, so not every site could be (1 such sites)" in refusal(more, less)
    assert "it has layers.0.gate, which is not here, so not every site could be (1 such sites)" in refusal(less, more)


def test_a_baseline_may_have_linear_inputs_that_nobody_asks_for_and_not_lack_them(tmp_path: Path) -> None:
    linear = {f"layers.0.{kind}": [[1.0, 1.0]] for kind in LINEAR_KINDS}
    plain, deep = opened(tmp_path, "new"), opened(tmp_path, "new", {**VALUES, **linear})
    require_comparable(plain, deep, "a baseline")
    assert "it has no layers.0." in refusal(deep, plain)


def test_a_scheme_that_the_baseline_was_not_measured_under_is_refused(tmp_path: Path) -> None:
    new = opened(tmp_path, "new", schemes=("W8A8", "FP8"))
    assert "it was not measured under FP8" in refusal(new, opened(tmp_path, schemes=("W8A8",)))
    require_comparable(opened(tmp_path, "new"), opened(tmp_path, schemes=("W8A8",)), "a baseline")


def test_a_broken_baseline_is_refused(tmp_path: Path) -> None:
    require_sound(opened(tmp_path), "`baseline` v1")
    broken = opened(tmp_path, values={**VALUES, "layers.0.hidden": [[float("nan"), 1.0]]})
    with pytest.raises(InputError, match=r"`baseline` v1: layers\.0\.hidden holds NaN or infinite entries"):
        require_sound(broken, "`baseline` v1")
