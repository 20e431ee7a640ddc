"""What of a text's fit to its model makes a verdict less than plain: the facts of it in, remarks out, which
stand beside the verdict.
"""

from collections.abc import Iterator

from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.record.provenance import Context

_SHARE = 0.1
"""Of all samples, from which on it is remarked that the model's own positions cut them."""
_SHORT = 512
"""Positions that the shortest models of language have: below them a config is rather wrong than modest."""
_DISTINCT = 16
"""Fewer tokens than this are no text of words."""


def context_remarks(context: Context | None, samples: int, max_seq_len: int) -> Iterator[str]:
    """Of so many samples, cut after `max_seq_len` tokens. Nothing of a Record of an earlier version, which does not
    hold it; its report says so.
    """
    if context is None:
        return
    is_short = context.positions is not None and context.positions < _SHORT
    if is_short and context.cut and context.cut >= _SHARE * samples and max_seq_len == context.positions:
        yield (
            f"{counted_of(context.cut, samples, 'sample', 'is', 'are')} cut to"
            f" {counted(context.positions, 'token')}, for which alone the config "
            "states positions (max_position_embeddings)"
        )
    if context.distinct < _DISTINCT:
        yield f"the whole corpus has {counted(context.distinct, 'different token')} in this model's tokenizer"
