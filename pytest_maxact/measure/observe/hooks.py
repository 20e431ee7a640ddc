"""Hooks on every tap of an anatomy: an anatomy in, the tensors of its taps out, to the intake.

Padding never counts: mixture-of-experts blocks, which are token-wise, are handed real tokens only, so that neither
routers nor experts see padding.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Experts, Tap
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.attention import ATTENDED, Attended, watch_attention
from pytest_maxact.measure.observe.inputs import SharedInputs
from pytest_maxact.measure.observe.intake import Intake
from pytest_maxact.measure.observe.products import Products, holder_of
from pytest_maxact.measure.observe.routing import Routing
from pytest_maxact.measure.observe.rows import refuse_two_streams


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laid:
    """What was noted of a batch that was laid down half-way."""

    intake: Mapping[str, Any]
    calls: Counter[tuple[int, str]]
    repeats: dict[tuple[str, str], str]


class Hooks:
    """Hooks on a decoder, which hand what they are given to an intake; while it has no batch they do nothing."""

    def __init__(self, anatomy: Anatomy, intake: Intake) -> None:
        self.inputs = SharedInputs()
        self._anatomy = anatomy
        self._intake = intake
        self._calls: Counter[tuple[int, str]] = Counter()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks in place for the duration of the context, gone after it whatever happens."""
        handles: list[Any] = []
        restore: list[Callable[[], None]] = []
        attended: dict[int, list[list[Tap]]] = {}
        try:
            for module in self._anatomy.stripped:
                handles.append(module.register_forward_pre_hook(self._strip_padding, with_kwargs=True))
                handles.append(module.register_forward_hook(self._restore_padding))
            for experts in self._anatomy.experts:
                handles += self._watch(experts)
            for taps in _by_module(self._anatomy.taps):
                if taps[0].reads in ("gate_up", "act_fn"):
                    restore.append(self._wrap_function(taps[0]))
                elif taps[0].reads in ("product", "factor"):
                    handles += self._product_hooks(taps)
                elif taps[0].reads in ATTENDED:
                    attended.setdefault(id(taps[0].module), []).append(taps)
                elif taps[0].reads == "input":
                    handles.append(taps[0].module.register_forward_pre_hook(self._input_hook(taps), with_kwargs=True))
                else:
                    handles.append(taps[0].module.register_forward_hook(self._output_hook(taps)))
            if attended:
                restore.append(watch_attention(attended, self._see_attended))
            yield
        finally:
            for handle in handles:
                handle.remove()
            for undo in restore:
                undo()

    def forget(self) -> None:
        """Leave the batch, and everything noted of it."""
        self._intake.forget()
        self._calls.clear()
        self.inputs.forget()

    def lay_down(self) -> "Laid":
        """Leave a batch that is half-way through the model, to be taken up again."""
        laid = Laid(intake=self._intake.lay_down(), calls=self._calls, repeats=self.inputs.repeats)
        self._calls = Counter()
        self.inputs = SharedInputs()
        return laid

    def take_up(self, laid: "Laid") -> None:
        """Go on with a batch that was laid down."""
        self._intake.take_up(laid.intake)
        self._calls = laid.calls
        self.inputs.repeats = laid.repeats

    def _output_hook(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if self._intake.batch is not None and (tap := self._meant(taps)):
                if tap.site.kind == "hidden":
                    refuse_two_streams(tap, output)
                self._intake.see(tap, output if isinstance(output, torch.Tensor) else output[0])

        return hook

    def _input_hook(self, taps: list[Tap]) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._intake.batch is not None and (tap := self._meant(taps)):
                given = _given(args, kwargs)
                if not (tap.site.is_linear_input and self.inputs.repeated(tap, given)):
                    self._intake.see(tap, given)

        return hook

    def _see_attended(self, groups: list[list[Tap]], call: Attended) -> None:
        if self._intake.batch is None:
            return
        for taps in groups:
            if tap := self._meant(taps):
                self._intake.attend(tap, call)

    def _product_hooks(self, taps: list[Tap]) -> list[Any]:
        """Read what a module's own call computes with one of its parameters, whatever it returns."""
        tap = taps[0]
        assert tap.parameter is not None
        running: list[Products] = []
        held = holder_of(tap.module, tap.parameter)

        def enter(module: nn.Module, args: Any) -> None:
            if self._intake.batch is not None:
                running.append(Products(tap.parameter, held=held))  # type: ignore[arg-type]
                running[-1].__enter__()  # type: ignore[no-untyped-call]

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if not running:
                return
            products = running.pop()
            products.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            if output is not None and self._intake.batch is not None and (meant := self._meant(taps)):
                if tap.reads == "factor":
                    for factor in products.factors:
                        self._intake.see(meant, _rows_in(factor, tap))
                    return
                if len(products.found) != 1:
                    raise MeasureError(
                        f"site {tap.site.name}, module {tap.site.module}: {len(products.found)} products with its "
                        "matrix where one was expected\n"
                        "  please report the model_type"
                    )
                self._intake.see(meant, products.found[0])

        module = tap.module
        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]

    def _wrap_function(self, tap: Tap) -> Callable[[], None]:
        """Read what fused experts pass to their `_apply_gate` or to an activation that is no module (gpt_oss and
        lfm2_moe compute it there).
        """
        experts: Any = tap.module
        name = "_apply_gate" if tap.reads == "gate_up" else "act_fn"
        original = getattr(experts, name)
        stored = vars(experts).get(name)

        def wrapped(values: torch.Tensor) -> torch.Tensor:
            if self._intake.batch is not None:
                gate = (
                    values
                    if tap.reads == "act_fn"
                    else values.chunk(2, dim=-1)[0]
                    if experts.is_concatenated
                    else values[..., ::2]
                )
                self._intake.see(tap, gate)
            return original(values)  # type: ignore[no-any-return]

        setattr(experts, name, wrapped)
        return (lambda: delattr(experts, name)) if stored is None else (lambda: setattr(experts, name, stored))

    def _watch(self, experts: Experts) -> list[Any]:
        """Hooks that note which tokens the experts are given."""

        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._intake.batch is not None:
                self._intake.route(experts, Routing.of_arguments(experts, args, kwargs))

        def count(index: int) -> Callable[..., None]:
            def given(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                if self._intake.batch is not None:
                    self._intake.count(experts, index, _given(args, kwargs))

            return given

        if experts.choice == "arguments":
            return [experts.module.register_forward_pre_hook(note, with_kwargs=True)]
        if experts.choice == "list":
            return [
                expert.register_forward_pre_hook(count(index), with_kwargs=True)
                for index, expert in enumerate(experts.module.children())
            ]
        return []

    def _strip_padding(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hand a token-wise module real tokens only: every argument that has a row per token, [B, T, ...] or [B*T,
        ...].
        """
        batch = self._intake.batch
        if batch is None or not batch.padded:
            return None
        return tuple(batch.strip(value) for value in args), {name: batch.strip(value) for name, value in kwargs.items()}

    def _restore_padding(self, module: nn.Module, args: Any, output: Any) -> Any:
        batch = self._intake.batch
        if batch is None or not batch.padded:
            return None
        return tuple(map(batch.restore, output)) if isinstance(output, tuple) else batch.restore(output)

    def _meant(self, taps: list[Tap]) -> Tap | None:
        """The tap that this call of a module is for; None for a call on which no site is read."""
        first = taps[0]
        if first.firing is None and not first.once:
            return first
        call = self._calls[first.call]
        self._calls[first.call] += 1
        if first.once:
            return first if call == 0 else None
        found = next((tap for tap in taps if tap.firing == call), None)
        if found is None and call > max(tap.firing or 0 for tap in taps):
            raise MeasureError(
                f"site {first.site.name}, module {first.site.module}, was called {call + 1} times\n"
                "  please report the model_type"
            )
        return found


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """The first tensor that a module is called with."""
    return next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))


def _rows_in(factor: torch.Tensor, tap: Tap) -> torch.Tensor:
    """What a stacked matrix was multiplied with, as [rows, width]; a batched product may hold a row as a column, [rows,
    width, 1].
    """
    assert tap.parameter is not None
    if factor.shape[-1] == 1 and factor.shape[-2] in tap.parameter.shape[1:] and factor.ndim == 3:
        factor = factor.squeeze(-1)
    return factor.reshape(-1, factor.shape[-1])


def _by_module(taps: Iterable[Tap]) -> list[list[Tap]]:
    """Taps that one hook tells apart, together."""
    groups: dict[tuple[int, str], list[Tap]] = {}
    for tap in taps:
        groups.setdefault(tap.call, []).append(tap)
    return list(groups.values())
