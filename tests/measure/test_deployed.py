"""Text as it is deployed, measured beside a corpus without special tokens and chat template: what is encoded, and what
it changes.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from pytest_maxact import corpus
from pytest_maxact.measure.deployed import CHARACTERS, SAMPLES, beside
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.record.deployed import AsDeployed, joined_deployed, narrowness
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.metrics import value_of

TEMPLATE = "{% for message in messages %}<s> {{ message['content'] }} </s>{% endfor %}"
LOUD = 4096.0


def tokenizer(bos: bool = False, template: str | None = None) -> Any:
    made = tiny.word_tokenizer(bos=bos)
    made.chat_template = template
    return made


def sequences(count: int = 40, length: int = 6) -> list[Any]:
    """Sequences whose texts are those of `tiny.sentences`."""
    samples = [
        corpus.Sample(id=name, category="ab"[i % 2], text=text)
        for i, (name, text) in enumerate(tiny.sentences([length] * count))
    ]
    unique = {sample.text: sample for sample in samples}
    return corpus.encode(unique.values(), tokenizer(), protocol="paper", max_seq_len=64, vocab_size=64)


# What is encoded


def test_a_tokenizer_that_adds_nothing_needs_no_more_text() -> None:
    assert beside(sequences(), tokenizer(), "paper", 64, 64) == (AsDeployed(), ())


def test_a_bos_and_a_template_are_each_met_on_a_few_samples() -> None:
    added, found = beside(sequences(), tokenizer(bos=True, template=TEMPLATE), "paper", 64, 64)
    assert added.added == ("special tokens", "the chat template")
    assert added.samples == len(found) <= 2 * SAMPLES
    assert added.tokens == sum(map(len, found))
    assert all(sequence.ids[0] == 1 for sequence in found)
    assert [sequence.ids[-1] == 2 for sequence in found] == ["template" in s.sample.id for s in found]


def test_long_texts_are_met_by_their_beginning() -> None:
    _, found = beside(sequences(length=300), tokenizer(bos=True), "paper", 4096, 64)
    assert all(len(sequence.sample.text or "") <= CHARACTERS for sequence in found)


def test_a_corpus_that_is_encoded_as_deployed_needs_no_more_text() -> None:
    assert beside(sequences(), tokenizer(bos=True, template=TEMPLATE), "deployed", 64, 64) == (AsDeployed(), ())


def test_a_template_that_cannot_be_rendered_is_named_and_the_rest_is_measured() -> None:
    added, found = beside(sequences(), tokenizer(bos=True, template="{{ raise_exception('no') }}"), "paper", 64, 64)
    assert added.added == ("special tokens",)
    assert added.missing.startswith("the chat template (")
    assert len(found) == added.samples > 0
    assert narrowness(added, "paper") == added.missing


# What it changes


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model whose BOS carries a large entry, and a corpus."""
    folder = tmp_path_factory.mktemp("loud")
    model = tiny.random_model("qwen3")
    with torch.no_grad():
        model.embed_tokens.weight[1, 5] = LOUD  # type: ignore[union-attr,index,operator]
    texts = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences([7, 9, 5, 8, 6, 11]))
    return tiny.save(folder / "model", model, tokenizer(bos=True)), texts


@pytest.fixture(scope="module")
def with_schemes(loud: tuple[Path, Path]) -> Record:
    return record_of(*loud, schemes=("FP16", "W8A8_STATIC", "FP8"))


def test_ranges_are_those_of_deployment_and_the_papers_figures_those_of_bare_text(
    loud: tuple[Path, Path], with_schemes: Record
) -> None:
    plain, hidden = record_of(*loud), with_schemes["layers.0.hidden"]
    assert hidden.as_deployed is not None
    assert hidden.as_deployed > LOUD / 2 > plain["layers.0.hidden"].max_abs == hidden.max_abs
    assert value_of(hidden, "FP16.headroom") == FP16_MAX / hidden.as_deployed
    assert plain["layers.0.hidden"].as_deployed is None
    assert all(plain[name].histogram == with_schemes[name].histogram for name in plain.sites)


def test_a_static_scale_is_calibrated_on_text_as_it_is_deployed(loud: tuple[Path, Path], with_schemes: Record) -> None:
    folder, texts = loud
    bare = tiny.save(folder.parent / "bare", tiny.random_model("qwen3"), tokenizer(bos=True))
    assert AutoTokenizer.from_pretrained(bare)("w1").input_ids[0] == 1
    quiet = record_of(bare, texts, schemes=("W8A8_STATIC", "FP8"))
    for name in ("layers.0.qkv_in", "layers.0.mlp_in"):
        channels = with_schemes[name].held.channels  # type: ignore[union-attr]
        assert channels is not None
        assert max(part.max() for part in channels.parts.values()) >= (with_schemes[name].as_deployed or math.inf)
    worse = [n for n in quiet.sites if quiet[n].site.is_linear_input]
    assert any(value_of(with_schemes[n], "FP8.sqnr_db") != value_of(quiet[n], "FP8.sqnr_db") for n in worse)


def test_what_breaks_as_deployed_alone_has_no_figure_that_passes(with_schemes: Record) -> None:
    broken = replace(with_schemes["layers.0.qkv_in"], as_deployed=float("inf"))
    assert broken.nonfinite == 0
    assert value_of(broken, "FP16.headroom") == 0.0
    assert value_of(broken, "FP8.sqnr_db") != value_of(broken, "FP8.sqnr_db"), "NaN"


def test_a_record_says_what_of_deployment_was_measured(
    loud: tuple[Path, Path], with_schemes: Record, tmp_path: Path
) -> None:
    deployed = with_schemes.provenance.deployed
    assert deployed is not None
    assert (deployed.added, narrowness(deployed, "paper")) == (("special tokens",), "")
    plain = record_of(*loud).provenance
    assert narrowness(plain.deployed, plain.protocol) == "special tokens"
    assert "tells nothing" in narrowness(None, "paper")
    assert narrowness(None, "deployed") == ""
    for record in (with_schemes, summary(with_schemes)):
        save(record, tmp_path / "kept.safetensors")
        again = load(tmp_path / "kept.safetensors")
        assert again.provenance.deployed == deployed
        assert [reading.as_deployed for reading in again.sites.values()] == [
            reading.as_deployed for reading in with_schemes.sites.values()
        ]
        assert again.scores == with_schemes.scores


def test_parts_of_a_corpus_keep_the_widest_range(loud: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = loud
    parts = [
        record_of(folder, tiny.write_corpus(tmp_path / f"{i}.jsonl", texts), schemes=("FP16",), corpus_tokenizer=None)
        for i, texts in enumerate((tiny.sentences([7, 9, 5]), [(f"t{n}", text) for n, text in tiny.sentences([4] * 3)]))
    ]
    whole = merge(parts)
    widest = [part["layers.0.hidden"].as_deployed for part in parts]
    assert whole["layers.0.hidden"].as_deployed == max(widest)  # type: ignore[type-var]
    assert whole.provenance.deployed == joined_deployed(part.provenance.deployed for part in parts)
    assert joined_deployed([AsDeployed(), None]) is None
