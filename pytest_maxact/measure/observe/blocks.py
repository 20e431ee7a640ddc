"""Scores of one sequence of a call of attention, block by block: of every head the largest in, and where it is, out.

Products are formed in float32, and no more than one block of them lies in memory. Of a block only keys that one of its
queries may attend to are multiplied, which of a causal model are half of all, and only where some pair is kept apart is
a mask laid over it. What is the same for all pairs, scale and softcap, is done to the largest alone: it changes no
order. On a device nothing is read back, so all keys are multiplied there.
"""

from collections.abc import Iterator
from typing import Any

import torch

from pytest_maxact.measure.observe.attention import Attended

_BLOCK = 1 << 20
"""Scores that are held at once."""
_ROWS = 256
"""Queries of a block, at most: the more there are, the more pairs beyond the diagonal are multiplied for nothing."""


def largest_scores(call: Attended, sequence: int, rows: slice, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the queries `rows` and keys `columns` the largest score of each head [H], and the flat place [T, S, H] of the
    largest of all: of equals the earliest query, key and head.
    """
    query = call.query[sequence].float()
    key = call.key[sequence].float().contiguous()
    maxima = _row_maxima(call, query, key, sequence, rows, columns)
    heads, size = query.shape[0], key.shape[1]
    if not maxima.numel():
        return maxima.new_full((heads,), -torch.inf), maxima.new_zeros((), dtype=torch.int64)
    by_query = maxima.amax(0)
    at = by_query.argmax().view(1)
    largest = maxima.index_select(1, at)
    loudest = (largest == by_query[at]) | largest.isnan()
    found = at + rows.start
    mine = query.index_select(1, found).view(key.shape[0], -1, query.shape[2]) @ key[:, columns].transpose(1, 2)
    scores = _formed(mine.view(heads, 1, -1), call, sequence, slice(0, heads), found, columns)
    apart = _apart(call, sequence, slice(0, heads), found, columns) | ~loudest[:, :, None]
    flat = scores.masked_fill(apart, -torch.inf)[:, 0].T.flatten().argmax()
    return maxima.amax(1), (found[0] * size + columns.start) * heads + flat


def _row_maxima(
    call: Attended, query: torch.Tensor, key: torch.Tensor, sequence: int, rows: slice, columns: slice
) -> torch.Tensor:
    """The largest score of every head and query, float32 [H, queries]; -inf where a query attends to none."""
    heads, groups, width = query.shape[0], query.shape[0] // key.shape[0], query.shape[2]
    maxima = query.new_full((heads, rows.stop - rows.start), -torch.inf)
    step = max(1, min(_ROWS, _BLOCK // max(1, groups * (columns.stop - columns.start))))
    together = _same_for_all_pairs(call)
    for start in range(rows.start, rows.stop, step):
        queries = slice(start, min(start + step, rows.stop))
        count = queries.stop - queries.start
        every = _apart(call, sequence, slice(0, heads), queries, columns)
        reach, torn = _reach(every, columns)
        if reach.start == reach.stop:
            continue
        for shared in _in_turn(key.shape[0], groups * count * (reach.stop - reach.start)):
            own = slice(shared.start * groups, shared.stop * groups)
            mine = query[own, queries].reshape(-1, groups * count, width)
            scores = (mine @ key[shared, reach].transpose(1, 2)).view(-1, count, reach.stop - reach.start)
            if not together:
                scores = _formed(scores, call, sequence, own, queries, reach)
            if torn.start < torn.stop:
                inside = slice(torn.start - reach.start, torn.stop - reach.start)
                mask = every[own if every.shape[0] > 1 else slice(0, 1), :, _within(torn, columns)]
                scores[..., inside].masked_fill_(mask, -torch.inf)
            maxima[own, start - rows.start : queries.stop - rows.start] = scores.amax(-1)
    return torch.where(maxima == -torch.inf, maxima, _at_once(maxima, call)) if together else maxima


def _in_turn(heads: int, scores: int) -> Iterator[slice]:
    """Heads of keys that are multiplied at once, where each gives so many scores."""
    many = max(1, _BLOCK // max(1, scores))
    return (slice(first, min(first + many, heads)) for first in range(0, heads, many))


def _reach(apart: torch.Tensor, columns: slice) -> tuple[slice, slice]:
    """Of pairs that are kept apart, bool [1 or H, queries, keys]: the keys between the first and the last that a query
    attends to, and among them those between the first and the last that another does not.
    """
    if apart.device.type != "cpu":
        return columns, columns
    flags = apart.flatten(0, 1).view(torch.uint8)
    met = (flags.amin(0) == 0).nonzero()
    if not met.numel():
        return slice(columns.start, columns.start), slice(0, 0)
    first, last = int(met[0]), int(met[-1]) + 1
    missed = flags[:, first:last].amax(0).nonzero()
    torn = (first + int(missed[0]), first + int(missed[-1]) + 1) if missed.numel() else (first, first)
    reach, part = slice(first, last), slice(*torn)
    return _beyond(reach, columns.start), _beyond(part, columns.start)


def _beyond(part: slice, start: int) -> slice:
    return slice(part.start + start, part.stop + start)


def _within(part: slice, whole: slice) -> slice:
    return _beyond(part, -whole.start)


def _scale(call: Attended) -> Any:
    scaling = call.options.get("scaling")
    return call.query.shape[-1] ** -0.5 if scaling is None else scaling


def _same_for_all_pairs(call: Attended) -> bool:
    """Whether what is done to a product depends on it alone, and keeps the order of products."""
    scale = _scale(call)
    plain = isinstance(scale, int | float) and scale > 0
    return plain and not isinstance(call.options.get("position_bias"), torch.Tensor) and not _adds(call.mask)


def _adds(mask: Any) -> bool:
    """Whether a mask holds more than which pairs are kept apart; on a device that is not looked at."""
    if not _is_of_pairs(mask) or mask.dtype == torch.bool:
        return False
    return mask.device.type != "cpu" or not bool(((mask == 0) | _never(mask)).all())


def _is_of_pairs(mask: Any) -> bool:
    return isinstance(mask, torch.Tensor) and mask.ndim == 4


def _never(mask: torch.Tensor) -> torch.Tensor:
    return ~mask if mask.dtype == torch.bool else mask <= torch.finfo(mask.dtype).min / 2


def _at_once(products: torch.Tensor, call: Attended) -> torch.Tensor:
    """Products with their scale and softcap."""
    scores: torch.Tensor = products * _scale(call)
    cap = call.options.get("softcap")
    return scores if cap is None else torch.tanh(scores / cap) * cap


def _formed(
    products: torch.Tensor, call: Attended, sequence: int, heads: slice, rows: slice | torch.Tensor, columns: slice
) -> torch.Tensor:
    """Scores of products [heads, queries, keys], with all that is added to them."""
    scores = _at_once(products, call)
    bias = call.options.get("position_bias")
    if isinstance(bias, torch.Tensor):
        scores = scores + _part(bias, sequence, heads, rows)[..., columns]
    if _is_of_pairs(call.mask) and call.mask.dtype != torch.bool:
        scores = scores + _part(call.mask, sequence, heads, rows)[..., columns]
    return scores


def _apart(call: Attended, sequence: int, heads: slice, rows: slice | torch.Tensor, columns: slice) -> torch.Tensor:
    """Which pairs do not attend to each other, bool [1 or H, queries, keys]."""
    if _is_of_pairs(call.mask):
        apart = _never(_part(call.mask, sequence, heads, rows)[..., columns])
        return apart.expand(-1, len(rows) if isinstance(rows, torch.Tensor) else rows.stop - rows.start, -1)
    return ~_in_reach(call, rows, columns)[None]


def _part(tensor: torch.Tensor, sequence: int, heads: slice, rows: slice | torch.Tensor) -> torch.Tensor:
    """What of a tensor [B or 1, H or 1, T or 1, S] belongs to queries of a sequence."""
    mine = tensor[sequence if tensor.shape[0] > 1 else 0]
    mine = mine[heads] if mine.shape[0] > 1 else mine
    return mine[:, rows] if mine.shape[1] > 1 else mine


def _in_reach(call: Attended, rows: slice | torch.Tensor, columns: slice) -> torch.Tensor:
    """Which keys a kernel without a mask lets queries attend to, bool [queries, keys]."""
    (length, size), device = (call.query.shape[2], call.key.shape[2]), call.query.device
    causal = call.options.get("is_causal")
    places = torch.arange(length, device=device)[rows][:, None] + size - length
    keys = torch.arange(size, device=device)[columns][None]
    reach = keys <= places if (getattr(call.module, "is_causal", True) if causal is None else causal) else keys >= 0
    window = call.options.get("sliding_window")
    reach = reach & (keys > places - window) if window else reach
    return reach.expand(places.shape[0], keys.shape[1])
