"""How a text fits a model stands in the Record; where nothing of the text is left there is no measurement."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, PreTrainedTokenizerFast

from pytest_maxact.errors import InputError
from pytest_maxact.measure.context import positions_of
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.trials import context_tried
from pytest_maxact.record.provenance import Context
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.measuring import record_of


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def state(folder: Path, **config: Any) -> None:
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **config}))


def test_the_record_holds_how_its_text_fits(checkpoint: Path, corpus: Path) -> None:
    record = record_of(checkpoint, corpus)
    words = {word for line in corpus.read_text().splitlines() for word in json.loads(line)["text"].split()}
    assert record.provenance.context == Context(cut=0, distinct=len(words), longest=12, positions=256)
    cut = record_of(checkpoint, corpus, max_seq_len=9).provenance.context
    assert cut is not None
    assert (cut.cut, cut.longest) == (3, 9)


@pytest.mark.parametrize("positions", [1, 2, 4])
def test_a_config_that_cuts_every_sample_to_next_to_nothing_is_refused(
    positions: int, copy: Path, tmp_path: Path
) -> None:
    corpus = tiny.write_corpus(tmp_path / "long.jsonl", tiny.sentences([9, 12, 30, 9, 11, 40]))
    state(copy, max_position_embeddings=positions)
    with pytest.raises(
        InputError, match=f"every sample is cut to {positions} tokens? by max_position_embeddings of config.json"
    ):
        prepare(Settings(model=str(copy), corpus=str(corpus)))


def test_so_is_a_limit_of_one_token_that_was_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    corpus = tiny.write_corpus(tmp_path / "long.jsonl", tiny.sentences([9, 12, 30, 9, 11, 40]))
    with pytest.raises(InputError, match="every sample is cut to 1 token by the limit that was asked for"):
        prepare(Settings(model=str(checkpoint), corpus=str(corpus), max_seq_len=1))
    assert prepare(Settings(model=str(checkpoint), corpus=str(corpus), max_seq_len=2)).max_seq_len == 2


@pytest.mark.parametrize("words", [1, 2, 4])
def test_a_tokenizer_that_makes_the_same_few_tokens_of_everything_is_refused(
    words: int, copy: Path, corpus: Path
) -> None:
    vocabulary = {f"x{i}": i for i in range(64)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="x0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(copy)
    texts = [(f"s{i}", " ".join(f"x{(i + j) % words}" for j in range(3 + i))) for i in range(12)]
    written = tiny.write_corpus(corpus.parent / f"few{words}.jsonl", texts)
    with pytest.raises(InputError, match=f"the tokenizer makes {words} different tokens of all|same .* tokens"):
        prepare(Settings(model=str(copy), corpus=str(written)))


def test_an_alphabet_of_a_few_letters_is_measured(copy: Path, tmp_path: Path) -> None:
    vocabulary = {
        letter: i for i, letter in enumerate(["N", "A", "C", "G", "T", "[UNK]", "-", "R", "Y", "K", "M", "S"])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(copy)
    texts = [(f"s{i}", " ".join("ACGT"[(i * j + i) % 4] for j in range(1, 6 + i))) for i in range(8)]
    corpus = tiny.write_corpus(tmp_path / "dna.jsonl", texts)
    assert len(prepare(Settings(model=str(copy), corpus=str(corpus))).sequences) == 8


@pytest.mark.parametrize("key", ["max_position_embeddings", "max_seq_len", "n_positions", "seq_length"])
def test_positions_are_read_by_any_name_that_configs_have_for_them(key: str) -> None:
    config = SimpleNamespace(**{key: 64})
    assert positions_of(config) == 64
    assert context_tried(config, Settings()) == 64
    assert context_tried(config, Settings(max_seq_len=32)) == 32
    assert context_tried(SimpleNamespace(), Settings(max_seq_len=32)) == 32


def test_an_mpt_is_tried_within_its_positions() -> None:
    assert positions_of(AutoConfig.for_model("mpt")) == 2048
