"""Forward passes that take turns, so that each layer's weights are needed once: pieces of work in, each of which runs
the model as it is written, and their results out.

A piece of work is a thread that waits wherever its forward pass comes to a layer without weights. Once all of them
wait, the layer is given its weights, and one after the other goes on from there to the next layer. Whatever a model
carries from layer to layer, in variables of its own code, stays where it is: only wide hidden states are laid on disk
meanwhile. One thread runs at a time, always in the same order, so that every sum is what it is without this.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.stream.replay import Replay
from pytest_maxact.measure.stream.spill import Laid, Spill

T = TypeVar("T")
Around = Callable[[], AbstractContextManager[Any]]
Present = Callable[[nn.Module], AbstractContextManager[Any]]
"""A layer -> a context in which it has its weights."""


class Aside(Protocol):
    """What is put in place before a piece of work goes on, and put away when it waits or has `ended`."""

    def enter(self) -> None: ...

    def leave(self, ended: bool) -> None: ...


class _Cancelled(BaseException):
    """Unwinds a piece of work that nobody waits for any more."""


class Walk(Generic[T]):
    """One piece of work. `waits_for`: the layer that it has come to; None before the first, and in the end."""

    def __init__(
        self, work: Callable[[], T], aside: Aside, around: Around, spill: Spill, optional: bool = False
    ) -> None:
        self._work, self._aside, self._around, self.spill = work, aside, around, spill
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="maxact-turn", daemon=True)
        self._begun = self._runs = self._cancelled = False
        self.waits_for: nn.Module | None = None
        self.inside: list[nn.Module] = []
        """Layers that it is in the midst of."""
        self.ended = False
        self.optional = optional
        """Whether an error of it is a result like another."""
        self.error: BaseException | None = None
        self.given: Any = ()
        """What the layer that it waits for is about to be given, its hidden states laid down."""
        self.laid = Laid()
        self.is_plain = True
        """Whether every layer that it has behind it gave one tensor, and nothing else."""
        self.replay: Replay | None = None
        """What brings it to where another process left it."""
        self._result: list[T] = []

    @property
    def result(self) -> T:
        """Raises what the work raised."""
        if self.error is not None:
            raise self.error
        return self._result[0]

    @property
    def thread(self) -> int | None:
        return self._thread.ident

    def step(self) -> None:
        """Go on up to the next layer that has no weights, or to the end. Raises what the work raises, unless it is
        optional.
        """
        self._aside.enter()
        if not self._begun:
            self._thread.start()
            self._begun = True
        self._runs = True
        self._go.release()
        self._back.acquire()
        self._runs = False
        if self.error is not None and not self.optional:
            raise self.error
        self._aside.leave(self.ended)

    def wait_for(self, layer: nn.Module, given: tuple[Any, ...]) -> None:
        """Called in the work's own thread: lay the hidden states that a layer was `given` on disk until it is there."""
        self.given, self.laid = given, self.spill.lay_down(given)
        self.waits_for = layer
        self._back.release()
        self._go.acquire()
        self.waits_for = None
        if self._cancelled:
            raise _Cancelled
        self.given = ()
        self.spill.take_up(self.laid)

    def cancel(self) -> None:
        """Unwind it, wherever it is."""
        if not self._begun or self.ended:
            return
        if self._runs:
            self._back.acquire()
        self._cancelled = True
        if not self.ended:
            self._go.release()
        self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._cancelled:
                with self._around():
                    if self.replay:
                        self.replay.begin()
                    self._result.append(self._work())
        except BaseException as error:
            self.error = error
        finally:
            if self.replay:
                self.replay.close()
            self.waits_for = None
            self.ended = True
            self._back.release()


def take_turns(
    walks: Sequence[Walk[Any]], layers: Sequence[nn.Module], present: Present, turned: Callable[[], None] = lambda: None
) -> None:
    """Run all of them to their ends, in their order in every turn; after each, `turned` is called. Raises what one of
    them raises, and MeasureError where a layer runs another within itself.
    """
    here: list[nn.Module] = []
    with _stopping_at(layers, walks, here):
        try:
            for walk in walks:
                walk.step()
            while waiting := [walk for walk in walks if not walk.ended]:
                layer = waiting[0].waits_for
                assert layer is not None
                with present(layer):
                    here.append(layer)
                    for walk in waiting:
                        if walk.waits_for is layer:
                            walk.step()
                    here.clear()
                turned()
        finally:
            for walk in walks:
                walk.cancel()


@contextmanager
def _stopping_at(layers: Sequence[nn.Module], walks: Sequence[Walk[Any]], here: Sequence[nn.Module]) -> Iterator[None]:
    """Hooks before everything else of every layer; `here` is the layer that has its weights."""

    def walk_here() -> Walk[Any] | None:
        return next((walk for walk in walks if not walk.ended and walk.thread == threading.get_ident()), None)

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        if (walk := walk_here()) is None:
            return
        if walk.replay:
            if module is not walk.replay.target:
                return
            walk.replay.arrive((args, kwargs))
            walk.replay = None
        if module not in here:
            if walk.inside:
                raise MeasureError(
                    f"{class_of(walk.inside[-1])} runs {class_of(module)} within itself, and the weights of one layer "
                    "at a time are in memory\n"
                    f"  measure this architecture with {setting('device')} offload, or cpu"
                )
            walk.wait_for(module, (args, kwargs))
        walk.inside.append(module)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if (walk := walk_here()) is not None and walk.inside:
            walk.inside.pop()
            walk.is_plain = walk.is_plain and isinstance(output, torch.Tensor)

    handles: list[Any] = []
    try:
        for layer in layers:
            handles.append(layer.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
            handles.append(layer.register_forward_hook(after, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
