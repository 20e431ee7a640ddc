"""One hooked forward pass over a batch plan: hooks feed accumulators, and every batch is checked for full coverage before it counts.

Padding never counts: padded rows are subtracted from the counts, and mixture-of-experts blocks, which are token-wise, are handed real tokens
only, so that neither routers nor experts see padding. Every site's rows must equal the batch's tokens (times the experts per token inside
them), and in the end its element count must equal tokens x width; anything else is an error, not a figure.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pytest_maxact.accumulate import SiteAccumulator
from pytest_maxact.batch import Batch, collate
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import MaxactError, MeasureError, first_line
from pytest_maxact.products import Products
from pytest_maxact.routing import Routing
from pytest_maxact.sites import Anatomy, Experts, Tap

Progress = Callable[[int, int], None]
"""Called with tokens done and tokens in all."""
PROBED = 12
"""Tokens of the piece on which it is tried whether a model lets sequences see their batch."""
SAME, ROUNDED = 1e-3, 0.1
"""Relative differences that count as none: of equal shapes or in float32, and of other shapes in 16 bits."""
FULL_WIDTH = frozenset({"hidden", "attn_output", "mlp_output", "final_norm"})
"""Kinds that are as wide as the residual stream."""


class Observer:
    """Hooks on a decoder and what they have seen. Use `attached` around `run`."""

    def __init__(self, decoder: nn.Module, anatomy: Anatomy) -> None:
        self.decoder = decoder
        self.anatomy = anatomy
        self.accumulators = {site.name: SiteAccumulator(site.name, massive=site.kind == "hidden") for site in anatomy.sites}
        self.tokens = {"calibration": 0, "evaluation": 0}
        self.batches = 0
        self.padded_tokens = 0
        self.out_of_memory = 0
        self.alone = False
        """Whether each sequence ran alone, because this model lets a token see its batch."""
        self.traffic: dict[str, dict[str, torch.Tensor]] = {experts.site: {} for experts in anatomy.experts}
        """Tokens each expert was given, int64 [experts], by router site and split."""
        self._batch: Batch | None = None
        self._routing: dict[str, Routing] = {}
        self._traffic: dict[str, torch.Tensor] = {}
        self._calls: Counter[tuple[int, str]] = Counter()
        self._order: list[str] = []

    @contextmanager
    def attached(self) -> Iterator["Observer"]:
        """Hooks in place for the duration of the context, gone after it whatever happens."""
        handles: list[Any] = []
        restore: list[Callable[[], None]] = []
        try:
            for module in self.anatomy.stripped:
                handles.append(module.register_forward_pre_hook(self._strip_padding, with_kwargs=True))
                handles.append(module.register_forward_hook(self._restore_padding))
            for experts in self.anatomy.experts:
                handles += self._watch(experts)
            for taps in _by_module(self.anatomy.taps):
                if taps[0].reads in ("gate_up", "act_fn"):
                    restore.append(self._wrap_function(taps[0]))
                elif taps[0].reads == "product":
                    handles += self._product_hooks(taps)
                elif taps[0].reads == "input":
                    handles.append(taps[0].module.register_forward_pre_hook(self._input_hook(taps)))
                else:
                    handles.append(taps[0].module.register_forward_hook(self._output_hook(taps)))
            yield self
        finally:
            for handle in handles:
                handle.remove()
            for undo in restore:
                undo()

    @torch.inference_mode()
    def run(self, plan: BatchPlan, device: torch.device, progress: Progress | None = None, side: str = "right") -> None:
        """Observe every batch of a plan; one that does not fit into memory is halved and tried again.

        Where a token's result turns out to depend on what else is in its batch, every sequence runs alone.
        Raises MeasureError for a batch of one sequence that does not fit, and for incomplete coverage.
        """
        total = sum(batch.tokens for batch in plan)
        queue = list(reversed(plan))
        self.alone = any(batch.padded_tokens for batch in plan) and self._depends_on_batch(plan, device)
        done = 0
        while queue:
            planned = queue.pop()
            if self.alone and len(planned.sequences) > 1:
                queue.extend(reversed(planned.halves()))
                continue
            if self._try(planned, device, side):
                done += planned.tokens
                if progress:
                    progress(done, total)
                continue
            self.out_of_memory += 1
            if len(planned.sequences) == 1:
                raise MeasureError(
                    f"out of memory on sample {planned.sequences[0].sample.id} alone, {planned.tokens} tokens long\n"
                    "  lower --maxact-max-seq-len, or use a device with more memory"
                )
            queue.extend(reversed(planned.halves()))

    def _depends_on_batch(self, plan: BatchPlan, device: torch.device) -> bool:
        """Whether a sequence gives something else beside other tokens in its padding, beside another neighbour, or alone.

        Tried on two short pieces of the corpus. With other padding the shapes are the same, and so must be the result; otherwise a 16-bit
        model is allowed its rounding.
        """
        ids = sorted((sequence.ids for batch in plan for sequence in batch.sequences), key=len)
        short, long = ids[0][:PROBED], ids[-1][: 2 * PROBED]
        if len(long) == len(short):
            short = short[: max(1, len(short) // 2)]
        if len(long) == len(short):
            return False
        pad = len(long) - len(short)
        rows = [[*short, *long[:pad]], [*short, *long[::-1][:pad]]]
        try:
            with_one, with_other = (self._glimpse([long, row], len(short), device) for row in rows)
            beside = self._glimpse([long[::-1], rows[0]], len(short), device)
            by_itself = self._glimpse([short], len(short), device)
        except Exception as error:
            return not _is_out_of_memory(error)
        rounding = SAME if with_one.dtype == torch.float32 else ROUNDED
        return not (
            _differ(with_one, with_other) <= SAME and _differ(with_one, beside) <= rounding and _differ(with_one, by_itself) <= rounding
        )

    def _glimpse(self, rows: Sequence[Sequence[int]], length: int, device: torch.device) -> torch.Tensor:
        """What the decoder returns for the first `length` tokens of the last row, the rest of which is padding."""
        ids = torch.tensor(rows, device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[-1, length:] = False
        real, padding = mask.flatten().nonzero().squeeze(1), (~mask).flatten().nonzero().squeeze(1)
        nothing = PlannedBatch(split="calibration", sequences=())
        self._batch = batch = Batch(plan=nothing, ids=ids, mask=mask, real=real, padding=padding, starts=(0,) * len(rows))
        try:
            output = self.decoder(**batch.model_inputs, use_cache=False)
            states: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
        finally:
            self._forget()
        return states[-1, :length] if states.shape[0] == len(rows) else states[:length, -1]

    def _try(self, planned: PlannedBatch, device: torch.device, side: str) -> bool:
        """Run one batch and commit it; False, and no trace, where memory ran out."""
        try:
            batch = collate(planned, device, side)
            self._batch = batch
            self.decoder(**batch.model_inputs, use_cache=False)
        except Exception as error:
            self._forget()
            if isinstance(error, MaxactError):
                raise
            if not _is_out_of_memory(error):
                names = f"{planned.sequences[0].sample.id} to {planned.sequences[-1].sample.id}"
                raise MeasureError(f"the forward pass failed on samples {names}: {type(error).__name__}: {first_line(error)}") from error
            if device.type == "cuda":
                torch.cuda.empty_cache()
            return False
        self._check_coverage(planned)
        for accumulator in self.accumulators.values():
            accumulator.commit(batch)
        for site, given in self._traffic.items():
            total = self.traffic[site]
            total[planned.split] = total[planned.split] + given.cpu() if planned.split in total else given.cpu()
        self.tokens[planned.split] += planned.tokens
        self.batches += 1
        self.padded_tokens += planned.padded_tokens
        self._forget()
        return True

    def _forget(self) -> None:
        self._batch = None
        self._calls.clear()
        self._routing.clear()
        self._traffic.clear()
        self._order.clear()
        for accumulator in self.accumulators.values():
            accumulator.rollback()

    def finish(self) -> None:
        """The last check: every site's element count equals tokens x width, exactly. Raises MeasureError otherwise."""
        for site in self.anatomy.sites:
            accumulator = self.accumulators[site.name]
            width = self.anatomy.hidden_size
            known = {width} if site.kind in ("attn_output", "mlp_output") else {width * self.anatomy.streams}
            if site.kind == "final_norm":
                known.add(width)
            if site.kind in FULL_WIDTH and (other := set(accumulator.widths.values()) - known):
                raise MeasureError(f"{site.name} is {other.pop()} wide where the config says {width}\n  please report the model_type")
            routed = [experts for experts in self.anatomy.experts if experts.site == f"layers.{site.layer}.router"]
            for split, tokens in self.tokens.items():
                pairs = sum(int(self.traffic[e.site][split].sum()) for e in routed if split in self.traffic[e.site])
                expected = sum(
                    (pairs if part == "experts" and site.kind == "gate" else tokens) * width for part, width in accumulator.widths.items()
                )
                seen = int(accumulator.dense_counts(split).sum())
                if seen != expected or not accumulator.widths:
                    raise MeasureError(
                        f"{site.name}: {seen} elements counted in the {split} split where {tokens} tokens make {expected}\n  please report the model_type"
                    )

    def _check_coverage(self, planned: PlannedBatch) -> None:
        pairs = {experts.site: self._pairs(experts, planned.tokens) for experts in self.anatomy.experts}
        for tap in self.anatomy.taps:
            seen = self.accumulators[tap.site.name].staged_rows
            expected = pairs[tap.experts.site] if tap.experts is not None and tap.site.kind == "gate" else planned.tokens
            rows = seen.get(tap.part, 0)
            if rows != expected:
                part = f" ({tap.part})" if tap.part else ""
                what = "did not fire" if rows == 0 else f"gave {rows} rows where {expected} were expected"
                raise MeasureError(
                    f"site {tap.site.name}{part}, module {tap.site.module}, {what}\n  a partial measurement is refused; please report the model_type"
                )
        depth = [site.name for site in self.anatomy.sites if site.kind in ("embedding", "hidden", "final_norm")]
        if (order := list(dict.fromkeys(self._order))) != depth:
            wrong = next(name for name, wanted in zip(order, depth, strict=True) if name != wanted)
            raise MeasureError(f"site {wrong} fired out of the order of depth\n  please report the model_type")

    def _pairs(self, experts: Experts, tokens: int) -> int:
        """Token-expert pairs of the batch, from the router's choice; a token takes as many experts as the model says."""
        traffic = self._traffic.get(experts.site)
        if traffic is None:
            raise MeasureError(
                f"{experts.site}: its experts were not called\n  a partial measurement is refused; please report the model_type"
            )
        pairs = int(traffic.sum())
        if not experts.skips and experts.top_k is not None and pairs != tokens * experts.top_k:
            raise MeasureError(
                f"{experts.site}: {pairs} token-expert pairs where {tokens} tokens take {experts.top_k} each\n  please report the model_type"
            )
        return pairs

    # -- hooks ---------------------------------------------------------------------------------------------------------------------

    def _output_hook(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._batch is not None and (tap := self._meant(taps)):
                if tap.site.kind == "hidden":
                    _refuse_two_streams(tap, output)
                self._see(tap, output if isinstance(output, torch.Tensor) else output[0])

        return hook

    def _input_hook(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if self._batch is not None and (tap := self._meant(taps)):
                self._see(tap, args[0])

        return hook

    def _product_hooks(self, taps: list[Tap]) -> list[Any]:
        """Read what a module's own call computes with one of its parameters, whatever it returns."""
        tap = taps[0]
        assert tap.parameter is not None
        running: list[Products] = []

        def enter(module: nn.Module, args: Any) -> None:
            if self._batch is not None:
                running.append(Products(tap.parameter))  # type: ignore[arg-type]
                running[-1].__enter__()  # type: ignore[no-untyped-call]

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if not running:
                return
            products = running.pop()
            products.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            if output is not None and self._batch is not None and (meant := self._meant(taps)):
                if len(products.found) != 1:
                    raise MeasureError(
                        f"site {tap.site.name}, module {tap.site.module}: {len(products.found)} products with its matrix where one was expected\n"
                        "  please report the model_type"
                    )
                self._see(meant, products.found[0])

        module = tap.module
        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]

    def _wrap_function(self, tap: Tap) -> Callable[[], None]:
        """Read what fused experts pass to their `_apply_gate` or to an activation that is no module (gpt_oss and lfm2_moe compute it there)."""
        experts: Any = tap.module
        name = "_apply_gate" if tap.reads == "gate_up" else "act_fn"
        original = getattr(experts, name)
        stored = vars(experts).get(name)

        def wrapped(values: torch.Tensor) -> torch.Tensor:
            if self._batch is not None:
                gate = values if tap.reads == "act_fn" else values.chunk(2, dim=-1)[0] if experts.is_concatenated else values[..., ::2]
                self._see(tap, gate)
            return original(values)  # type: ignore[no-any-return]

        setattr(experts, name, wrapped)
        return (lambda: delattr(experts, name)) if stored is None else (lambda: setattr(experts, name, stored))

    def _watch(self, experts: Experts) -> list[Any]:
        """Hooks that note which tokens the experts are given."""

        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._batch is not None:
                self._routed(experts, Routing.of_arguments(experts, args, kwargs))

        def count(index: int) -> Callable[..., None]:
            def given(module: nn.Module, args: tuple[Any, ...]) -> None:
                if self._batch is not None:
                    traffic = self._traffic.setdefault(experts.site, torch.zeros(experts.count, dtype=torch.int64))
                    traffic[index] += args[0].numel() // args[0].shape[-1]

            return given

        if experts.choice == "arguments":
            return [experts.module.register_forward_pre_hook(note, with_kwargs=True)]
        if experts.choice == "list":
            return [expert.register_forward_pre_hook(count(index)) for index, expert in enumerate(experts.module.children())]
        return []

    def _routed(self, experts: Experts, routing: Routing) -> None:
        self._routing[experts.site] = routing
        self._traffic[experts.site] = routing.traffic()

    def _strip_padding(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hand a token-wise module real tokens only: every argument that has a row per token, [B, T, ...] or [B*T, ...]."""
        batch = self._batch
        if batch is None or not batch.padded:
            return None
        return tuple(batch.strip(value) for value in args), {name: batch.strip(value) for name, value in kwargs.items()}

    def _restore_padding(self, module: nn.Module, args: Any, output: Any) -> Any:
        batch = self._batch
        if batch is None or not batch.padded:
            return None
        return tuple(map(batch.restore, output)) if isinstance(output, tuple) else batch.restore(output)

    def _see(self, tap: Tap, tensor: torch.Tensor) -> None:
        batch = self._batch
        assert batch is not None
        tensor = tensor.detach() if tap.columns is None else tensor.detach()[..., tap.columns]
        stripped = tap.in_moe and batch.padded
        locate: Callable[[int], int | None]
        if tap.site.kind == "gate" and tap.experts is not None:
            values, locate = self._routed_rows(tap.experts, tensor.reshape(-1, tensor.shape[-1]), batch)
        else:
            shape = (1, batch.real.numel()) if stripped else tuple(batch.ids.shape)
            values = rows_of(tensor, tap, shape)
            locate = (lambda row: int(batch.real[row])) if stripped else (lambda row: row)
        if tap.site.kind == "router" and tap.experts is not None and tap.experts.choice == "logits":
            self._routed(tap.experts, Routing.of_logits(tap.experts, values))
        if tap.last:
            self.accumulators[tap.site.name].rollback()
            self._order = [name for name in self._order if name != tap.site.name]
        if tap.site.kind in ("embedding", "hidden", "final_norm"):
            self._order.append(tap.site.name)
        padding = batch.padding if batch.padded and not tap.in_moe else None
        self.accumulators[tap.site.name].observe(values, padding, locate, tap.part)

    def _routed_rows(self, experts: Experts, values: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Callable[[int], int | None]]:
        routing = self._routing.get(experts.site)
        if routing is None:
            return values, lambda row: None
        keep = routing.keep()
        if keep is not None:
            values = values[keep]
        offset = routing.advance(values.shape[0])

        def locate(row: int) -> int | None:
            token = routing.token(offset + row)
            return None if token is None else int(batch.real[token]) if batch.padded else token

        return values, locate

    def _meant(self, taps: list[Tap]) -> Tap | None:
        """The tap that this call of a module is for; None for a call on which no site is read."""
        first = taps[0]
        if first.firing is None and not first.once:
            return first
        call = self._calls[id(first.module), first.reads]
        self._calls[id(first.module), first.reads] += 1
        if first.once:
            return first if call == 0 else None
        found = next((tap for tap in taps if tap.firing == call), None)
        if found is None and call > max(tap.firing or 0 for tap in taps):
            raise MeasureError(
                f"site {first.site.name}, module {first.site.module}, was called {call + 1} times\n  please report the model_type"
            )
        return found


def rows_of(tensor: torch.Tensor, tap: Tap, shape: tuple[int, ...]) -> torch.Tensor:
    """A site's tensor as [tokens, width], for a batch of `shape` [B, T].

    Layouts: [B, T, width] or [B*T, width] by default; `time first` [T, B, width]; `first tokens` [B, more than T, width], of which the rest are
    no tokens, `last tokens` likewise; `streams first` [S, B, T, width] and `streams last` [B, T, S, width], whose streams lie side by side in one row. Raises
    MeasureError for any other.
    """
    rows = shape[0] * shape[1]
    if tap.layout == "time first":
        tensor = tensor.transpose(0, 1)
    elif tap.layout == "first tokens":
        tensor = tensor[:, : shape[1]]
    elif tap.layout == "last tokens":
        tensor = tensor[:, -shape[1] :]
    elif tap.layout == "streams first":
        tensor = tensor.movedim(0, -2).flatten(-2)
    elif tap.layout == "streams last":
        tensor = tensor.flatten(-2)
    if tuple(tensor.shape[:-1]) not in (shape, (rows,)):
        raise MeasureError(
            f"site {tap.site.name}, module {tap.site.module}: a tensor of shape {list(tensor.shape)} where the batch is {list(shape)}\n"
            "  please report the model_type"
        )
    return tensor.reshape(rows, tensor.shape[-1])


def _differ(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative distance of two tensors; NaN where either has a NaN or an infinity."""
    return float((one.double() - other.double()).norm() / one.double().norm())


def _by_module(taps: Iterable[Tap]) -> list[list[Tap]]:
    """Taps that read the same tensor of the same module, together."""
    groups: dict[tuple[int, str], list[Tap]] = {}
    for tap in taps:
        groups.setdefault((id(tap.module), tap.reads), []).append(tap)
    return list(groups.values())


def _refuse_two_streams(tap: Tap, output: Any) -> None:
    """A layer that hands on an update beside its residual: neither alone is the residual stream after the layer."""
    if not isinstance(output, tuple) or not output:
        return
    first, *others = output
    if any(isinstance(other, torch.Tensor) and other.shape == first.shape and other.is_floating_point() for other in others):
        raise MeasureError(
            f"site {tap.site.name}, module {tap.site.module}: it returns two tensors of one shape, and it cannot be told which is the residual "
            "stream\n  please report the model_type"
        )


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in text for phrase in phrases)
