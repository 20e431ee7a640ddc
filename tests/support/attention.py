"""What attention multiplies and its scores, seen from below: the products and the softmax that an eager implementation
computes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_PRODUCTS = ("matmul", "bmm", "__matmul__", "einsum")


@dataclass
class Below:
    """Of one module: the largest magnitudes of what it multiplies, and the largest score of each head."""

    maxima: dict[str, float] = field(default_factory=dict)
    heads: list[float] = field(default_factory=list)


class _Products(TorchFunctionMode):
    """The last product before a softmax is that of queries and keys, the first after it that with values."""

    def __init__(self, found: Below, mask: torch.Tensor) -> None:
        super().__init__()
        self._found, self._mask = found, mask
        self._factors: tuple[torch.Tensor, torch.Tensor] | None = None
        self._scores: torch.Tensor | None = None
        self._weighs = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _PRODUCTS and all(isinstance(one, torch.Tensor) and one.ndim == 4 for one in args[:2]):
            if self._weighs:
                self._keep("v", args[1])
            self._factors, self._scores, self._weighs = (args[0], args[1]), None, False
        elif name == "cat" and self._factors and args[0][0].ndim == 4:
            self._scores = args[0][0]  # beside them stand the sinks
        elif name in ("sub", "__sub__") and self._factors and args[0].ndim == 4 and self._scores is None:
            self._scores = args[0]  # of which the largest is taken away
        elif name == "softmax" and self._factors and args[0].ndim == 4:
            self._weigh(args[0] if self._scores is None else self._scores)
        return result

    def _weigh(self, scores: torch.Tensor) -> None:
        assert self._factors is not None
        query, key = self._factors
        self._keep("q", query)
        self._keep("k", key.transpose(2, 3))
        pairs = (self._mask[:, :, None] & self._mask[:, None])[:, None]
        kept = torch.where(pairs & (scores > torch.finfo(scores.dtype).min / 2), scores.float(), -torch.inf)
        heads = kept.amax((0, 2, 3)).tolist()
        self._found.heads = list(map(max, heads, self._found.heads or heads))
        self._weighs = True

    def _keep(self, kind: str, states: torch.Tensor) -> None:
        rows = states.transpose(1, 2)[self._mask]
        self._found.maxima[kind] = max(float(rows.abs().max()), self._found.maxima.get(kind, 0.0))


@contextmanager
def seen_from_below(modules: dict[str, nn.Module], mask: torch.Tensor) -> Iterator[dict[str, Below]]:
    """By name, what modules compute while this lasts; `mask` bool [B, T] tells the real tokens."""
    found = {name: Below() for name in modules}
    running: list[_Products] = []

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            running.append(_Products(found[name], mask))
            running[-1].__enter__()

        return hook

    def leave(*_: Any) -> None:
        running.pop().__exit__(None, None, None)

    handles = [module.register_forward_pre_hook(enter(name)) for name, module in modules.items()]
    handles += [module.register_forward_hook(leave, always_call=True) for module in modules.values()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
