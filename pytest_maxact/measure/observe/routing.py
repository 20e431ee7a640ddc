"""Which token stands behind a row inside the experts of a mixture-of-experts block, and how many tokens each expert was
given.

transformers 5 runs fused experts in one of several ways, each with its own row order. For those known here the order is
recomputed from the router's choice; for any other a row's token is unknown, and a peak says only its channel.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from pytest_maxact.checkpoint.sites.anatomy import Experts
from pytest_maxact.errors import MeasureError

KNOWN_ORDERS = ("eager", "grouped_mm", "batched_mm", "dense")
"""Row orders: sorted by expert then by place in the choice, sorted by expert then by token, token by token, every token
for every expert.
"""


@dataclass(slots=True)
class Routing:
    """The choice of experts for one batch: `chosen` int64 [tokens, top_k], and the order in which their rows lie.
    Experts from `count` on have no weights, and their rows no meaning.
    """

    chosen: torch.Tensor
    order: str
    count: int
    skips: bool = False
    _next: dict[str, int] = field(default_factory=dict)
    _tokens: torch.Tensor | None = field(default=None, repr=False)

    @classmethod
    def of_arguments(cls, experts: Experts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Routing":
        """From the arguments of an experts module: hidden states, chosen experts, their weights. Raises MeasureError
        where no choice is among them.
        """
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        chosen = [tensor for tensor in tensors if tensor.dtype in (torch.int32, torch.int64) and tensor.ndim == 2]
        if len(chosen) != 1:
            raise MeasureError(
                f"{experts.site}: its experts were called with {len(chosen)} tensors that could be the choice\n"
                "  please report the model_type"
            )
        implementation = getattr(getattr(experts.module, "config", None), "_experts_implementation", None) or "eager"
        return cls(chosen[0].long(), implementation, experts.count, experts.skips)

    @classmethod
    def of_logits(cls, experts: Experts, logits: torch.Tensor) -> "Routing":
        """From router logits [tokens, experts] where the largest are taken."""
        assert experts.top_k is not None
        return cls(logits.topk(experts.top_k, dim=-1).indices, experts.order, experts.count)

    def traffic(self) -> torch.Tensor:
        """Tokens each expert was given, int64 [count], on the choice's device and without waiting for it."""
        if self.order == "dense":
            return self._given().sum(dim=0)
        flat = self.chosen.reshape(-1).clamp(max=self.count)
        counts = torch.zeros(self.count + 1, dtype=torch.int64, device=flat.device)
        return counts.scatter_add_(0, flat, torch.ones_like(flat))[: self.count]

    def keep(self) -> torch.Tensor | None:
        """Which rows are routed ones, int64; None where all are. How many have an expert with weights only the device
        knows, and it is waited for.
        """
        if self.order == "dense":
            return places_of(self._given().T.reshape(-1), self.chosen.numel())
        if not self.skips or self.order == "eager":
            return None
        if self.order not in KNOWN_ORDERS:
            raise MeasureError(
                f"experts implementation {self.order!r}: which rows have no expert with weights is not known\n"
                "  measure with eager experts"
            )
        flat = self.chosen.reshape(-1)
        return places_of((flat if self.order == "batched_mm" else flat.sort().values) < self.count)

    def _given(self) -> torch.Tensor:
        """Whether a token goes to an expert, bool [tokens, count]."""
        given = torch.zeros((self.chosen.shape[0], self.count), dtype=torch.bool, device=self.chosen.device)
        return given.scatter_(1, self.chosen, True)

    def advance(self, rows: int, reader: str = "") -> int:
        """Start of the next `rows` rows that a reader is given: experts that run one after another see the rows in
        pieces.
        """
        start = self._next.get(reader, 0)
        self._next[reader] = start + rows
        return start

    def behind(self, rows: torch.Tensor) -> torch.Tensor | None:
        """The tokens behind routed rows, None where the order is not known. A row that no token was routed to is told
        by coverage, not here.
        """
        tokens = self.tokens()
        if tokens is None or not tokens.numel():
            return None
        return tokens[rows.clamp(max=tokens.numel() - 1)]

    def tokens(self) -> torch.Tensor | None:
        """The token behind every routed row, int64, None where the order is not known."""
        if self._tokens is None and self.order in KNOWN_ORDERS:
            self._tokens = self._order()
        return self._tokens

    def _order(self) -> torch.Tensor:
        tokens, top_k = self.chosen.shape
        if self.order == "dense":
            keep = self.keep()
            assert keep is not None
            return keep % tokens
        if self.order == "batched_mm":
            flat, token = self.chosen.reshape(-1), torch.arange(tokens * top_k, device=self.chosen.device) // top_k
        elif self.order == "grouped_mm":
            flat, places = self.chosen.reshape(-1).sort()
            token = places // top_k
        else:
            flat, places = torch.sort(self.chosen.T.reshape(-1), stable=True)
            token = places % tokens
        return token[flat < self.count] if self.skips else token


def places_of(marks: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """Where a bool tensor [n] is True, int64. Where it is known how many are, a device is not waited for."""
    if marks.device.type == "cpu" or count is None:
        return marks.nonzero().squeeze(1)
    return marks.to(torch.uint8).argsort(descending=True, stable=True)[:count]
