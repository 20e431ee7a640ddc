"""How a text fits a model: encoded samples and a config in, the facts of it out, and an error where nothing of the text
is left.

Guards that a config or a tokenizer that empties the text makes no verdict.
"""

from collections.abc import Sequence
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.errors import InputError
from pytest_maxact.record.provenance import Context

_LEAST_TOKENS = 8
"""A config that leaves no sample more than this is no model's."""
_LEAST_DISTINCT = 5
"""A text of words has more tokens than this, and an alphabet of four letters is a vocabulary of about a dozen."""

_KEYS = ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length")
"""Under which configs state positions, the usual one first; most others transformers gives under that name too."""


def positions_of(text_config: Any) -> int | None:
    """For how many tokens a model has positions, None where its config does not say."""
    return _stated(text_config)[0]


def _stated(text_config: Any) -> tuple[int | None, str]:
    """Positions, and the key of the config that states them."""
    for name in _KEYS:
        positions = getattr(text_config, name, None)
        if isinstance(positions, int) and positions > 0:
            return positions, name
    return None, _KEYS[0]


def context_of(sequences: Sequence[corpus.Sequence], text_config: Any) -> Context:
    return Context(
        cut=sum(sequence.cut for sequence in sequences),
        distinct=len({token for sequence in sequences for token in sequence.ids}),
        longest=max(map(len, sequences)),
        positions=positions_of(text_config),
    )


def require_context(sequences: Sequence[corpus.Sequence], text_config: Any, tokenizer: Any) -> None:
    """Raise InputError where every sample is cut to next to nothing, or the tokenizer makes the same few tokens of
    everything.
    """
    if not sequences:
        return
    context = context_of(sequences, text_config)
    by_config = context.longest == context.positions
    if context.cut == len(sequences) and context.longest < (_LEAST_TOKENS if by_config else 2):
        why = f"{_stated(text_config)[1]} of config.json" if by_config else "the limit that was asked for"
        raise InputError(
            f"every sample is cut to {context.longest} token{'s' * (context.longest > 1)} by {why}, which is no text\n"
            "  restore the config from the checkpoint, or allow longer samples"
        )
    known = len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))
    total = sum(map(len, sequences))
    if context.distinct < min(_LEAST_DISTINCT, known // 4) and total > 4 * context.distinct:
        raise InputError(
            f"the tokenizer makes {context.distinct} different tokens of all {total} of the corpus\n"
            "  it is not the one this model was trained with; put the right one beside the weights"
        )
