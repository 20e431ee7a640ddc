"""What of a text's fit to its model makes a verdict less than plain: the provenance of a Record in, remarks out, which
stand beside the verdict.
"""

from collections.abc import Iterator

from pytest_maxact.record.provenance import Provenance

_SHARE = 0.1
"""Of all samples, from which on it is remarked that the model's own positions cut them."""
_DISTINCT = 16
"""Fewer tokens than this are no text of words."""


def context_remarks(provenance: Provenance) -> Iterator[str]:
    """Nothing of a Record of an earlier version, which does not hold it; its report says so."""
    context = provenance.context
    if context is None:
        return
    samples = len(provenance.samples)
    if context.cut >= _SHARE * samples and context.cut and provenance.max_seq_len == context.positions:
        yield (
            f"{context.cut} of {samples} samples are cut to {context.positions} tokens, for which alone the config "
            "states positions (max_position_embeddings)"
        )
    if context.distinct < _DISTINCT:
        yield f"the whole corpus has {context.distinct} different tokens in this model's tokenizer"
