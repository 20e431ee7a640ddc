"""What to try next from an input that is bad already: ids, and the gradient of what they reach, in; others out.

Tokens are exchanged for those in whose direction the gradient points (a first-order guess, as in GCG, Zou et al. 2023),
one or two at a time; some are exchanged, put in or taken out at random, for what no gradient points to.
"""

from collections.abc import Callable, Sequence

import torch

from pytest_maxact.corpus.drawn import Draw

LONGEST = 48
"""Tokens of an input; what is longer loses its beginning."""
_TOP = 128
_CHUNK = 8192
Rows = Callable[[Sequence[int]], torch.Tensor]
"""Token ids -> what the embedding gives for them, [tokens, width]."""


def guesses(uphill: torch.Tensor, ids: Sequence[int], vocabulary: Sequence[int], rows: Rows) -> list[tuple[int, int]]:
    """Exchanges (position, token), the most promising first: `_TOP` of all, and eight of every position."""
    gains = torch.cat(
        [
            rows(vocabulary[start : start + _CHUNK]).float() @ uphill.T.to(torch.float32)
            for start in range(0, len(vocabulary), _CHUNK)
        ]
    ).T  # [positions, vocabulary]
    own = (rows(ids).float() * uphill).sum(1)
    gains = (gains - own[:, None]).cpu()
    flat = gains.flatten()
    best = flat.topk(min(_TOP, flat.numel())).indices.tolist()
    each = [
        position * gains.shape[1] + token
        for position, tokens in enumerate(gains.topk(min(8, gains.shape[1]), dim=1).indices.tolist())
        for token in tokens
    ]
    found = (divmod(place, gains.shape[1]) for place in dict.fromkeys([*best, *each]))
    return [(position, vocabulary[token]) for position, token in found if vocabulary[token] != ids[position]]


def moved(
    ids: Sequence[int], exchanges: Sequence[tuple[int, int]], vocabulary: Sequence[int],
    others: Sequence[Sequence[int]], count: int, draw: Draw,
) -> list[tuple[int, ...]]:  # fmt: skip
    """`count` inputs at most, each once, none of them `ids`. Without `exchanges` all are drawn."""
    found: dict[tuple[int, ...], None] = {}
    for turn in range(4 * count):
        made = _one(list(ids), exchanges, vocabulary, others, turn, draw)
        if made and made != tuple(ids):
            found.setdefault(made)
        if len(found) == count:
            break
    return list(found)


def _one(
    ids: list[int], exchanges: Sequence[tuple[int, int]], vocabulary: Sequence[int], others: Sequence[Sequence[int]],
    turn: int, draw: Draw,
) -> tuple[int, ...]:  # fmt: skip
    kind = draw.below(10)
    if exchanges and kind < 7:
        if turn < len(exchanges) // 2 and kind < 5:
            position, token = exchanges[turn]
        else:
            position, token = draw.one(exchanges)
        ids[position] = token
        if kind >= 5:
            position, token = draw.one(exchanges)
            ids[position] = token
        return tuple(ids)
    at = draw.below(len(ids))
    if kind == 7:
        ids.insert(at, draw.one(vocabulary))
    elif kind == 8 and len(ids) > 1:
        del ids[at : at + 1 + draw.below(4)]
    elif kind == 9 and others:
        ids = [*draw.one(others), *ids[at:]]
    else:
        ids[at] = draw.one(vocabulary)
    return tuple(ids[-LONGEST:])
