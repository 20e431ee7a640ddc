"""A source may hold its tokenizer in other words than an artifact, as GGUF does; other tokens or ids are refused."""

import json
import shutil
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.errors import InputError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.exports import gguf_architectures
from tests.support.tiny import sentences, write_corpus


def changed(folder: Path, source: Path, **entries: object) -> Path:
    shutil.copytree(source, folder)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return folder


def test_only_other_tokens_and_other_ids_of_the_corpus_are_refused_with_both(tmp_path: Path) -> None:
    texts = write_corpus(tmp_path / "corpus.jsonl", sentences([5, 9, 3, 12, 7, 7]))
    source = tiny.save(tmp_path / "source", tiny.random_model("llama"))
    model = json.loads((source / "tokenizer.json").read_text())["model"]

    def prepared(folder: Path) -> None:
        prepare(Settings(model=str(folder), corpus=str(texts), source=str(source)))

    prepared(changed(tmp_path / "in_other_words", source, normalizer={"type": "NFC"}))
    words = sorted(model["vocab"], key=model["vocab"].get)
    first, second = words[-2:]
    swapped = {**model["vocab"], first: model["vocab"][second], second: model["vocab"][first]}
    other = changed(tmp_path / "swapped", source, model={**model, "vocab": swapped})
    with pytest.raises(InputError, match=rf"token \({model['vocab'][first]} is '{first}' there, .* is '{second}' here"):
        prepared(other)
    otherwise = {"type": "Replace", "pattern": {"String": "w1"}, "content": "w2"}
    with pytest.raises(InputError, match=r"the token ids of sample .* from \d+ on \(.* there, .* here\)"):
        prepared(changed(tmp_path / "otherwise", source, normalizer=otherwise))


@pytest.mark.parametrize("model_type", ["mistral", "qwen3"])
def test_a_file_of_mistral_says_llama_and_is_held_against_its_source(model_type: str, tmp_path: Path) -> None:
    origin = gguf_architectures.source(tmp_path / "origin", model_type, vocab_size=258)
    llama = gguf_architectures.source(tmp_path / "llama", "llama", vocab_size=258)
    file = gguf_architectures.export(tmp_path / "model.gguf", llama, tokenizer=True)
    load_tokenizer(tmp_path, False, gguf=file.name).save_pretrained(origin)
    texts = write_corpus(tmp_path / "corpus.jsonl", sentences([5, 9, 3, 12, 7, 7]))
    settings = Settings(model=str(file), corpus=str(texts), source=str(origin))
    if model_type == "mistral":
        prepare(settings)
        return
    with pytest.raises(InputError, match=r"they differ in model_type \(qwen3 there, llama here\)"):
        prepare(settings)
