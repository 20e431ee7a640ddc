"""What every scheme does to the weights of linear layers, read tensor by tensor from the checkpoint's files: memory
stays at one tensor.

Quantized is the [out, in] matrix that the file holds, as a deployment of that checkpoint would quantize it; the figures
of several matrices are joined in the one parameter that they make up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.weights.stored import Stored, Weight, converted, found_in, headers, opened_file, placed_in
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.numbers.sums import decibel
from pytest_maxact.numbers.weights import WeightDistortion

_PIECE = 1 << 19
"""About so many entries are quantized at a time, in whole rows or rows of blocks."""
_FAR = 40
"""Squares of magnitudes beyond 2^40 or below 2^-40 are taken of a multiple, so that none leaves the range of
float32.
"""


def weight_distortions(
    files: WeightFiles, model: nn.Module, taps: Sequence[Tap], schemes: Sequence[Scheme]
) -> dict[str, dict[str, dict[str, WeightDistortion]]]:
    """By site, weight path and scheme: the error of every weight that `taps`, on inputs of linear layers, name.

    `model` may lie on the meta device: its names, shapes and classes count, the weights are read from `files`. A
    scheme that leaves weights alone has no entry. Figures of a weight with a NaN or an infinity, and of one that a
    scheme refuses, are NaN. Raises MeasureError for a weight that the files do not hold in full, for files that cannot
    be read, and for weights that are quantized already.
    """
    if files.packing:
        raise MeasureError(
            f"{files.folder / files.entry}: its weights are quantized already ({files.packing.stated.words})\n"
            "  give the checkpoint before it was quantized: what a scheme costs is told there"
        )
    found = Distorting(headers(files), model, taps, schemes)
    for file in found.files:
        with opened_file(file) as opened:
            for part in found.parts_of(file):
                found.see(file, part.key, opened.get_tensor(part.key))
    return found.result()


class Distorting:
    """The errors of weights, given the tensors of the files one by one, in any order: `see` takes one, `result` has all
    of them. `stored`: what the files hold.
    """

    def __init__(
        self, stored: Sequence[Stored], model: nn.Module, taps: Sequence[Tap], schemes: Sequence[Scheme]
    ) -> None:
        placed = placed_in(stored, model)
        names: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
        self._wanted = {
            path: found_in([path, *names[id(model.get_parameter(path))]], tap, model, placed)
            for tap in taps
            for path in tap.weights
        }
        self._model, self._taps = model, taps
        self._weights = {weight.path: weight for weight in self._wanted.values()}
        self._parts = {(part.file, part.key): part for weight in self._weights.values() for part in weight.parts}
        self._schemes = [scheme for scheme in schemes if scheme.weights is not None or scheme.cast]
        self._found: dict[tuple[Path, str], list[tuple[str, str, _Sums]]] = {}

    @property
    def files(self) -> list[Path]:
        """Files that hold a part of a weight."""
        return sorted({part.file for part in self._parts.values()})

    def parts_of(self, file: Path) -> list[Stored]:
        return [part for part in self._parts.values() if part.file == file]

    def see(self, file: Path, key: str, tensor: torch.Tensor) -> None:
        """Take a tensor of a file; one that is no part of a weight is let go."""
        part = self._parts.get((file, key))
        if part is not None:
            self._found[file, key] = _figures(tensor, part, self._model, self._weights, self._schemes)

    def result(self) -> dict[str, dict[str, dict[str, WeightDistortion]]]:
        """By site, weight path and scheme; sums are in the order of the files, whatever was seen first."""
        sums: dict[str, dict[str, _Sums]] = {path: {} for path in self._weights}
        for file in self.files:
            for part in self.parts_of(file):
                for path, name, found in self._found[file, part.key]:
                    sums[path][name] = sums[path][name] + found if name in sums[path] else found
        distortions = {
            path: {name: found.error for name, found in by_scheme.items()} for path, by_scheme in sums.items()
        }
        sites: dict[str, dict[str, dict[str, WeightDistortion]]] = {}
        for tap in self._taps:
            sites.setdefault(tap.site.name, {}).update(
                {path: distortions[self._wanted[path].path] for path in tap.weights}
            )
        return sites


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Over the rows of one or several matrices: counts, energies of the weight and of its error, and of the worst
    matrix the SQNR and the share that becomes zero.
    """

    entries: int
    nonzero: float = math.nan
    clipped: float = math.nan
    flushed: float = math.nan
    signal: float = math.nan
    error_energy: float = math.nan
    lowest_db: float = math.nan
    most_flushed: float = math.nan
    refused: str = ""

    @classmethod
    def of(cls, rows: torch.Tensor, entries: int) -> "_Sums":
        """Of a table [rows, 5] as `_by_row` makes it."""
        nonzero, clipped, flushed, signal, error = rows.sum(dim=0).tolist()
        return cls(
            entries=entries,
            nonzero=nonzero,
            clipped=clipped,
            flushed=flushed,
            signal=signal,
            error_energy=error,
            lowest_db=decibel(signal, error),
            most_flushed=flushed / nonzero if nonzero else 0.0,
        )

    def __add__(self, other: "_Sums") -> "_Sums":
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in ("lowest_db", "most_flushed", "refused")
        }
        lowest, most = (self.lowest_db, other.lowest_db), (self.most_flushed, other.most_flushed)
        return _Sums(
            **sums,
            lowest_db=math.nan if any(map(math.isnan, lowest)) else min(lowest),
            most_flushed=math.nan if any(map(math.isnan, most)) else max(most),
            refused=self.refused or other.refused,
        )

    @property
    def error(self) -> WeightDistortion:
        return WeightDistortion(
            entries=self.entries,
            sqnr_db=decibel(self.signal, self.error_energy),
            lowest_db=self.lowest_db,
            rel_rmse=math.sqrt(self.error_energy / self.signal) if self.signal else 0.0,
            clip_rate=self.clipped / self.entries,
            flush_to_zero=self.flushed / self.nonzero if self.nonzero else 0.0,
            refused=self.refused,
            most_flushed=self.most_flushed,
        )


