"""Which token stands behind a row inside the experts of a mixture-of-experts block.

transformers 5 runs fused experts in one of several ways, each with its own row order. For those known here the order is recomputed from the
router's choice; for any other a row's token is unknown, and a peak says only its channel.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(slots=True)
class Routing:
    """The choice of experts for one batch: `chosen` int64 [tokens, top_k], and the way its experts run."""

    chosen: torch.Tensor | None
    implementation: str
    _next: int = 0
    _tokens: torch.Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, experts: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Routing":
        """From the arguments of an experts module: hidden states, chosen experts, their weights."""
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        chosen = [tensor for tensor in tensors if not tensor.is_floating_point() and tensor.ndim == 2]
        implementation = getattr(getattr(experts, "config", None), "_experts_implementation", None) or "eager"
        return cls(chosen[0] if len(chosen) == 1 else None, implementation)

    def advance(self, rows: int) -> int:
        """Start of the next `rows` rows: experts that run one after another see the rows in pieces."""
        start = self._next
        self._next += rows
        return start

    def token(self, row: int) -> int | None:
        """The token behind a row, None where the order is not known."""
        if self._tokens is None:
            self._tokens = self._order()
        return None if self._tokens is None else int(self._tokens[row])

    def _order(self) -> torch.Tensor | None:
        if self.chosen is None:
            return None
        tokens, top_k = self.chosen.shape
        if self.implementation == "eager":
            return torch.sort(self.chosen.T.reshape(-1), stable=True).indices % tokens
        if self.implementation == "grouped_mm":
            return torch.sort(self.chosen.reshape(-1)).indices // top_k
        if self.implementation == "batched_mm":
            return torch.arange(tokens * top_k) // top_k
        return None
