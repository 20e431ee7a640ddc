"""A pass that ends once nothing rises: what it saw is told as what it saw, and nothing more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.remarks import remarks_on
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.comparability import record_differences
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.measuring import record_of

ASKED = 120
TEXTS = tiny.sentences([6, 9, 7, 5, 8, 6] * 20)
STATIC = next(name for name, scheme in SCHEMES.items() if scheme.needs_calibration)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("saturating") / "qwen3", tiny.random_model("qwen3"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_corpus(tmp_path_factory.mktemp("text") / "corpus.jsonl", TEXTS)


@pytest.fixture(scope="module")
def ended(model: Path, text: Path) -> Record:
    return record_of(model, text, batch_tokens=32, until_saturated=ASKED)


def test_it_ends_once_no_site_rose_for_so_many_tokens(ended: Record) -> None:
    stopped = ended.provenance.stopped
    assert stopped is not None
    assert ended.tokens < stopped.of_tokens == sum(len(words.split()) for _, words in TEXTS)
    assert len(ended.provenance.samples) < stopped.of_samples == len(TEXTS)
    assert ended.tokens - stopped.last_rose >= ASKED
    assert ended.tokens - stopped.last_rose < 2 * ASKED
    assert stopped.site in ended.sites
    (remark,) = (one for one in remarks_on(ended) if "the pass ended after" in one)
    assert f"{ended.tokens} of {stopped.of_tokens} tokens, once no site rose for {ASKED}" in remark


def test_nothing_is_claimed_of_what_did_not_run(ended: Record, model: Path, tmp_path: Path) -> None:
    """The same samples as a corpus of their own have the same digest, count and maxima."""
    names = {name for name, *_ in ended.provenance.samples}
    lines = tiny.write_corpus(tmp_path / "part.jsonl", TEXTS).read_text().splitlines()
    part = tmp_path / "part.jsonl"
    part.write_text("\n".join(line for line in lines if any(f'"{name}"' in line for name in names)) + "\n")
    alone = record_of(model, part, batch_tokens=32)
    assert len(alone.provenance.samples) == len(names)
    assert ended.provenance.corpus_sha256 == alone.provenance.corpus_sha256
    assert ended.provenance.tokens_sha256 == alone.provenance.tokens_sha256
    assert ended.provenance.context == alone.provenance.context
    assert [words.split(" ")[0] for words in record_differences(alone, ended)] == ["splits_sha256"]
    assert "other samples calibrate" in record_differences(ended, alone)[0]
    for name, reading in ended.sites.items():
        assert reading.count == alone.sites[name].count
        assert reading.max_abs == pytest.approx(alone.sites[name].max_abs, rel=1e-5)


def test_every_category_and_both_splits_are_there_in_proportion(ended: Record) -> None:
    samples = ended.provenance.samples
    of_a = sum(category == "a" for _, category, *_ in samples)
    assert abs(of_a - len(samples) / 2) <= 1
    assert {split for _, _, split, _ in samples} == {"calibration", "evaluation"}


def test_the_same_seed_ends_at_the_same_place_and_its_record_is_read_again(
    ended: Record, model: Path, text: Path, tmp_path: Path
) -> None:
    again = record_of(model, text, batch_tokens=32, until_saturated=ASKED)
    assert again == ended
    other = record_of(model, text, batch_tokens=32, until_saturated=ASKED, seed=5)
    assert other.provenance.samples != ended.provenance.samples
    save(ended, tmp_path / "r")
    assert load(tmp_path / "r") == ended


def test_where_nothing_stays_still_for_so_long_all_of_the_text_runs(model: Path, text: Path) -> None:
    whole = record_of(model, text, batch_tokens=32, until_saturated=10_000)
    plain = record_of(model, text, batch_tokens=32)
    assert plain.provenance.stopped is None
    stopped = whole.provenance.stopped
    assert stopped is not None
    assert whole.tokens == stopped.of_tokens == plain.tokens
    assert whole.provenance.corpus_sha256 == plain.provenance.corpus_sha256
    assert record_differences(whole, plain) == []
    assert {name: one.max_abs for name, one in whole.sites.items()} == pytest.approx(
        {name: one.max_abs for name, one in plain.sites.items()}, rel=1e-5
    )
    assert any("all of the text was run" in one for one in remarks_on(whole))
    assert not any("text was run" in one for one in remarks_on(plain))


@pytest.mark.parametrize(
    ("watched", "words"),
    [
        (("carrier",), "once M did not rise for"),
        (("layers.0.hidden",), "once layers.0.hidden did not rise for"),
        (("layers.0.gate", "final_norm"), "once none of the 2 sites that limits bind rose for"),
        (("carrier", "final_norm"), "once neither M nor final_norm rose for"),
        (("carrier", "layers.0.gate", "final_norm"), "once neither M nor any of the 2 sites that limits bind rose for"),
    ],
    ids=["M", "one site", "two sites", "M and one site", "M and two sites"],
)
def test_rises_of_other_sites_than_limits_bind_keep_no_pass_going(
    watched: tuple[str, ...], words: str, ended: Record, model: Path, text: Path, tmp_path: Path
) -> None:
    settings = Settings(model=str(model), corpus=str(text), batch_tokens=32, until_saturated=ASKED)
    record = measure(replace(prepare(settings), watched=watched), settings, None)
    stopped, of_all = record.provenance.stopped, ended.provenance.stopped
    assert stopped is not None
    assert of_all is not None
    assert stopped.watched == watched
    assert of_all.watched == ()
    assert record.tokens < ended.tokens
    assert stopped.site in watched or ("carrier" in watched and record[stopped.site].site.counted)
    assert any(words in one for one in remarks_on(record))
    save(record, tmp_path / "r")
    assert load(tmp_path / "r") == record


def test_the_last_rise_of_m_is_where_m_was_reached(model: Path, text: Path) -> None:
    settings = Settings(model=str(model), corpus=str(text), batch_tokens=32, until_saturated=10_000)
    record = measure(replace(prepare(settings), watched=("carrier",)), settings, None)
    stopped = record.provenance.stopped
    assert stopped is not None
    assert stopped.site == record.carrier.site.name
    (remark,) = (one for one in remarks_on(record) if "all of the text was run" in one)
    assert "no step of it showed 10000 without a rise of M; the last to rise was" in remark


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"shard": "1/2"}, "one process has to see all of the text"),
        ({"effect": ("W8A8",)}, "compare predictions on text that is known beforehand"),
        ({"schemes": (STATIC,)}, "takes its scales from all calibration samples"),
        ({"baseline": ("old",)}, "Records of different text are not compared"),
        ({"device": "stream"}, "a streamed pass runs all of them layer by layer"),
    ],
)
def test_what_needs_all_of_the_text_is_refused_by_name(
    model: Path, text: Path, asked: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError) as caught:
        record_of(model, text, until_saturated=ASKED, **asked)
    assert "until_saturated" in str(caught.value)
    assert why in str(caught.value)


def test_such_a_record_is_no_part_of_another(ended: Record) -> None:
    with pytest.raises(InputError, match="is no part of a measurement"):
        merge([ended])


@pytest.mark.parametrize(
    "changed",
    [
        {"last_rose": 10**6}, {"of_tokens": 5}, {"of_samples": 1}, {"asked": 10**6}, {"watched": ("layers.9.hidden",)},
        {"watched": ("embedding",), "site": "final_norm"}, {"watched": ("carrier",), "site": "nowhere"},
        {"site": "nowhere"},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_had_not_seen_what_it_was_to_see_is_contradicted(ended: Record, changed: dict[str, Any]) -> None:
    stopped = ended.provenance.stopped
    assert stopped is not None
    provenance = replace(ended.provenance, stopped=replace(stopped, **changed))
    with pytest.raises(ValueError, match=r"provenance\.stopped"):
        require_sound(replace(ended, provenance=provenance))
