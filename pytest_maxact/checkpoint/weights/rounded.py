"""One weight against that of its source: two matrices in, how far one is from the other out, beside how far the source
rounded to the nearest number of the same form is.

Three things tell a weight that was not made of its source, or not soundly. Its error as a whole, a factor that runs
through all of it (which a few bits hide in that error), and the error of single groups of entries, for one scale of
many shows in no sum. Guards that what is not finite has no figure that passes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.numbers.sums import decibel

_PIECE = 1 << 19
_SEGMENT = 128
"""Entries of a row that are looked at together where more of them share a scale."""
_LEAST = 0.01
"""A group is expected to err by this share of the usual error at least, where it happens to lie on numbers of the
form.
"""
_SUMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """Of one matrix: SQNR found and expected, factors of its size likewise, and the worst group: its loss over what is
    expected there, with its row and first column.
    """

    sqnr_db: float
    expected_db: float
    rescaled: float
    group_loss_db: float
    row: int
    column: int
    wide: int


def against(artifact: torch.Tensor, source: torch.Tensor, how: Quantizer) -> Rounded:
    """Of two matrices [out, in] of one shape."""
    how, source = _fitting(how, source.shape[1]), _computed(source)
    wide = _segment(how, source.shape[1])
    tables = _tables(artifact, source, how, wide)
    signal, found, expected, along, along_expected = tables.sum(dim=(0, 1), dtype=torch.float64).tolist()
    share = min(expected, signal) / signal if signal else 0.0
    least = max(share, 10 ** (-_highest(how) / 10))
    floor = signal * least / tables[..., 0].numel() * _LEAST
    per_group = torch.maximum(torch.maximum(tables[..., 2], tables[..., 0] * least), torch.tensor(floor))
    losses = 10 * torch.log10(tables[..., 1] / per_group)
    losses = torch.where(tables[..., 1] == 0, -math.inf, losses)  # without error there is none to lose, of zeros too
    losses = torch.where(losses.isnan(), math.inf, losses)
    worst = int(losses.argmax())
    row, place = divmod(worst, losses.shape[1])
    loss = losses.flatten()[worst].item()
    return Rounded(
        sqnr_db=decibel(signal, found),
        expected_db=min(decibel(signal, expected), _highest(how)),
        rescaled=abs(along - along_expected) / signal if signal else (0.0 if found == 0 else math.inf),
        group_loss_db=max(loss, 0.0) if math.isfinite(found) else math.nan,
        row=row,
        column=place * wide,
        wide=wide,
    )


def _computed(source: torch.Tensor) -> torch.Tensor:
    return source.float() if source.dtype not in (torch.bfloat16, torch.float16, torch.float32) else source


def _fitting(how: Quantizer, width: int) -> Quantizer:
    """The same, by rows where groups do not divide them."""
    return Quantizer(number=how.number, granularity="row") if how.refuses(width) else how


def _segment(how: Quantizer, width: int) -> int:
    wide = how.group if how.granularity in ("group", "block") else _SEGMENT
    return wide if wide and width % wide == 0 else width


def _highest(how: Quantizer) -> float:
    """Decibels that no such rounding is held to, though a source may lie on its numbers."""
    bits = how.bits if how.is_integer else {"fp8_e4m3": 5, "fp4_e2m1": 3}[how.number]
    return 6.0 * bits + 6.0


def _tables(artifact: torch.Tensor, source: torch.Tensor, how: Quantizer, wide: int) -> torch.Tensor:
    """By segment, float32 [out, segments, 5]: energies of the source, of the artifact's error and of that of the source
    rounded, and what artifact and rounded source have along the source.
    """
    found = torch.empty(source.shape[0], source.shape[1] // wide, _SUMS)
    for rows, *matrices in _pieces(artifact, source, how):
        exact, given, rounded = (part.reshape(len(part), -1, wide) for part in matrices)
        pairs = ((exact, exact), (given - exact,) * 2, (rounded - exact,) * 2, (given, exact), (rounded, exact))
        for place, (one, other) in enumerate(pairs):
            found[rows, :, place] = torch.linalg.vecdot(one, other)
    return found


def by_column(artifact: torch.Tensor, source: torch.Tensor, how: Quantizer) -> torch.Tensor:
    """Of every column, float32 [5, in]: energies of the source, of the artifact and of the error of the source rounded,
    and what artifact and rounded source have along the source.
    """
    how, source = _fitting(how, source.shape[1]), _computed(source)
    found = torch.zeros(_SUMS, source.shape[1])
    for _, exact, given, rounded in _pieces(artifact, source, how):
        pairs = ((exact, exact), (given, given), (rounded - exact,) * 2, (given, exact), (rounded, exact))
        found += torch.stack([(one * other).sum(0) for one, other in pairs])
    return found


def _pieces(
    artifact: torch.Tensor, source: torch.Tensor, how: Quantizer
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Rows at a time, in float32: the source, the artifact, and the source rounded."""
    amax = source.abs().amax() if how.granularity == "tensor" or how.scale == "e4m3" else None
    tall = how.group if how.granularity == "block" else 1
    height = max(1, _PIECE // (source.shape[1] * tall)) * tall
    for start in range(0, source.shape[0], height):
        rows = slice(start, start + height)
        rounded = quantize(source[rows], how, amax).restored.float()
        yield rows, source[rows].float(), artifact[rows].float(), rounded
