"""Parts of one corpus merge, in any order, to the identical whole; what are no such parts is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.file import save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.predictions import Predicted, Predictions
from pytest_maxact.record.provenance import Context, corpus_digest, merged_context
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.fitness import effect
from tests.support.records import Measured, record_of
from tests.support.samples import SITES, measured

patient = settings(deadline=None)


@pytest.fixture
def record() -> Record:
    return record_of(measured(6))


@patient
@given(st.data())
def test_parts_of_any_sizes_in_any_order_merge_to_the_whole(data: st.DataObject) -> None:
    samples = measured(data.draw(st.integers(2, 9)), seed=data.draw(st.integers(0, 50)))
    owner = [data.draw(st.integers(0, 3)) for _ in samples]
    parts = [record_of([s for s, o in zip(samples, owner, strict=True) if o == part]) for part in sorted(set(owner))]
    assert merge(data.draw(st.permutations(parts))) == record_of(samples)


def test_merging_parts_of_parts_gives_the_same_file(tmp_path: Path) -> None:
    samples = measured(8)
    a, b, c, d = (record_of(samples[i::4]) for i in range(4))
    save(record_of(samples), tmp_path / "whole")
    save(merge([merge([d, b]), merge([a, c])]), tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


def test_merged_provenance_lists_every_sample_once_and_sums_the_batches() -> None:
    samples = measured(5)
    parts = [
        record_of(samples[:1], batching={"batch_tokens": 64, "batches": 1, "padded_tokens": 7}),
        record_of(samples[1:]),
    ]
    parts[1] = replace(
        parts[1],
        provenance=replace(parts[1].provenance, batching={"batch_tokens": 64, "batches": 4, "padded_tokens": 5}),
    )
    joined = merge(reversed(parts)).provenance
    assert [sample[0] for sample in joined.samples] == ["s00", "s01", "s02", "s03", "s04"]
    assert joined.corpus_sha256 == corpus_digest([records.digest_of(f"s0{i}") for i in (4, 1, 0, 2, 3)])
    assert joined.batching == {"batch_tokens": 64, "batches": 5, "padded_tokens": 12}


def test_one_part_alone_is_itself(record: Record) -> None:
    assert merge([record]) == record


def test_equal_peaks_rank_by_place_and_only_ten_are_kept() -> None:
    tied = [Measured(id=f"s{i}", values={"layers.0.hidden": np.full((4, 2), (-1.0) ** i * 5.0)}) for i in range(4)]
    joined = merge([record_of(tied[2:]), record_of(tied[:2])])
    places = [(peak.sample, peak.position, peak.channel) for peak in joined["layers.0.hidden"].peaks]
    assert places == [("s0", token, channel) for token in range(4) for channel in range(2)] + [
        ("s1", 0, 0),
        ("s1", 0, 1),
    ]


def test_equal_peaks_of_opposite_sign_whose_rows_are_hidden_merge_in_any_order_to_the_same() -> None:
    """Behind routing neither sample nor position is known: (empty, -1) for all."""

    def part(name: str, sign: float) -> Record:
        whole = record_of([Measured(id=name, values={"layers.0.gate": [[1.0, 2.0]]})])
        hidden = tuple(
            Peak(value=sign * 9.0, sample="", position=-1, token="", token_id=-1, channel=1, part="experts")
            for _ in range(7)
        )
        return replace(whole, sites={"layers.0.gate": replace(whole["layers.0.gate"], peaks=hidden)})

    one, other = part("s0", 1.0), part("s1", -1.0)
    assert merge([one, other]) == merge([other, one])


def test_the_first_non_finite_entry_of_all_parts_is_kept() -> None:
    clean, *broken = (
        Measured(id=f"s{i}", values={"embedding": [[0.0, 1.0], [bad, 1.0]]})
        for i, bad in enumerate((1.0, np.nan, np.inf))
    )
    joined = merge([record_of([broken[1]]), record_of([clean]), record_of([broken[0]])])
    assert joined["embedding"].first_nonfinite == NonFinite(sample="s1", position=1, token="t1", channel=0)
    assert joined["embedding"].nonfinite == 2


def test_massive_activations_of_parts_add() -> None:
    one, none = Massive(tokens=2, entries=3, max_ratio=1200.0), Massive()
    assert one + Massive(tokens=1, entries=1, max_ratio=5000.0) == Massive(tokens=3, entries=4, max_ratio=5000.0)
    assert one + none == none + one == one
    assert none + none == none


def test_parts_that_share_a_sample_are_refused() -> None:
    samples = measured(4)
    with pytest.raises(InputError, match="these Records share texts, the first s02 in one and s02 in another; merging"):
        merge([record_of(samples[:3]), record_of(samples[2:])])


def test_different_texts_by_one_id_are_refused_with_how_to_name_them() -> None:
    one, other = (record_of([sample]) for sample in measured(2))
    names = one.provenance.samples
    twin = replace(other, provenance=replace(other.provenance, samples=((names[0][0], *names[0][1:]),)))
    with pytest.raises(InputError) as caught:
        merge([one, twin])
    assert str(caught.value) == (
        "these Records call different texts by one id, the first s00; the whole could not tell them apart\n"
        "  give every line of the corpus an id of its own, or none; an earlier version counted lines without"
    )


def _with_texts(record: Record, *texts: str) -> Record:
    return replace(record, provenance=replace(record.provenance, text_digests=texts))


def test_a_text_under_another_category_is_seen_where_both_parts_tell_their_texts() -> None:
    one, other = (record_of([sample]) for sample in measured(2))
    with pytest.raises(InputError, match="share texts, the first s00 in one and s01 in another"):
        merge([_with_texts(one, "same"), _with_texts(other, "same")])
    assert merge([_with_texts(one, "same"), other]).provenance.text_digests == (), "an earlier Record does not tell"


def test_texts_of_parts_stand_beside_their_samples() -> None:
    one, other = (record_of([sample]) for sample in measured(2))
    assert merge([_with_texts(other, "b"), _with_texts(one, "a")]).provenance.text_digests == ("a", "b")


def test_a_text_that_one_part_repeats_is_no_shared_one() -> None:
    samples = measured(3)
    repeating = _with_texts(record_of(samples[:2]), "same", "same")
    assert len(merge([repeating, _with_texts(record_of(samples[2:]), "other")]).provenance.samples) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights_sha256", "other"),
        ("config_sha256", "other"),
        ("tokenizer_sha256", "other"),
        ("protocol", "deployed"),
        ("dtype", "float16"),
        ("max_seq_len", 512),
        ("template_date", "2020-01-01"),
        ("attention", "eager"),
        ("left_out", ("*.gate",)),
        ("schemes", ("W8A8",)),
        ("sampling", (64, 8)),
        ("experts", "grouped_mm"),
    ],
)
def test_parts_measured_differently_are_refused_with_what_differs(field: str, value: object) -> None:
    samples = measured(4)
    first, last = record_of(samples[:2]), record_of(samples[2:], **{field: value})
    for parts in ([first, last], [last, first]):
        with pytest.raises(InputError, match=f"not parts of one measurement; they differ in {field}$"):
            merge(parts)


def test_a_third_part_that_differs_is_refused_too() -> None:
    samples = measured(6)
    with pytest.raises(InputError, match=r"they differ in weights_sha256, protocol$"):
        merge(
            [
                record_of(samples[:2]),
                record_of(samples[2:4]),
                record_of(samples[4:], weights_sha256="x", protocol="deployed"),
            ]
        )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["fewer last", "fewer first"])
def test_parts_with_different_sites_are_refused(order: tuple[int, int]) -> None:
    """One of them left sites out: what is missing there would silently be missing from the whole."""
    samples = measured(4)
    fewer = [
        replace(sample, values={name: sample.values[name] for name in SITES if "gate" not in name})
        for sample in samples[2:]
    ]
    parts = [record_of(samples[:2]), record_of(fewer, left_out=("*.gate",))]
    with pytest.raises(InputError, match="differ"):
        merge(parts[place] for place in order)


def test_readings_of_different_dtype_or_width_do_not_merge() -> None:
    one = records.reading([1.0], [2.0])
    for change in ({"dtype": "float32"}, {"width": 2}, {"site": replace(one.site, module="elsewhere")}):
        with pytest.raises(
            InputError, match=r"readings of layers.0.hidden differ in dtype, width or module and do not merge"
        ):
            one + replace(one, **change)


def test_parts_that_share_a_text_are_refused_whatever_it_is_called() -> None:
    one, other = (record_of([sample]) for sample in measured(2))
    names = other.provenance.samples
    twin = replace(other, provenance=replace(other.provenance, sample_digests=one.provenance.sample_digests))
    with pytest.raises(InputError) as caught:
        merge([one, twin])
    assert f"share texts, the first {one.provenance.samples[0][0]} in one and {names[0][0]} in another" in str(
        caught.value
    )
    assert merge([one, other]).tokens == one.tokens + other.tokens


def test_a_text_of_the_first_part_is_seen_in_the_third() -> None:
    first, second, third = (record_of([sample]) for sample in measured(3))
    twin = replace(third, provenance=replace(third.provenance, sample_digests=first.provenance.sample_digests))
    with pytest.raises(InputError) as caught:
        merge([first, second, twin])
    assert str(caught.value) == (
        "these Records share texts, the first s00 in one and s02 in another; merging them would count those twice\n"
        "  cut the corpus into parts that share none"
    )


def test_what_does_not_add_up_is_refused_on_either_side() -> None:
    samples = measured(4)
    one, other = record_of(samples[:2]), record_of(samples[2:])
    parts = "these Records are not parts of one measurement; they"
    fewer = replace(other, sites={name: other.sites[name] for name in list(other.sites)[1:]})
    for changed, said in (
        (fewer, f"{parts} observed different sites"),
        (
            replace(other, effects={"W8A8": effect("W8A8", 0.1)}),
            "the effect of a scheme on predictions does not add up over parts of a corpus; measure it on the whole",
        ),
        (replace(other, weights=None), f"{parts} differ in what their weights hold"),
        (
            summary(other),
            "a slim Record holds no histograms that add up\n  merge Records that were measured without `slim`",
        ),
    ):
        for pair in ([one, changed], [changed, one]):
            with pytest.raises(InputError) as caught:
                merge(pair)
            assert str(caught.value) == said


def test_files_are_kept_where_all_parts_read_the_same() -> None:
    def part(sample: Measured, files: tuple[tuple[str, str], ...]) -> Record:
        return record_of([sample], files=files)

    one, other = measured(2)
    read = (("model.safetensors", "a" * 64),)
    assert merge([part(one, read), part(other, read)]).provenance.files == read
    assert merge([part(one, read), part(other, ())]).provenance.files == ()


def test_how_text_fits_the_model_is_told_of_all_parts() -> None:
    one, other = measured(2)
    fits = Context(cut=1, distinct=3, longest=4, positions=8)
    whole = merge([record_of([one], context=fits), record_of([other], context=fits)])
    assert whole.provenance.context == merged_context([fits, fits])
    assert whole.provenance.context is not None


def test_what_deployment_adds_is_of_all_parts_together(record: Record) -> None:
    samples = measured(6)
    parts = [
        record_of(samples[i::2], deployed=AsDeployed(added=("BOS",), samples=1 + i, tokens=10 + i)) for i in range(2)
    ]
    assert merge(parts).provenance.deployed == AsDeployed(added=("BOS",), samples=3, tokens=21)
    assert merge([parts[0], record_of(samples[1::2], deployed=None)]).provenance.deployed is None


def test_predictions_of_parts_add_up_and_are_unknown_where_those_of_one_are() -> None:
    samples = measured(6)
    told = [
        replace(
            record_of(samples[i::2]),
            predictions=Predictions(categories=(Predicted(category="a", tokens=4, nonfinite=i, nll=2.0, unigram=8.0),)),
        )
        for i in range(2)
    ]
    assert merge(told).predictions == Predictions(
        categories=(Predicted(category="a", tokens=8, nonfinite=1, nll=4.0, unigram=16.0),)
    )
    assert merge([told[0], replace(told[1], predictions=None)]).predictions is None
