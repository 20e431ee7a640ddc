"""Sums of samples in a Record: stored and read back as they were, added up over parts, kept of groups where there are
many, and held to the site's own sums.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.numbers.energies import HIGHEST, SampleSums, energies_of
from pytest_maxact.record import units
from pytest_maxact.record.by_sample_sums import packed_sums, unpacked_sums
from pytest_maxact.record.file import load, save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.merge import merge
from pytest_maxact.record.packing import squeezed
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.record.summary import summary
from pytest_maxact.record.units import GROUPS, Units, units_of
from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.records import provenance

SITE = "layers.1.down_in"
SCHEMES = ("W8A8", "FP8_DYNAMIC")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, list[Record]]:
    """A whole, and the parts of it."""
    folder = tmp_path_factory.mktemp("sums")
    model = tiny.save(folder / "model", tiny.random_model("qwen3"))
    corpus = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences([9, 14, 5, 17, 11, 7, 13, 6]))
    asked: dict[str, Any] = {"batch_tokens": 64, "schemes": SCHEMES}
    return record_of(model, corpus, **asked), [record_of(model, corpus, **asked, shard=f"{k}/2") for k in (2, 1)]


def kept(record: Record, site: str = SITE) -> SampleSums | None:
    held = record[site].held
    assert isinstance(held, Distributions)
    return held.sampled


codes = st.integers(0, HIGHEST)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.data())
def test_any_sums_come_back(samples: int, data: st.DataObject) -> None:
    def row() -> Any:
        return np.array(data.draw(st.lists(codes, min_size=samples, max_size=samples)), np.uint32)

    layout = [("o_in", ["A", "B"]), ("down_in", ["A"]), ("o_in", ["A", "B"]), ("o_in", ["B"])]
    found = [(kind, SampleSums(row(), {name: row() for name in names})) for kind, names in layout]
    streams = packed_sums("sampled", found)
    assert unpacked_sums("sampled", layout, samples, streams) == [one for _, one in found]


def test_a_row_that_follows_another_takes_hardly_any_bytes() -> None:
    generator = np.random.default_rng(0)
    signal = generator.integers(60_000, 70_000, 4000).astype(np.uint32)
    alone = packed_sums("x", [("o_in", SampleSums(signal))])
    both = packed_sums("x", [("o_in", SampleSums(signal, {"W8A8": signal - np.uint32(500)}))])
    assert sum(one.size for one in both.values()) < 1.02 * sum(one.size for one in alone.values())


def test_damaged_streams_are_refused() -> None:
    layout = [("o_in", ["A"])]
    found = SampleSums(np.array([7, 9], np.uint32), {"A": np.array([1, 2], np.uint32)})
    streams = packed_sums("x", [("o_in", found)])
    for other in ({**streams, **squeezed("x.chosen", np.array([5, 5], np.uint32))},
                  {**streams, **squeezed("x.middles", np.array([HIGHEST + 9, 0], np.uint32))}):  # fmt: skip
        with pytest.raises(ValueError, match=r"x: (a row|an energy)"):
            unpacked_sums("x", layout, 2, other)
    with pytest.raises(ValueError, match="holds"):
        unpacked_sums("x", layout, 3, streams)


def test_a_record_is_read_back_and_its_parts_add_up_to_what_the_whole_keeps(
    made: tuple[Record, list[Record]], tmp_path: Path
) -> None:
    whole, parts = made
    save(whole, tmp_path / "whole")
    assert load(tmp_path / "whole") == whole
    merged = merge(parts)
    for name in whole.sites:
        assert kept(merged, name) == kept(whole, name)
    assert kept(whole) is not None
    assert kept(whole, "layers.1.hidden") is None
    assert distributions_of(whole["layers.1.hidden"]).int8 is not None
    assert all(distributions_of(one).int8 is None for one in merged.sites.values()), "each had scales of its own"
    assert summary(whole).is_summary


def test_of_many_samples_groups_are_kept_by_the_whole_and_each_by_a_part(
    made: tuple[Record, list[Record]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, parts = made
    monkeypatch.setattr(units, "MOST_SAMPLES", 3)
    monkeypatch.setattr(units, "GROUPS", 2)
    merged, own = merge(parts), kept(whole)
    groups = units_of(merged.provenance)
    assert groups.are_groups
    assert own is not None
    assert kept(merged) == own.summed(groups.places)
    save(merged, tmp_path / "merged")
    assert load(tmp_path / "merged") == merged


def test_groups_add_up_to_nothing_and_the_whole_keeps_none(
    made: tuple[Record, list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parts = made
    monkeypatch.setattr(units, "MOST_SAMPLES", 1)
    monkeypatch.setattr(units, "GROUPS", 1)
    wholes = [replace(part, provenance=replace(part.provenance, shard=None)) for part in parts]
    grouped = [replace(one, sites=units.in_units(one.sites, one.provenance)) for one in wholes]
    assert any(units_of(one.provenance).are_groups for one in grouped)
    merged = merge(grouped)
    assert kept(merged) is None
    require_sound(merged)


def of_categories(**counts: int) -> Units:
    samples = tuple(
        (f"{name}-{place:04d}", name, "evaluation", 10) for name, count in counts.items() for place in range(count)
    )
    return units_of(replace(provenance(), samples=tuple(sorted(samples))))


def test_groups_have_one_category_each_and_as_many_of_it_as_it_has_samples() -> None:
    found = of_categories(code=1000, math=3000, rare=5, one=1)
    assert GROUPS - 4 <= len(found.strata) <= GROUPS + 4
    sizes = np.bincount(found.places)
    assert sizes.max() - sizes.min() <= 1 or None in found.strata
    assert found.strata.count("math") == pytest.approx(3 * found.strata.count("code"), abs=3)
    assert found.strata.count(None) == 1
    few = of_categories(code=100, math=400)
    assert not few.are_groups
    assert few.places.tolist() == list(range(500))


def test_a_corpus_whose_samples_have_a_category_each_is_grouped_too() -> None:
    found = of_categories(**{f"c{place}": 1 for place in range(600)})
    assert found.strata == (None,) * GROUPS
    assert set(np.bincount(found.places)) == {2, 3}


@pytest.mark.parametrize("change", ["signal", "error", "errors", "units"])
@pytest.mark.parametrize(("what", "error"), [("sampled", "W8A8"), ("int8", "max_abs")])
def test_sums_that_are_not_those_of_the_site_are_refused(
    made: tuple[Record, list[Record]], change: str, what: str, error: str
) -> None:
    whole, _ = made
    own = getattr(whole[SITE].held, what)
    more = np.uint32(4)
    other = {
        "signal": replace(own, signal=own.signal + more),
        "error": replace(own, errors={**own.errors, error: own.errors[error] - more}),
        "errors": replace(own, errors={error: own.errors[error]}),
        "units": own.ordered(range(len(own) - 1)),
    }[change]
    reading = replace(whole[SITE], held=replace(whole[SITE].held, **{what: other}))  # type: ignore[arg-type]
    require_sound(whole)
    with pytest.raises(ValueError, match=f"{SITE}: {what}"):
        require_sound(replace(whole, sites={**whole.sites, SITE: reading}))


def test_rounding_is_no_contradiction(made: tuple[Record, list[Record]]) -> None:
    whole, _ = made
    for name, reading in whole.sites.items():
        if (own := kept(whole, name)) is not None:
            for scheme, sums in reading.held.schemes.items():  # type: ignore[union-attr]
                found = energies_of(own.errors[scheme]).sum()
                assert found == pytest.approx(sums.error, rel=0.011)
