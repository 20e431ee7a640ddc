"""Attention logits: calls of attention in, the largest score of every head before the softmax out, with its place.

Computed from queries and keys in float32, block by block of queries, so that no more than one block lies in memory.
Pairs that a mask keeps apart and padding never count. On a device nothing is read back before a batch is committed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pytest_maxact.measure.observe.attention import Attended
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.reduction import Entry, How, State, within
from pytest_maxact.record.logits import LayerLogits, joined_logits

_BLOCK = 1 << 22
"""Scores that are held at once."""
_UNREAD = ("block_indices", "indices")
"""Options by which a kernel leaves pairs out that no mask tells of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """Of one call, on its device: of every sequence the largest score of each head [B, H], and the flat place [T, S, H]
    of the largest of all; `shape` is (S, H).
    """

    layer: int
    part: str
    heads: torch.Tensor
    places: torch.Tensor
    shape: tuple[int, ...]
    exact: bool


class Logits:
    """The largest scores of every layer that attends through the interface."""

    def __init__(self) -> None:
        self.layers: tuple[LayerLogits, ...] = ()
        self._staged: list[_Found] = []

    def stage(self, layer: int, part: str, call: Attended, batch: Batch) -> None:
        """Look at one call of this batch."""
        sequences, count = call.query.shape[:2]
        device = call.query.device
        heads = torch.full((sequences, count), -torch.inf, device=device)
        largest = torch.full((sequences,), -torch.inf, device=device)
        places = torch.zeros(sequences, dtype=torch.int64, device=device)
        for sequence, start, scores in _blocks(call, batch):
            heads[sequence] = torch.maximum(heads[sequence], scores.amax((-2, -1)))
            by_pair = scores.permute(1, 2, 0)  # of equals the earliest query, key and head
            value, flat = by_pair.flatten().max(0)
            here = flat + start * by_pair.shape[1] * count
            known = largest[sequence]
            places[sequence] = torch.where((value > known) | value.isnan() & ~known.isnan(), here, places[sequence])
            largest[sequence] = torch.maximum(known, value)
        exact = not any(isinstance(call.options.get(name), torch.Tensor) for name in _UNREAD)
        shape = (call.key.shape[2], count)
        self._staged.append(_Found(layer=layer, part=part, heads=heads, places=places, shape=shape, exact=exact))

    def commit(self, batch: Batch) -> None:
        """Keep what the batch staged."""
        new = (one for found in self._staged for one in _read(found, batch))
        self.layers = joined_logits((*self.layers, *new))
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = []

    def state(self) -> State:
        """Of every layer and part the largest score of each head, and which of them is the largest of all, where."""
        state: dict[str, Entry] = {}
        for one in self.layers:
            name = f"{one.layer}/{one.part}"
            place = [-one.largest, one.sample, one.query, one.key, one.head, one.query_id, one.key_id]
            state[f"heads/{name}"] = Entry(torch.tensor(one.heads, dtype=torch.float64), How.MAX)
            state[f"place/{name}"] = Entry(place, How.LEAST)
            state[f"bound/{name}"] = Entry(int(not one.exact), How.MAX)
        return state

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        found = []
        for name, heads in within("heads", state).items():
            layer, _, part = name.partition("/")
            _, sample, query, key, head, query_id, key_id = state[f"place/{name}"].value
            one = LayerLogits(
                layer=int(layer), part=part, heads=tuple(heads.value.tolist()), head=head, sample=sample, query=query,
                key=key, query_id=query_id, key_id=key_id, exact=not state[f"bound/{name}"].value,
            )  # fmt: skip
            found.append(one)
        self.layers = joined_logits(found)


def _read(found: _Found, batch: Batch) -> Iterator[LayerLogits]:
    """Of every sequence of a batch what was found of it."""
    keys, heads = found.shape
    width = batch.ids.shape[1]
    largest = torch.where(found.heads.isnan(), torch.inf, found.heads).tolist()
    for sequence, flat in enumerate(found.places.tolist()):
        pair, head = divmod(flat, heads)
        query, key = divmod(pair, keys)
        sample, position, token = batch.place(sequence * width + query)
        _, attended, other = batch.place(sequence * width + key)
        yield LayerLogits(
            layer=found.layer, part=found.part, heads=tuple(largest[sequence]), head=head, sample=sample,
            query=position, key=attended, query_id=token, key_id=other, exact=found.exact,
        )  # fmt: skip


def _blocks(call: Attended, batch: Batch) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Blocks of scores, float32 [H, queries, S]: their sequence, their first query, and -inf for pairs that do not
    count.
    """
    query, key, options = call.query, call.key, call.options
    sequences, heads, length, width = query.shape
    size = key.shape[2]
    groups = heads // key.shape[1]
    scaling = options.get("scaling")
    scale = width**-0.5 if scaling is None else scaling
    cap = options.get("softcap")
    bias = options.get("position_bias")
    step = max(1, _BLOCK // (heads * size))
    for sequence in range(sequences):
        keys = key[sequence].float().transpose(-2, -1)[:, None]
        for start in range(0, length, step):
            stop = min(start + step, length)
            rows = query[sequence, :, start:stop].float().view(key.shape[1], groups, stop - start, width)
            scores = (rows @ keys).view(heads, stop - start, size) * scale
            if cap is not None:
                scores = torch.tanh(scores / cap) * cap
            if isinstance(bias, torch.Tensor):
                scores = scores + _part(bias, sequence, start, stop)
            yield sequence, start, _kept(scores, call, batch, sequence, start)


def _kept(scores: torch.Tensor, call: Attended, batch: Batch, sequence: int, start: int) -> torch.Tensor:
    """Scores [H, queries, S] of pairs that may attend to each other; -inf for the others."""
    queries, size = scores.shape[1:]
    mask: Any = call.mask
    real = batch.mask[sequence]
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        part = _part(mask, sequence, start, start + queries)[..., :size]
        if mask.dtype == torch.bool:
            scores = scores.masked_fill(~part, -torch.inf)
        else:
            scores = (scores + part).masked_fill(part <= torch.finfo(mask.dtype).min / 2, -torch.inf)
    else:
        scores = scores.masked_fill(~_in_reach(call, queries, size, start, scores.device), -torch.inf)
    if batch.padded and real.shape[0] == size:
        scores = scores.masked_fill(~(real[start : start + queries, None] & real[None]), -torch.inf)
    return scores


def _part(tensor: torch.Tensor, sequence: int, start: int, stop: int) -> torch.Tensor:
    """What of a tensor [B or 1, H or 1, T or 1, S] belongs to queries of a sequence."""
    mine = tensor[sequence if tensor.shape[0] > 1 else 0]
    return mine[:, start:stop] if mine.shape[1] > 1 else mine


def _in_reach(call: Attended, queries: int, size: int, start: int, device: torch.device) -> torch.Tensor:
    """Which keys a kernel without a mask lets queries attend to, bool [queries, S]."""
    causal = call.options.get("is_causal")
    rows = torch.arange(start, start + queries, device=device)[:, None] + size - call.query.shape[2]
    columns = torch.arange(size, device=device)[None]
    reach = columns <= rows if (getattr(call.module, "is_causal", True) if causal is None else causal) else columns >= 0
    window = call.options.get("sliding_window")
    return reach & (columns > rows - window) if window else reach.expand(queries, size)