def _figures(
    tensor: torch.Tensor, part: Stored, model: nn.Module, weights: Mapping[str, Weight], schemes: Sequence[Scheme]
) -> list[tuple[str, str, _Sums]]:
    """Of one tensor: (weight, scheme, sums) for each matrix of it and each weight that it holds something of."""
    if part.lies_otherwise:
        tensor = converted([part], [tensor], model)[part.targets[0]]
    holders = [weights[target] for target in part.targets if target in weights]
    found = []
    for matrix in tensor.unbind(0) if tensor.ndim == 3 else (tensor,):
        matrix = (matrix.t() if holders[0].transposed else matrix).contiguous()
        height, width = matrix.shape
        refusals = {scheme.name: scheme.weights.refuses(width) if scheme.weights else "" for scheme in schemes}
        tables = _by_row(matrix, [scheme for scheme in schemes if not refusals[scheme.name]])
        for weight in holders:
            rows = weight.rows[part.key]
            entries = (height if rows is None else rows.numel()) * width
            if entries:
                found += [
                    (weight.path, name, _Sums.of(table if rows is None else table[rows], entries))
                    for name, table in tables.items()
                ]
                found += [
                    (weight.path, name, _Sums(entries=entries, refused=reason))
                    for name, reason in refusals.items()
                    if reason
                ]
    return found


def _by_row(x: torch.Tensor, schemes: Sequence[Scheme]) -> dict[str, torch.Tensor]:
    """What each scheme does to a matrix x [out, in], row by row, as `_Sums.of` reads it: float64 [out, 5]; NaN for a
    matrix that is not finite.
    """
    x = x.float() if x.dtype == torch.float64 else x
    low, high = x.aminmax()
    amax = torch.maximum(-low, high)
    tables = {scheme.name: torch.full((x.shape[0], 5), math.nan, dtype=torch.float64) for scheme in schemes}
    if not torch.isfinite(amax):
        return tables
    exponent = math.frexp(amax.item())[1]
    unit = 2.0 ** max(-126, min(126, exponent)) if abs(exponent) > _FAR else 1.0
    tall = math.lcm(
        *(scheme.weights.group for scheme in schemes if scheme.weights and scheme.weights.granularity == "block")
    )
    height = max(1, _PIECE // (x.shape[1] * tall)) * tall
    for start in range(0, x.shape[0], height):
        piece = x[start : start + height]
        exact = piece.float()
        nonzero, signal = exact.count_nonzero(dim=1), _energy(exact, unit)
        for scheme in schemes:
            restored, levels, clipped = _round_trip(piece, scheme, amax)
            tables[scheme.name][start : start + height] = torch.stack(
                [
                    nonzero,
                    clipped.sum(1),
                    nonzero - levels.count_nonzero(dim=1),
                    signal,
                    _energy(exact - restored, unit),
                ],
                dim=1,
            )
    return tables


def _round_trip(
    piece: torch.Tensor, scheme: Scheme, amax: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows after a scheme, their levels, and the entries beyond the largest level; `amax` is of the whole matrix, the
    calibration of its own scale.
    """
    if scheme.cast:
        restored = piece.to(getattr(torch, scheme.cast)).float()
        return restored, restored, restored.isinf()
    assert scheme.weights is not None
    of_the_whole = scheme.weights.granularity == "tensor" or scheme.weights.scale == "e4m3"
    quantized = quantize(piece, scheme.weights, amax if of_the_whole else None)
    return quantized.restored, quantized.levels, quantized.clipped


def _energy(x: torch.Tensor, unit: float) -> torch.Tensor:
    """Sums of squares of float32 rows [out, in], float64 [out]; squared in a `unit` where squares would leave the
    range.
    """
    x = x if unit == 1.0 else x / unit
    squares: torch.Tensor = torch.linalg.vecdot(x, x)
    return squares.double() * (unit * unit)
