"""An observed tensor as one row per token, whatever way an architecture lays it out."""

from typing import Any

import torch

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.errors import MeasureError


def rows_of(tensor: torch.Tensor, tap: Tap, shape: tuple[int, ...]) -> torch.Tensor:
    """A site's tensor as [tokens, width], for a batch of `shape` [B, T].

    Layouts: [B, T, width] or [B*T, width] by default; `time first` [T, B, width]; `first tokens` [B, more than T,
    width], of which the rest are no tokens, `last tokens` likewise; `streams first` [S, B, T, width] and `streams last`
    [B, T, S, width], whose streams lie side by side in one row. A linear layer may also be given [B, 1, T, width], or
    the parts of a row one below the other, [B, T, parts, width]. Raises MeasureError for any other.
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
    if tap.site.is_beside and tensor.ndim == 4:
        tensor = tensor.squeeze(1) if tensor.shape[1] == 1 and tensor.shape[2] == shape[1] else tensor.flatten(-2)
    if tuple(tensor.shape[:-1]) not in (shape, (rows,)):
        raise MeasureError(
            f"site {tap.site.name}, module {tap.site.module}: a tensor of shape {list(tensor.shape)} where the batch "
            f"is {list(shape)}\n"
            "  please report the model_type"
        )
    return tensor.reshape(rows, tensor.shape[-1])


def refuse_two_streams(tap: Tap, output: Any) -> None:
    """A layer that hands on an update beside its residual: neither alone is the residual stream after the layer."""
    if not isinstance(output, tuple) or not output:
        return
    first, *others = output
    if any(
        isinstance(other, torch.Tensor) and other.shape == first.shape and other.is_floating_point() for other in others
    ):
        raise MeasureError(
            f"site {tap.site.name}, module {tap.site.module}: it returns two tensors of one shape, and it cannot be "
            "told which is the residual stream\n"
            "  please report the model_type"
        )
