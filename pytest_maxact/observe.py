"""One hooked forward pass over a batch plan: hooks feed accumulators, and every batch is checked for full coverage before it counts.

Padding never counts: padded rows are subtracted from the counts, and mixture-of-experts blocks, which are token-wise, are handed real tokens
only, so that neither routers nor experts see padding. Every site's rows must equal the batch's tokens (times the experts per token inside
them), and in the end its element count must equal tokens x width; anything else is an error, not a figure.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pytest_maxact.accumulate import SiteAccumulator
from pytest_maxact.batch import Batch, collate
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import MaxactError, MeasureError, first_line
from pytest_maxact.routing import Routing
from pytest_maxact.sites import Anatomy, Tap

Progress = Callable[[int, int], None]
"""Called with tokens done and tokens in all."""
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
        self._batch: Batch | None = None
        self._routing: dict[nn.Module, Routing] = {}
        self._fired: set[int] = set()
        self._proven: set[str] = set()

    @contextmanager
    def attached(self) -> Iterator["Observer"]:
        """Hooks in place for the duration of the context, gone after it whatever happens."""
        handles: list[Any] = []
        restore: list[Callable[[], None]] = []
        try:
            for block in self.anatomy.moe_blocks:
                handles.append(block.register_forward_pre_hook(self._strip_padding, with_kwargs=True))
                handles.append(block.register_forward_hook(self._restore_padding))
            for experts in {tap.experts for tap in self.anatomy.taps if tap.experts is not None}:
                handles.append(experts.register_forward_pre_hook(self._note_routing, with_kwargs=True))
            for tap in self.anatomy.taps:
                if tap.reads == "gate_up":
                    restore.append(self._wrap_apply_gate(tap))
                elif tap.reads == "input":
                    handles.append(tap.module.register_forward_pre_hook(self._input_hook(tap)))
                else:
                    handles.append(tap.module.register_forward_hook(self._output_hook(tap)))
            yield self
        finally:
            for handle in handles:
                handle.remove()
            for undo in restore:
                undo()

    @torch.inference_mode()
    def run(self, plan: BatchPlan, device: torch.device, progress: Progress | None = None, side: str = "right") -> None:
        """Observe every batch of a plan; one that does not fit into memory is halved and tried again.

        Raises MeasureError for a batch of one sequence that does not fit, and for incomplete coverage.
        """
        total = sum(batch.tokens for batch in plan)
        queue = list(reversed(plan))
        done = 0
        while queue:
            planned = queue.pop()
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
        self.tokens[planned.split] += planned.tokens
        self.batches += 1
        self.padded_tokens += planned.padded_tokens
        self._forget()
        return True

    def _forget(self) -> None:
        self._batch = None
        self._fired.clear()
        self._routing.clear()
        for accumulator in self.accumulators.values():
            accumulator.rollback()

    def finish(self) -> None:
        """The last check: every site's element count equals tokens x width, exactly. Raises MeasureError otherwise."""
        for site in self.anatomy.sites:
            accumulator = self.accumulators[site.name]
            for split, tokens in self.tokens.items():
                factors = {part: self.anatomy.top_k if part == "experts" else 1 for part in accumulator.widths}
                expected = sum(tokens * factors[part] * width for part, width in accumulator.widths.items())
                if site.kind in FULL_WIDTH and accumulator.widths.get("") != self.anatomy.hidden_size:
                    raise MeasureError(
                        f"{site.name} is {accumulator.widths.get('')} wide where the config says {self.anatomy.hidden_size}\n  please report the model_type"
                    )
                seen = int(accumulator.dense_counts(split).sum())
                if seen != expected or not accumulator.widths:
                    raise MeasureError(
                        f"{site.name}: {seen} elements counted in the {split} split where {tokens} tokens make {expected}\n  please report the model_type"
                    )

    def _check_coverage(self, planned: PlannedBatch) -> None:
        for tap in self.anatomy.taps:
            seen = self.accumulators[tap.site.name].staged_rows
            expected = planned.tokens * (self.anatomy.top_k if tap.part == "experts" else 1)
            rows = seen.get(tap.part, 0)
            if rows != expected:
                part = f" ({tap.part})" if tap.part else ""
                what = "did not fire" if rows == 0 else f"gave {rows} rows where {expected} were expected"
                raise MeasureError(
                    f"site {tap.site.name}{part}, module {tap.site.module}, {what}\n  a partial measurement is refused; please report the model_type"
                )

    # -- hooks ---------------------------------------------------------------------------------------------------------------------

    def _output_hook(self, tap: Tap) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._batch is not None and not (tap.once and self._fired_before(tap)):
                self._see(tap, self._pick(tap, output))

        return hook

    def _input_hook(self, tap: Tap) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if self._batch is not None:
                self._see(tap, args[0])

        return hook

    def _wrap_apply_gate(self, tap: Tap) -> Callable[[], None]:
        """Read the gate half of what fused experts pass to `_apply_gate` (gpt_oss computes its activation there, not in a module)."""
        experts: Any = tap.module
        original = experts._apply_gate

        def apply_gate(gate_up: torch.Tensor) -> torch.Tensor:
            if self._batch is not None:
                self._see(tap, gate_up.chunk(2, dim=-1)[0] if experts.is_concatenated else gate_up[..., ::2])
            return original(gate_up)  # type: ignore[no-any-return]

        experts._apply_gate = apply_gate

        def undo() -> None:
            del experts._apply_gate

        return undo

    def _strip_padding(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        batch = self._batch
        if batch is None or not batch.padded:
            return None
        states, *rest = args if args else (kwargs.pop("hidden_states"),)
        return (states.reshape(-1, states.shape[-1])[batch.real][None], *rest), kwargs

    def _restore_padding(self, module: nn.Module, args: Any, output: Any) -> Any:
        batch = self._batch
        if batch is None or not batch.padded:
            return None
        states, *rest = output if isinstance(output, tuple) else (output,)
        whole = states.new_zeros((batch.rows, states.shape[-1]))
        whole[batch.real] = states.reshape(-1, states.shape[-1])
        restored = whole.view(*batch.ids.shape, -1)
        return (restored, *rest) if isinstance(output, tuple) else restored

    def _note_routing(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._batch is not None:
            self._routing[module] = Routing.of(module, args, kwargs)

    def _see(self, tap: Tap, tensor: torch.Tensor) -> None:
        batch = self._batch
        assert batch is not None
        values = tensor.detach().reshape(-1, tensor.shape[-1])
        stripped = tap.in_moe and batch.padded
        if tap.experts is not None:
            locate = self._routed(tap.experts, values.shape[0], batch)
        else:
            expected = batch.real.numel() if stripped else batch.rows
            if values.shape[0] != expected:
                raise MeasureError(
                    f"site {tap.site.name}: {values.shape[0]} rows where the batch has {expected}\n  please report the model_type"
                )
            locate = (lambda row: int(batch.real[row])) if stripped else (lambda row: row)
        if tap.site.kind == "router" and tap.site.name not in self._proven:
            _prove_logits(values, tap)
            self._proven.add(tap.site.name)
        padding = batch.padding if batch.padded and not tap.in_moe else None
        self.accumulators[tap.site.name].observe(values, padding, locate, tap.part)

    def _routed(self, experts: nn.Module, rows: int, batch: Batch) -> Callable[[int], int | None]:
        routing = self._routing.get(experts)
        if routing is None:
            return lambda row: None
        offset = routing.advance(rows)

        def locate(row: int) -> int | None:
            token = routing.token(offset + row)
            return None if token is None else int(batch.real[token]) if batch.padded else token

        return locate

    def _pick(self, tap: Tap, output: Any) -> torch.Tensor:
        elements = output if isinstance(output, (tuple, list)) else (output,)
        if tap.index is not None:
            return elements[tap.index]  # type: ignore[no-any-return]
        count = next(p.shape[0] for p in tap.module.parameters(recurse=False) if p.ndim == 2)
        found = [e for e in elements if isinstance(e, torch.Tensor) and e.is_floating_point() and e.shape[-1] == count]
        if len(found) != 1:
            raise MeasureError(
                f"site {tap.site.name}, module {tap.site.module}: {len(found)} of its outputs could be router logits\n  please report the model_type"
            )
        return found[0]

    def _fired_before(self, tap: Tap) -> bool:
        before = id(tap) in self._fired
        self._fired.add(id(tap))
        return before


def _prove_logits(values: torch.Tensor, tap: Tap) -> None:
    """Refuse probabilities and expert indices where logits are expected (once per site: this looks at values)."""
    sample = values[:256].float()
    low, high = float(sample.min()), float(sample.max())
    indices = bool((sample == sample.round()).all()) and low >= 0 and high > 1
    scores = low >= 0 and 0 < high <= 1
    one_sided = tap.index is None and (low >= 0 or high <= 0) and low != high
    if indices or scores or one_sided:
        what = "expert indices" if indices else "probabilities or scores"
        raise MeasureError(
            f"site {tap.site.name}, module {tap.site.module}: router logits expected, got {what}\n  please report the model_type"
        )


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in text for phrase in phrases)
