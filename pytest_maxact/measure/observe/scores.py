"""Attention scores: how large the products of queries and keys become, layer by layer, before they are scaled.

Queries and keys that a fused kernel is given are read once each, and the product of their largest norms bounds every
score of a head. Where that bound lies beyond float16, and where a model forms its scores itself, the largest score is
read. Products that a 16-bit model forms in float32 are no matter of its range. Padding never counts. A batch is staged
and committed whole. What is read next depends on the bound, so a device is waited for once per layer, and only here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.reduction import Entry, How, State, value_of
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.record.scores import LayerScores, joined

_FUSED = "scaled_dot_product_attention"
_PRODUCTS = {"matmul", "bmm", "baddbmm", "einsum", "__matmul__", "__rmatmul__"}


class Scores:
    """The largest score of every layer whose attention was seen."""

    def __init__(self) -> None:
        self.layers: tuple[LayerScores, ...] = ()
        self._staged: list[LayerScores] = []

    def stage(self, layer: int, largest: float, exact: bool) -> None:
        self._staged.append(LayerScores(layer=layer, largest=largest, exact=exact))

    def commit(self, batch: Batch) -> None:
        """Keep what the batch staged."""
        self.layers = joined((*self.layers, *self._staged))
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = []

    def state(self) -> State:
        """The largest of every layer, with whether it was read, by layer."""
        largest = {str(found.layer): [found.largest, found.exact] for found in self.layers}
        return {"largest": Entry(largest, How.MAX)}

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        known = value_of(state, "largest", {}).items()
        self.layers = joined(LayerScores(layer=int(layer), largest=most, exact=read) for layer, (most, read) in known)


class ScoreWatch(TorchFunctionMode):
    """Reads, while active, the products of queries and keys of one batch. `where` tells the layer that runs and the
    dtype of what it is given; None outside all layers.
    """

    def __init__(self, scores: Scores, batch: Batch, where: Callable[[], tuple[int, torch.dtype] | None]) -> None:
        super().__init__()
        self._scores, self._batch, self._where = scores, batch, where

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if (name == _FUSED or name in _PRODUCTS) and (place := self._where()) is not None:
            if name == _FUSED:
                given = dict(zip(("query", "key"), args, strict=False)) | (kwargs or {})
                self._read_fused(place, given["query"], given["key"])
            elif self._is_square(result):
                self._read_product(place, result)
        return result

    def _is_square(self, result: Any) -> bool:
        """Whether a product holds an entry for every pair of tokens."""
        length = self._batch.ids.shape[1]
        return (
            isinstance(result, torch.Tensor)
            and result.is_floating_point()
            and result.ndim >= 3
            and tuple(result.shape[-2:]) == (length, length)
        )

    def _read_product(self, place: tuple[int, torch.dtype], scores: torch.Tensor) -> None:
        layer, given = place
        if _is_raised(scores.dtype, given):
            self._scores.stage(layer, 0.0, True)
            return
        largest = _largest(scores)
        batch, length = self._batch.ids.shape
        if not largest <= FP16_MAX and self._batch.padded and scores.shape[0] % batch == 0:
            real = self._batch.on(scores.device).mask
            pairs = (real[:, :, None] & real[:, None, :])[:, None]
            shaped = scores.reshape(batch, -1, length, length)
            largest = _largest(torch.where(pairs, shaped, torch.zeros((), dtype=scores.dtype, device=scores.device)))
        self._scores.stage(layer, largest, True)

    def _read_fused(self, place: tuple[int, torch.dtype], query: torch.Tensor, key: torch.Tensor) -> None:
        layer, given = place
        if _is_raised(query.dtype, given):
            self._scores.stage(layer, 0.0, True)
            return
        rows, columns = self._real(query), self._real(key)
        heads = _norms(query, rows).amax(-1)
        groups = _norms(key, columns).amax(-1)
        shared = heads.shape[1] // groups.shape[1] if heads.ndim == 2 and not heads.shape[1] % groups.shape[1] else 0
        keys = groups.repeat_interleave(shared, 1) if shared else groups.amax(-1, keepdim=True)
        bounds = heads * keys
        bound = _largest(bounds)
        if bound <= FP16_MAX or not shared:
            self._scores.stage(layer, bound, False)
            return
        largest = 0.0
        for sequence, head in (~(bounds <= FP16_MAX)).nonzero().tolist():
            queries, whole = query[sequence, head].float(), key[sequence, head // shared].float()
            queries = queries if rows is None else queries[rows[sequence]]
            whole = whole if columns is None else whole[columns[sequence]]
            if not (found := _largest(queries @ whole.T)) <= largest:
                largest = found
        self._scores.stage(layer, max(largest, _largest(bounds.where(bounds <= FP16_MAX, 0.0))), True)

    def _real(self, states: torch.Tensor) -> torch.Tensor | None:
        """Which rows of states [B, heads, T, width] are real, bool [B, T]; None where all are, or it cannot be told."""
        mask = self._batch.on(states.device).mask
        return mask if self._batch.padded and (states.shape[0], states.shape[-2]) == tuple(mask.shape) else None


def _is_raised(dtype: torch.dtype, given: torch.dtype) -> bool:
    """Whether a layer that is given 16 bits forms its scores in more."""
    return dtype.itemsize > given.itemsize


def _norms(states: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Norms of states [B, heads, T, width], float32 [B, heads, T]; 0 for padding."""
    norms: torch.Tensor = torch.linalg.vector_norm(states, dim=-1, dtype=torch.float32)
    return norms if real is None else norms.where(real[:, None], 0.0)


def _largest(values: torch.Tensor) -> float:
    """The largest magnitude; inf where one is no number."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    largest = float(torch.maximum(-low, high))
    return float("inf") if largest != largest else largest
