"""What hooks hand over, on its way to the accumulators: a tap and its tensor in, rows [tokens, width] out, each with
the way back to its token.

Padding never counts: padded rows are named to the accumulators, and what was handed real tokens only has none.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import torch

from pytest_maxact.checkpoint.sites.anatomy import Experts, Tap
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.attention import Attended
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.logits import Logits
from pytest_maxact.measure.observe.losses import spans_of
from pytest_maxact.measure.observe.routing import Routing, places_of
from pytest_maxact.measure.observe.rows import rows_of
from pytest_maxact.measure.observe.rowwork import Locate, at_once, in_place

_OF_A_BATCH = ("batch", "running", "traffic", "order", "_routing", "_unordered")


class Intake:
    """What was noted of the batch that runs; without a `batch` there is nothing to see."""

    def __init__(self, accumulators: Mapping[str, SiteAccumulator], fidelity: Fidelity, logits: Logits | None) -> None:
        self.batch: Batch | None = None
        self.traffic: dict[str, torch.Tensor] = {}
        """Tokens each expert was given in this batch, int64 [experts], by router site."""
        self.running: tuple[int, torch.dtype] | None = None
        """The layer of which something was seen last, and the dtype of that; None before the first."""
        self.order: list[str] = []
        """Sites of the residual stream in the order they fired in this batch."""
        self._accumulators = accumulators
        self._fidelity = fidelity
        self._logits = logits
        self._routing: dict[str, Routing] = {}
        self._unordered: Counter[str] = Counter()

    def forget(self) -> None:
        """Leave the batch, and everything noted of it."""
        self.batch = None
        self.running = None
        self.traffic.clear()
        self.order.clear()
        self._routing.clear()
        self._unordered.clear()

    def lay_down(self) -> Mapping[str, Any]:
        """Leave a batch half-way, with all that was noted of it."""
        noted = {name: getattr(self, name) for name in _OF_A_BATCH}
        self.batch, self.running = None, None
        self.traffic, self.order, self._routing, self._unordered = {}, [], {}, Counter()
        return noted

    def take_up(self, noted: Mapping[str, Any]) -> None:
        """Go on with a batch that was laid down."""
        for name, value in noted.items():
            setattr(self, name, value)

    def settle(self) -> None:
        """Have the traffic of the batch on the host, by one transfer."""
        self.traffic = dict(zip(self.traffic, at_once(list(self.traffic.values())), strict=True))

    def route(self, experts: Experts, routing: Routing) -> None:
        """Note which tokens the experts of a block are given."""
        self._routing[experts.site] = routing
        self.traffic[experts.site] = routing.traffic()

    def count(self, experts: Experts, index: int, states: torch.Tensor) -> None:
        """Note what one expert of a list is given, [..., width]."""
        traffic = self.traffic.setdefault(experts.site, torch.zeros(experts.count, dtype=torch.int64))
        traffic[index] += states.numel() // states.shape[-1]

    def attend(self, tap: Tap, call: Attended) -> None:
        """Hand what a tap reads of a call of attention to its accumulators."""
        assert self.batch is not None
        self._accumulators[tap.site.name].heads = call.heads(tap.reads)
        self.see(tap, call.states(tap.reads))
        counts = bool(self.batch.plan.sequences)
        if counts and tap.site.kind == "q" and tap.site.layer is not None and self._logits is not None:
            self._logits.stage(tap.site.layer, tap.part, call, self.batch.on(call.query.device))

    def see(self, tap: Tap, tensor: torch.Tensor) -> None:
        """Hand the tensor of a tap to its accumulators."""
        assert self.batch is not None
        batch = self.batch.on(tensor.device)
        if tap.site.layer is not None:
            self.running = tap.site.layer, tensor.dtype
        tensor = tensor.detach() if tap.columns is None else tensor.detach()[..., tap.columns]
        stripped = tap.in_moe and batch.padded
        locate: Locate
        offset = 0
        if tap.routed and tap.experts is not None:
            values, locate, offset = self._routed_rows(tap, tap.experts, tensor.reshape(-1, tensor.shape[-1]), batch)
        else:
            shape = (1, batch.real.numel()) if stripped else batch.shape
            values = rows_of(tensor, tap, shape)
            locate = (lambda rows: batch.real[rows]) if stripped else in_place
        if tap.site.kind == "router" and tap.experts is not None and tap.experts.choice == "logits":
            self.route(tap.experts, Routing.of_logits(tap.experts, values))
        if not batch.plan.sequences:
            return  # tried out, to be forgotten
        if tap.last:
            self._accumulators[tap.site.name].rollback()
            self.order = [name for name in self.order if name != tap.site.name]
        if tap.site.kind in ("embedding", "hidden", "final_norm"):
            self.order.append(tap.site.name)
        padding = batch.padding if batch.padded and not tap.in_moe else None
        spans = spans_of(batch, stripped, tap.routed) if batch.plan.split == "evaluation" else None
        self._accumulators[tap.site.name].observe(values, padding, locate, tap.part, batch.shape, spans)
        if tap.site.is_linear_input:
            self._fidelity.observe(tap, values, self._sampled(tap, values, offset, batch), batch, locate)
        elif tap.site.is_cached:
            heads = self._accumulators[tap.site.name].heads or 1
            self._fidelity.keep(tap, values, heads, batch.real[batch.sampled], batch)

    def _routed_rows(
        self, tap: Tap, experts: Experts, values: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, Locate, int]:
        """Routed rows, the way from each to its token, and how many of the batch came before them in other calls."""
        routing = self._routing.get(experts.site)
        if routing is None:
            return values, lambda rows: torch.full_like(rows, -1), 0
        keep = routing.keep()
        if keep is not None:
            values = values[keep]
        offset = routing.advance(values.shape[0], f"{tap.site.kind} {tap.reads} {id(tap.module)}")

        def locate(rows: torch.Tensor) -> torch.Tensor:
            tokens = routing.behind(offset + rows)
            return torch.full_like(rows, -1) if tokens is None else batch.real[tokens] if batch.padded else tokens

        return values, locate, offset

    def _sampled(self, tap: Tap, values: torch.Tensor, offset: int, batch: Batch) -> torch.Tensor:
        """The rows of a tap whose tokens are sampled, int64; of routed rows whose tokens are not known, so many of
        them.
        """
        if not tap.routed or tap.experts is None:
            return batch.sampled if tap.in_moe and batch.padded else batch.real[batch.sampled]
        routing = self._routing.get(tap.experts.site)
        tokens = routing.tokens() if routing is not None else None
        if routing is None or tokens is None:
            return self._every(tap.site.name, values, batch)
        is_sampled = torch.zeros(batch.real.numel(), dtype=torch.bool, device=values.device)
        is_sampled[batch.sampled] = True
        whole = values.shape[0] == tokens.numel() == routing.chosen.numel()
        count = batch.sampled.numel() * routing.chosen.shape[1] if whole else None
        return places_of(is_sampled[tokens[offset : offset + values.shape[0]]], count)

    def _every(self, site: str, values: torch.Tensor, batch: Batch) -> torch.Tensor:
        """One row in `stride` of rows whose tokens are not known, counted on from call to call, so that no expert
        counts for more than its rows.
        """
        seen = self._unordered[site]
        self._unordered[site] += values.shape[0]
        phase = crc32(batch.plan.sequences[0].sample.id.encode()) if batch.plan.sequences else 0
        first = min(-(seen + phase) % batch.stride, values.shape[0])
        return torch.arange(first, values.shape[0], batch.stride, device=values.device)
