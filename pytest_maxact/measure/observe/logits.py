"""Attention logits: calls of attention in, the largest score of every head before the softmax out, with its place.

Padding never counts. On a device nothing is read back before a batch is committed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pytest_maxact.measure.observe.attention import Attended
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.blocks import largest_scores
from pytest_maxact.measure.observe.reduction import Entry, How, State, within
from pytest_maxact.record.logits import LayerLogits, joined_logits

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
        device, (sequences, count) = call.query.device, call.query.shape[:2]
        heads = torch.empty((sequences, count), device=device)
        places = torch.empty(sequences, dtype=torch.int64, device=device)
        for sequence in range(sequences):
            heads[sequence], places[sequence] = largest_scores(call, *_real(call, batch, sequence))
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


def _real(call: Attended, batch: Batch, sequence: int) -> tuple[int, slice, slice]:
    """A sequence of a call, and which of its queries and of its keys are no padding."""
    width = batch.ids.shape[1]
    own = slice(0, width)
    if sequence < len(batch.starts):
        start = batch.starts[sequence]
        own = slice(start, start + len(batch.plan.sequences[sequence]))
    rows, columns = (own if size == width else slice(0, size) for size in (call.query.shape[2], call.key.shape[2]))
    return sequence, rows, columns
