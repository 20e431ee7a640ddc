"""Attention logits, as plain data: the largest score before the softmax, layer by layer and head by head."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_maxact.numbers.checked import Count, Figure, Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLogits:
    """Of one layer, or of one `part` of it where it attends several times: the largest score of each of its `heads`,
    scaled, with bias and softcap, over pairs of tokens that may attend to each other; inf where one was no number, -inf
    where no pair was met.

    The largest of all is that of `head`, where the token at position `query` of `sample` attends to that at `key`.
    `exact`: False where what a kernel leaves out is not known, which makes them bounds.
    """

    layer: Count
    part: str = ""
    heads: tuple[Figure, ...]
    head: Count
    sample: str
    query: Count
    key: Count
    query_id: Count
    key_id: Count
    query_token: str = ""
    key_token: str = ""
    exact: Flag = True

    @property
    def largest(self) -> float:
        return max(self.heads, default=-math.inf)


def joined_logits(found: Iterable[LayerLogits]) -> tuple[LayerLogits, ...]:
    """The largest of every head, by layer and part in the order of depth; of equals the place of the first."""
    layers: dict[tuple[int, str], LayerLogits] = {}
    for one in found:
        known = layers.get((one.layer, one.part))
        if known is None:
            layers[one.layer, one.part] = one
            continue
        heads = tuple(map(max, known.heads, one.heads))
        ranked = min((known, one), key=lambda each: (-each.largest, each.sample, each.query, each.key))
        layers[one.layer, one.part] = replace(ranked, heads=heads, exact=known.exact and one.exact)
    return tuple(layers[place] for place in sorted(layers))


def merged_logits(parts: Iterable[tuple[LayerLogits, ...] | None]) -> tuple[LayerLogits, ...] | None:
    """Those of parts of one corpus together; None where in one of them none was looked for."""
    known = list(parts)
    return None if None in known else joined_logits(one for part in known if part is not None for one in part)
