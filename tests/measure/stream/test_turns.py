"""Work that takes turns at layers: each layer is there once, for all of it, and whatever goes wrong ends it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.stream.spill import Folder
from pytest_maxact.measure.stream.turns import Walk, take_turns


class Nothing:
    def enter(self) -> None:
        return None

    def leave(self, ended: bool) -> None:
        return None


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)  # type: ignore[no-any-return]


def walks(works: list[Any], folder: Folder) -> list[Walk[Any]]:
    return [Walk(work, Nothing(), nullcontext, folder.spill(4)) for work in works]


def test_a_layer_is_there_once_for_all_and_results_are_those_of_plain_calls(tmp_path: Path) -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]
    order: list[int] = []

    @contextmanager
    def present(layer: nn.Module) -> Iterator[None]:
        order.append(layers.index(layer))  # type: ignore[arg-type]
        yield

    def run(x: torch.Tensor, again: bool) -> torch.Tensor:
        first = x
        for layer in layers:
            x = layer(x) + first
            x = layer(x) if again else x
        return x

    given = [torch.randn(2, 4) for _ in range(3)]
    with torch.no_grad():
        wanted = [run(x, number == 1) for number, x in enumerate(given)]
        with Folder(tmp_path) as folder:
            pieces = walks([lambda x=x, n=n: run(x, n == 1) for n, x in enumerate(given)], folder)
            take_turns(pieces, layers, present)
    assert order == [0, 1, 2]
    assert all(torch.equal(piece.result, known) for piece, known in zip(pieces, wanted, strict=True))
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in layers)


@pytest.mark.parametrize("where", ["work", "layer", "present"])
def test_an_error_ends_all_of_it(where: str, tmp_path: Path) -> None:
    layer, before = nn.Linear(4, 4), threading.active_count()

    def fails() -> Any:
        if where == "work":
            raise ValueError("here")
        return layer(torch.randn(2, 5 if where == "layer" else 4))

    @contextmanager
    def present(module: nn.Module) -> Iterator[None]:
        if where == "present":
            raise ValueError("here")
        yield

    with Folder(tmp_path) as folder, pytest.raises((ValueError, RuntimeError)):
        take_turns(walks([lambda: layer(torch.randn(2, 4)), fails], folder), [layer], present)
    assert threading.active_count() == before
    assert not layer._forward_pre_hooks


def test_an_error_of_what_is_only_tried_is_its_result(tmp_path: Path) -> None:
    layer = nn.Linear(4, 4)
    with Folder(tmp_path) as folder:
        tried = Walk(lambda: layer(torch.randn(2, 5)), Nothing(), nullcontext, folder.spill(4), optional=True)
        other: Walk[Any] = Walk(lambda: layer(torch.randn(2, 4)), Nothing(), nullcontext, folder.spill(4))
        take_turns([tried, other], [layer], lambda module: nullcontext())
    assert other.result.shape == (2, 4)
    with pytest.raises(RuntimeError):
        _ = tried.result


def test_what_ends_before_its_first_layer_leaves_the_way_to_the_next(tmp_path: Path) -> None:
    """A thread that has ended hands its number on to the next."""
    layer = nn.Linear(4, 4)

    def fails() -> None:
        raise RuntimeError("no layer was met")

    with Folder(tmp_path) as folder:
        tried = [Walk(fails, Nothing(), nullcontext, folder.spill(4), optional=True) for _ in range(3)]
        other: Walk[Any] = Walk(lambda: layer(torch.randn(2, 4)), Nothing(), nullcontext, folder.spill(4))
        ended = threading.Thread(target=take_turns, args=([*tried, other], [layer], lambda module: nullcontext()))
        ended.daemon = True
        ended.start()
        ended.join(20)
        assert not ended.is_alive()
    assert other.result.shape == (2, 4)


def test_a_layer_that_runs_another_within_itself_is_refused_by_name(tmp_path: Path) -> None:
    outer = Nested()
    with Folder(tmp_path) as folder, pytest.raises(MeasureError, match="Nested runs Linear within itself"):
        take_turns(
            walks([lambda: outer(torch.randn(2, 4))], folder), [outer, outer.inner], lambda module: nullcontext()
        )
