"""Text as it is deployed, beside a corpus that was encoded without special tokens and chat template: a few samples of
it under each, for the ranges and static scales of deployment. The corpus and a tokenizer in, encoded samples out.

Guard: a first token, or a token of a template, that carries the largest activation is met before a scheme is said to
fit. What cannot be encoded is named, never passed over.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.errors import InputError, marked
from pytest_maxact.record.deployed import AsDeployed

SAMPLES, CHARACTERS, LENGTH = 8, 200, 1024
"""So many samples under each, of so many characters of text, and of at most so many tokens with what is added."""
SPECIAL, TEMPLATE = "special tokens", "the chat template"


class _WithoutTemplate:
    """A tokenizer whose chat template is left alone."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.chat_template = None

    def __call__(self, text: str, **options: Any) -> Any:
        return self._tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def beside(
    sequences: Sequence[corpus.Sequence], tokenizer: Any, protocol: str, max_seq_len: int, vocab_size: int
) -> tuple[AsDeployed, tuple[corpus.Sequence, ...]]:
    """What deployment adds to these sequences, and samples of the calibration split with it; none where it adds
    nothing.
    """
    if protocol != "paper":
        return AsDeployed(), ()
    samples = _chosen(sequences)
    common: dict[str, Any] = {"max_seq_len": min(LENGTH, max_seq_len), "vocab_size": vocab_size}
    added: list[str] = []
    missing: list[str] = []
    found: list[corpus.Sequence] = []
    ways: list[tuple[str, Any]] = [(SPECIAL, _WithoutTemplate(tokenizer))]
    ways += [(TEMPLATE, tokenizer)] if tokenizer.chat_template else []
    for name, way in ways:
        try:
            own = corpus.encode(samples, tokenizer, protocol="paper", **common)
            encoded = corpus.encode(samples, way, protocol="deployed", **common)
        except InputError as error:
            missing.append(f"{name} ({marked(error).splitlines()[0]})")
            continue
        if [sequence.ids for sequence in own] != [sequence.ids for sequence in encoded]:
            added.append(name)
            found += [replace(s, sample=replace(s.sample, id=f"{s.sample.id} with {name}")) for s in encoded]
    tokens = sum(map(len, found))
    return AsDeployed(
        added=tuple(added), samples=len(found), tokens=tokens, missing=" and ".join(missing)
    ), tuple(found)  # fmt: skip


def _chosen(sequences: Sequence[corpus.Sequence]) -> list[corpus.Sample]:
    """Of the calibration split, one of each category in turn, the shortest first, and of these the beginning: a
    template around it stays whole.
    """
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    groups: dict[str, list[corpus.Sequence]] = {}
    for sequence in sorted(sequences, key=lambda sequence: (len(sequence), sequence.sample.id)):
        if splits[sequence.sample.id] == "calibration":
            groups.setdefault(sequence.sample.category, []).append(sequence)
    turns = [(turn, category, sequence) for category, group in groups.items() for turn, sequence in enumerate(group)]
    chosen = [sequence.sample for *_, sequence in sorted(turns, key=lambda entry: entry[:2])][:SAMPLES]
    texts = {(sample.text or "")[:CHARACTERS].strip(): sample for sample in reversed(chosen)}
    return [replace(sample, text=text) for text, sample in reversed(texts.items()) if text]
