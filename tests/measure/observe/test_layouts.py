"""Every layout of a tensor becomes one row per token; any other shape is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.rows import refuse_two_streams, rows_of
from pytest_maxact.numbers.sites import Site

TOKENS, WIDTH = (2, 3), 4
ROWS = torch.arange(24.0).reshape(6, WIDTH)
GRID = ROWS.reshape(*TOKENS, WIDTH)


def tap(layout: str = "", kind: str = "hidden") -> Tap:
    return Tap(site=Site(kind=kind, layer=1, module="layers.1"), module=nn.Identity(), layout=layout)


def behind(extra: int) -> torch.Tensor:
    return torch.full((2, extra, WIDTH), -1.0)


@pytest.mark.parametrize(
    ("layout", "kind", "tensor"),
    [
        ("", "hidden", GRID),
        ("", "hidden", ROWS),
        ("time first", "hidden", GRID.transpose(0, 1)),
        ("first tokens", "hidden", torch.cat([GRID, behind(2)], 1)),
        ("last tokens", "hidden", torch.cat([behind(2), GRID], 1)),
        ("streams first", "hidden", torch.stack([GRID[..., :2], GRID[..., 2:]])),
        ("streams last", "hidden", torch.stack([GRID[..., :2], GRID[..., 2:]], -2)),
        ("", "qkv_in", GRID[:, None]),
        ("", "qkv_in", GRID.reshape(2, 3, 2, 2)),
        ("", "qkv_in", GRID.reshape(2, 3, 1, 4)),
        ("", "qkv_in", GRID),
        ("", "qkv_in", ROWS),
    ],
)
def test_a_row_per_token(layout: str, kind: str, tensor: torch.Tensor) -> None:
    assert torch.equal(rows_of(tensor, tap(layout, kind), TOKENS), ROWS)


def test_parts_of_one_row_are_told_from_a_grid_of_one_row() -> None:
    one = torch.arange(12.0).reshape(3, 1, 1, 4)
    assert torch.equal(rows_of(one, tap("", "qkv_in"), (3, 1)), one.reshape(3, 4))
    two = torch.arange(24.0).reshape(3, 1, 2, 4)
    assert torch.equal(rows_of(two, tap("", "qkv_in"), (3, 1)), two.reshape(3, 8))


@pytest.mark.parametrize(
    ("layout", "kind", "shape", "stated"),
    [
        ("", "hidden", (3, 2, 4), [3, 2, 4]),
        ("", "hidden", (2, 4, 4), [2, 4, 4]),
        ("", "hidden", (5, 4), [5, 4]),
        ("", "hidden", (2, 1, 3, 4), [2, 1, 3, 4]),
        ("", "hidden", (2, 3, 2, 2), [2, 3, 2, 2]),
        ("time first", "hidden", (2, 3, 4), [3, 2, 4]),
        ("first tokens", "hidden", (2, 2, 4), [2, 2, 4]),
        ("last tokens", "hidden", (2, 2, 4), [2, 2, 4]),
    ],
)
def test_a_tensor_that_does_not_lie_like_the_batch_is_refused(
    layout: str, kind: str, shape: tuple[int, ...], stated: list[int]
) -> None:
    with pytest.raises(MeasureError) as error:
        rows_of(torch.zeros(shape), tap(layout, kind), TOKENS)
    assert str(error.value) == (
        f"site layers.1.{kind}, module layers.1: a tensor of shape {stated} where the batch is [2, 3]\n"
        "  please report the model_type"
    )


@pytest.mark.parametrize(
    ("output", "refused"),
    [
        (GRID, False),
        ((), False),
        ((GRID,), False),
        ([GRID, GRID], False),
        ((GRID, None, "text"), False),
        ((GRID, ROWS), False),
        ((GRID, GRID.long()), False),
        ((GRID, GRID), True),
        ((GRID, None, GRID + 1), True),
    ],
)
def test_two_streams_of_one_shape_are_refused(output: Any, refused: bool) -> None:
    if not refused:
        refuse_two_streams(tap(), output)
        return
    with pytest.raises(MeasureError) as error:
        refuse_two_streams(tap(), output)
    assert str(error.value) == (
        "site layers.1.hidden, module layers.1: it returns two tensors of one shape, and it cannot be told which is "
        "the residual stream\n  please report the model_type"
    )
