"""Samples to token ids, under a protocol.

`paper` encodes the bare text: no special tokens, so no BOS; the published limits hold for it. `deployed` encodes as the
model is served: the tokenizer's special tokens and, where it has one, its chat template around the text as a user's
message (`chat`). What is measured is the text: ids in which a sample is not to be found are refused, under either.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pytest_maxact.corpus.chat import TEMPLATE_DATE, Chatting, chat_ids, essence, is_held
from pytest_maxact.corpus.samples import Sample, interleaved
from pytest_maxact.errors import InputError, cut, first_line, setting

_RECOGNIZED = 0.8
"""Share of a text's own tokens that its chat must hold: where one ends and the template begins, some join."""


class Tokenizer(Chatting, Protocol):
    """The part of a transformers tokenizer that is used here."""

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> Any: ...
    def decode(self, ids: SequenceOf[int], *, skip_special_tokens: bool) -> Any: ...
    def get_vocab(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One encoded sample, cut to the sequence limit; `cut`: whether it was longer. `ids` is never empty."""

    sample: Sample
    ids: tuple[int, ...]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)


def decode(samples: Iterable[Sample], source: Tokenizer | None, own: str | None = None) -> list[Sample]:
    """Samples as text: those given as ids of the tokenizer `source` decoded, so that their digest is that of the text
    that is measured. Ids that are said to be of the model's `own` tokenizer, by its digest, stay as they are.

    Raises InputError for ids without a tokenizer, and ids that the tokenizer does not have.
    """
    return [
        sample if sample.text is not None or (own and sample.tokenizer == own) else _decoded(sample, source)
        for sample in samples
    ]


def _decoded(sample: Sample, source: Tokenizer | None) -> Sample:
    ids = sample.input_ids or ()
    if source is None:
        raise InputError(
            f"sample {sample.called} of the corpus is given as input_ids, and of which tokenizer is not known\n"
            f"  name it with {setting('corpus_tokenizer')} PATH_OR_HUB_ID"
        )
    size = max(source.get_vocab().values(), default=-1) + 1
    if max(ids) >= size:
        raise InputError(
            f"sample {sample.called} of the corpus has token id {max(ids)}, its tokenizer has {size} tokens\n"
            f"  {setting('corpus_tokenizer')} names another tokenizer than the one the corpus was encoded with"
        )
    text = str(source.decode(list(ids), skip_special_tokens=True))
    if not text.strip():
        raise InputError(
            f"sample {sample.called} of the corpus decodes to no text\n"
            f"  remove it, or check {setting('corpus_tokenizer')}"
        )
    return replace(sample, text=text, input_ids=None)


def encode(
    samples: Iterable[Sample], tokenizer: Tokenizer, *, protocol: str, max_seq_len: int, vocab_size: int
) -> list[Sequence]:
    """Every sample, a text or the ids of this very tokenizer, as at most `max_seq_len` token ids.

    Raises InputError for a sample without tokens, a token id outside the model's embedding of `vocab_size` rows, ids
    that lack their text, different texts with the same ids, and a template or tokenizer that raises.
    """
    samples = list(samples)
    texts = [sample for sample in samples if sample.text is not None]
    encoded = iter(_encoded(texts, tokenizer, protocol))
    whole = [list(sample.input_ids or ()) if sample.text is None else next(encoded) for sample in samples]
    for sample, ids in zip(samples, whole, strict=True):
        if not ids[:max_seq_len]:
            raise InputError(
                f"sample {sample.called} of the corpus has no tokens under protocol {protocol!r}\n"
                "  remove it, or check the tokenizer beside the weights"
            )
        if max(ids[:max_seq_len]) >= vocab_size:
            raise InputError(
                f"the tokenizer gave token id {max(ids[:max_seq_len])} in sample {sample.called}, the model embeds "
                f"{vocab_size} tokens\n"
                "  the tokenizer is not the one this model was trained with; put the right one beside the weights"
            )
    of_texts = [ids for sample, ids in zip(samples, whole, strict=True) if sample.text is not None]
    _refuse_equal(texts, of_texts)
    if protocol != "paper":
        _refuse_cut_before_the_text(texts, of_texts, max_seq_len)
    return [
        Sequence(sample=sample, ids=tuple(ids[:max_seq_len]), cut=len(ids) > max_seq_len)
        for sample, ids in zip(samples, whole, strict=True)
    ]


def tokens_digest(sequences: Iterable[Sequence]) -> str:
    """Identity of an encoded corpus: the sum of the SHA-256 of its samples' texts and ids, so that it does not depend
    on their order or names, and adds up over parts.
    """
    digests = (hashlib.sha256(json.dumps([s.sample.digest, s.ids]).encode()).digest() for s in sequences)
    whole = sum(int.from_bytes(digest, "big") for digest in digests)
    return f"{whole % 2**256:064x}"


def template_date(tokenizer: Tokenizer, protocol: str) -> str | None:
    """The day that a chat template was given; None where none is used."""
    return TEMPLATE_DATE.isoformat() if protocol != "paper" and tokenizer.chat_template else None


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


def _encoded(samples: SequenceOf[Sample], tokenizer: Tokenizer, protocol: str) -> list[list[int]]:
    """The ids of every sample, uncut. Raises InputError where they are not those of its text."""
    if protocol == "paper" or not tokenizer.chat_template:
        whole = [_plain_ids(sample, tokenizer, special=protocol != "paper") for sample in samples]
        longest = max(range(len(samples)), key=lambda i: len(whole[i]), default=None)
        if longest is not None and _plain_ids(samples[longest], tokenizer, protocol != "paper") != whole[longest]:
            raise InputError(
                f"the tokenizer encodes one text, that of sample {samples[longest].called}, in several ways\n"
                "  take the dropout or sampling out of the tokenizer beside the weights"
            )
        return whole
    whole = chat_ids(samples, tokenizer)
    for sample, ids in zip(samples, whole, strict=True):
        if not _is_recognized(sample, ids, tokenizer):
            said = str(tokenizer.decode(ids, skip_special_tokens=False))
            raise InputError(
                f"sample {sample.called} of the corpus is not in its own tokens under protocol {protocol!r}, which "
                f"read {cut(said, 60)!r}\n"
                "  check the chat template and the tokenizer beside the weights"
            )
    return whole


def _plain_ids(sample: Sample, tokenizer: Tokenizer, special: bool) -> list[int]:
    try:
        return list(tokenizer(sample.text or "", add_special_tokens=special, verbose=False)["input_ids"])
    except Exception as error:
        raise InputError(
            f"the tokenizer cannot encode sample {sample.called} of the corpus: {type(error).__name__}: "
            f"{first_line(error)}\n"
            "  remove the sample, or check the tokenizer beside the weights"
        ) from error


def _is_recognized(sample: Sample, ids: SequenceOf[int], tokenizer: Tokenizer) -> bool:
    """Whether ids hold a sample: its text when they are decoded, or its own tokens, which stand for it where a
    tokenizer normalises, or lacks some of its characters.
    """
    if is_held(sample.text or "", str(tokenizer.decode(ids, skip_special_tokens=False))):
        return True
    own = Counter(_plain_ids(sample, tokenizer, special=False))
    return bool(own) and (own & Counter(ids)).total() >= _RECOGNIZED * own.total()


def _refuse_equal(samples: SequenceOf[Sample], whole: SequenceOf[SequenceOf[int]]) -> None:
    """Raise InputError where different texts became the same ids: then these do not say what was measured. Texts that
    differ in case, accents or space may.
    """
    seen: dict[tuple[int, ...], Sample] = {}
    for sample, ids in zip(samples, whole, strict=True):
        other = seen.setdefault(tuple(ids), sample)
        if essence(sample.text or "") != essence(other.text or ""):
            raise InputError(
                f"samples {other.called} and {sample.called} of the corpus are different texts, and the tokenizer "
                f"gives both the same {len(ids)} tokens\n"
                "  check the tokenizer beside the weights; remove a sample whose script it does not have"
            )


def _refuse_cut_before_the_text(
    samples: SequenceOf[Sample], whole: SequenceOf[SequenceOf[int]], max_seq_len: int
) -> None:  # fmt: skip
    """Raise InputError where what stands before the texts leaves no room for them: all that are cut are then alike."""
    cut = {tuple(ids): sample for sample, ids in zip(samples, whole, strict=True) if len(ids) > max_seq_len}
    if len(cut) > 1 and len({ids[:max_seq_len] for ids in cut}) == 1:
        raise InputError(
            f"cut to {max_seq_len} tokens, {len(cut)} different samples of the corpus are alike: the chat template "
            "leaves no room for their text\n"
            f"  raise {setting('max_seq_len')}, or measure with {setting('protocol')} paper"
        )
