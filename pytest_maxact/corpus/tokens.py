"""Samples to token ids, under a protocol.

`paper` encodes the bare text: no special tokens, so no BOS; the published limits hold for it. `deployed` encodes as the
model is served: the tokenizer's special tokens and, where it has one, its chat template around the text as a user's
message.
"""

import hashlib
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, Protocol

from pytest_maxact.corpus.samples import Sample, interleaved
from pytest_maxact.errors import InputError, setting


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    chat_template: Any

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> Any: ...
    def decode(self, ids: SequenceOf[int], *, skip_special_tokens: bool) -> Any: ...
    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool, return_dict: bool
    ) -> Any: ...
    def get_vocab(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One encoded sample, cut to the sequence limit. `ids` is never empty."""

    sample: Sample
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


def decode(samples: Iterable[Sample], source: Tokenizer | None) -> list[Sample]:
    """Samples as text: those given as ids of the tokenizer `source` decoded, so that their digest is that of the text
    that is measured.

    Raises InputError for ids without a tokenizer, and ids that the tokenizer does not have.
    """
    return [sample if sample.text is not None else _decoded(sample, source) for sample in samples]


def _decoded(sample: Sample, source: Tokenizer | None) -> Sample:
    ids = sample.input_ids or ()
    if source is None:
        raise InputError(
            f"sample {sample.id} of the corpus is given as input_ids, and of which tokenizer is not known\n"
            f"  name it with {setting('corpus_tokenizer')} PATH_OR_HUB_ID"
        )
    size = max(source.get_vocab().values(), default=-1) + 1
    if max(ids) >= size:
        raise InputError(
            f"sample {sample.id} of the corpus has token id {max(ids)}, its tokenizer has {size} tokens\n"
            f"  {setting('corpus_tokenizer')} names another tokenizer than the one the corpus was encoded with"
        )
    text = str(source.decode(list(ids), skip_special_tokens=True))
    if not text.strip():
        raise InputError(
            f"sample {sample.id} of the corpus decodes to no text\n  remove it, or check {setting('corpus_tokenizer')}"
        )
    return Sample(id=sample.id, category=sample.category, text=text)


def encode(
    samples: Iterable[Sample], tokenizer: Tokenizer, *, protocol: str, max_seq_len: int, vocab_size: int
) -> list[Sequence]:
    """Every sample, a text, as at most `max_seq_len` token ids.

    Raises InputError for a sample without tokens, and a token id outside the model's embedding of `vocab_size` rows.
    """
    sequences = []
    for sample in samples:
        ids = _encode_text(sample.text or "", tokenizer, protocol)[:max_seq_len]
        if not ids:
            raise InputError(
                f"sample {sample.id} of the corpus has no tokens under protocol {protocol!r}\n"
                "  remove it, or check the tokenizer beside the weights"
            )
        if max(ids) >= vocab_size:
            raise InputError(
                f"the tokenizer gave token id {max(ids)} in sample {sample.id}, the model embeds {vocab_size} tokens\n"
                "  the tokenizer is not the one this model was trained with; put the right one beside the weights"
            )
        sequences.append(Sequence(sample=sample, ids=tuple(ids)))
    return sequences


def within_token_budget(sequences: SequenceOf[Sequence], max_tokens: int, seed: int) -> list[Sequence]:
    """As many whole sequences as fit into `max_tokens`, their categories in proportion.

    Raises InputError where fewer than two fit.
    """
    by_id = {sequence.sample.id: sequence for sequence in sequences}
    kept, used = [], 0
    for sample in interleaved([sequence.sample for sequence in sequences], seed):
        used += len(by_id[sample.id])
        if used > max_tokens:
            break
        kept.append(by_id[sample.id])
    if len(kept) < 2:
        raise InputError(
            f"{setting('max_tokens')} {max_tokens} holds fewer than two samples of this corpus\n"
            f"  raise it, or lower {setting('max_seq_len')}"
        )
    return kept


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of what decides a tokenizer's output: its serialised pipeline, or the vocabulary of a slow one, and the
    chat template.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{content}\0{tokenizer.chat_template}".encode("utf-8", "surrogatepass")).hexdigest()


def _encode_text(text: str, tokenizer: Tokenizer, protocol: str) -> list[int]:
    if protocol == "paper":
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if tokenizer.chat_template:
        message = [{"role": "user", "content": text}]
        encoded = tokenizer.apply_chat_template(message, tokenize=True, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])
    return list(tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"])
