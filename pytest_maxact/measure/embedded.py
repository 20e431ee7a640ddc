"""The token embedding of a model, by token: what it gives for each, and how long that is."""

from collections.abc import Iterable

import torch
from torch import nn

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap, vocabulary
from pytest_maxact.errors import MeasureError

_AT_ONCE = 4096


def embedding_of(anatomy: Anatomy) -> nn.Module:
    """The module that embeds tokens."""
    taps: Iterable[Tap] = anatomy.taps
    return next(tap.module for tap in taps if tap.site.kind == "embedding")


@torch.no_grad()
def rows_of(loaded: LoadedModel, anatomy: Anatomy, ids: Iterable[int]) -> torch.Tensor:
    """What the embedding gives for tokens, [tokens, width] in its own dtype, scaled as the model scales it there."""
    module, found = embedding_of(anatomy), []
    wanted = torch.tensor(list(ids), dtype=torch.long)
    for start in range(0, len(wanted), _AT_ONCE):
        given = wanted[start : start + _AT_ONCE][None].to(loaded.device)
        output = module(given)
        if not isinstance(output, torch.Tensor) or output.shape[:2] != given.shape:
            raise MeasureError(
                "the token embedding does not give one row a token\n  please report the model_type of this checkpoint"
            )
        found.append(output[0])
    return torch.cat(found)


def norms_of(loaded: LoadedModel, anatomy: Anatomy) -> list[float]:
    """The length of every row, rounded to float32, so that equal rows rank by their ids everywhere."""
    found: list[float] = []
    rows = vocabulary(anatomy)
    for start in range(0, rows, _AT_ONCE):
        some = rows_of(loaded, anatomy, range(start, min(rows, start + _AT_ONCE)))
        lengths = torch.linalg.vector_norm(some.double(), dim=1).float()
        found += lengths.nan_to_num(nan=torch.inf).cpu().tolist()
    return found
