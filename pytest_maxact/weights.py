"""What every scheme does to the weights of linear layers, read tensor by tensor from the checkpoint's files: memory stays at one tensor.

A tensor's place in the model is what transformers itself declares for loading it (names that differ, experts one by one, fused projections).
Quantized is the [out, in] matrix that the file holds, as a deployment of that checkpoint would quantize it; the figures of several matrices are
joined in the one parameter that they make up. Every weight is found in full, or it is an error: one that was not read is not one without error.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.reading import WeightError
from pytest_maxact.schemes.numerics import quantize
from pytest_maxact.schemes.sums import decibel
from pytest_maxact.schemes.table import Scheme
from pytest_maxact.sites.anatomy import Tap
from pytest_maxact.sites.modules import class_of

_FLOATS = ("BF16", "F16", "F32", "F64")
_PIECE = 1 << 19
"""About so many entries are quantized at a time, in whole rows or rows of blocks."""
_FAR = 40
"""Squares of magnitudes beyond 2^40 or below 2^-40 are taken of a multiple, so that none leaves the range of float32."""


def weight_errors(
    folder: Path, model: nn.Module, taps: Sequence[Tap], schemes: Sequence[Scheme]
) -> dict[str, dict[str, dict[str, WeightError]]]:
    """By site, weight path and scheme: the error of every weight that `taps`, on inputs of linear layers, name.

    `model` may lie on the meta device: its names, shapes and classes count, the weights are read from `folder`. A scheme that leaves weights alone
    has no entry. Figures of a weight with a NaN or an infinity, and of one that a scheme refuses, are NaN.
    Raises MeasureError for a weight that the files do not hold in full, for files that cannot be read, and for weights that are quantized already.
    """
    stored = _placed(_headers(folder, model), model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    wanted = {path: _found([path, *names[id(model.get_parameter(path))]], tap, model, stored) for tap in taps for path in tap.weights}
    weights = {weight.path: weight for weight in wanted.values()}
    parts = {(part.file, part.key): part for weight in weights.values() for part in weight.parts}
    quantizing = [scheme for scheme in schemes if scheme.weights is not None or scheme.cast]
    sums: dict[str, dict[str, _Sums]] = {path: {} for path in weights}
    for file in sorted({part.file for part in parts.values()}):
        with _opened(file) as opened:
            for part in parts.values():
                if part.file == file:
                    for path, name, found in _figures(opened, part, model, weights, quantizing):
                        sums[path][name] = sums[path][name] + found if name in sums[path] else found
    errors = {path: {name: found.error for name, found in by_scheme.items()} for path, by_scheme in sums.items()}
    sites: dict[str, dict[str, dict[str, WeightError]]] = {}
    for tap in taps:
        sites.setdefault(tap.site.name, {}).update({path: errors[wanted[path].path] for path in tap.weights})
    return sites


# -- where every weight is --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A tensor of a file, and the parameters of the model that it goes to; `converter`, of transformers, where that takes more than a name, and the
    `pattern` of it that the tensor's name met."""

    file: Path
    key: str
    dtype: str
    shape: tuple[int, ...]
    targets: tuple[str, ...] = ()
    converter: Any = None
    pattern: str = ""

    @property
    def lies_otherwise(self) -> bool:
        """Whether the file holds what the model has, transposed."""
        return self.converter is not None and any(type(step).__name__ == "Transpose" for step in self.converter.operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    """A parameter by the name under which the files hold it, the tensors that make it up, of each the rows that go to it (None: all), and whether its
    matrices lie [in, out]."""

    path: str
    parts: tuple[_Stored, ...]
    rows: Mapping[str, torch.Tensor | None]
    transposed: bool


_REPORT = "  please report the model_type"
_EXPORT_AGAIN = "  config.json and the weight files do not belong together; export the checkpoint again"
_ALREADY = "  its weights are quantized already; give the checkpoint before it was quantized"


def _headers(folder: Path, model: nn.Module) -> list[_Stored]:
    """Every tensor of the files that transformers would load."""
    files = _files(folder, model)
    found = []
    for file in files:
        with _opened(file) as opened:
            for key in opened.keys():  # noqa: SIM118 - no mapping: it has keys, and does not iterate
                header = opened.get_slice(key)
                found.append(_Stored(file=file, key=key, dtype=header.get_dtype(), shape=tuple(header.get_shape())))
    return found


def _files(folder: Path, model: nn.Module) -> list[Path]:
    """The file that the config names, else `model.safetensors`, else those of its index, as transformers picks them."""
    named = getattr(model.config, "transformers_weights", None)
    single = folder / (named or "model.safetensors")
    if single.is_file() and single.suffix == ".safetensors":
        return [single]
    index = single if single.suffix == ".json" else folder / "model.safetensors.index.json"
    try:
        return sorted({folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasureError(
            f"{folder} has neither {single.name} nor an index of weight files that can be read ({first_line(error)})\n"
            "  give the folder of the checkpoint itself, written by save_pretrained"
        ) from error


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise MeasureError(f"{file} cannot be read: {first_line(error)}\n  copy or download it again") from error


def _placed(tensors: Sequence[_Stored], model: nn.Module) -> dict[str, list[_Stored]]:
    """The tensors of the files by the path they have in the model, as `from_pretrained` places them."""
    loaded: Any = model
    transforms = get_model_conversion_mapping(loaded)
    renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    state, prefix = loaded.state_dict(), loaded.base_model_prefix
    placed: dict[str, list[_Stored]] = {}
    for tensor in sorted(tensors, key=lambda tensor: dot_natural_key(tensor.key)):
        path, pattern = rename_source_key(tensor.key, renamings, converters, prefix, state)
        if path not in state and tensor.key in state:
            path, pattern = rename_source_key(tensor.key, [], [], prefix, state)
        if pattern is None:
            tensor = replace(tensor, targets=(path,))
        else:
            converter = by_pattern[pattern]
            targets = tuple(path.replace(converter.target_patterns[0], target) for target in converter.target_patterns)
            tensor = replace(tensor, targets=targets, converter=converter, pattern=pattern)
        for target in tensor.targets:
            placed.setdefault(target, []).append(tensor)
    return placed


def _found(names: Sequence[str], tap: Tap, model: nn.Module, stored: Mapping[str, list[_Stored]]) -> _Weight:
    """A weight with the tensors that make it up, under the first of its names that the files know. Raises MeasureError unless it is whole."""
    kept = next((name for name in names if name in stored), None)
    if kept is None:
        raise _lacking(names[0], stored)
    shape = tuple(model.get_parameter(kept).shape)
    parts = stored[kept]
    for part in parts:
        if part.dtype not in _FLOATS:
            raise MeasureError(f"{part.file}: {part.key} holds {part.dtype}\n{_ALREADY}")
        if part.converter is None and part.shape != shape:
            raise MeasureError(f"{part.file}: {part.key} is {_by(part.shape)} where the config makes {kept} {_by(shape)}\n{_EXPORT_AGAIN}")
        if len(part.targets) > 1 and len(part.shape) != 2:
            raise MeasureError(f"{part.file}: {part.key} is {_by(part.shape)}, to be taken apart into {', '.join(part.targets)}\n{_REPORT}")
    rows = _rows_of(kept, parts, model)
    elements = sum(math.prod(part.shape) if (own := rows[part.key]) is None else own.numel() * part.shape[-1] for part in parts)
    if elements != math.prod(shape):
        raise MeasureError(
            f"{parts[0].file}: {parts[0].key} and what else makes up {kept} hold {elements} elements where the config makes it {_by(shape)}\n"
            f"{_EXPORT_AGAIN}"
        )
    return _Weight(path=kept, parts=tuple(parts), rows=rows, transposed=_lies_in_out(kept, shape, tap, model))


def _rows_of(path: str, parts: Sequence[_Stored], model: nn.Module) -> dict[str, torch.Tensor | None]:
    """Which rows of each tensor go to a parameter, None for all of them: told by what transformers makes of the numbers of the rows."""
    if len(parts[0].targets) == 1:
        return {part.key: None for part in parts}
    heights = [part.shape[0] for part in parts]
    numbers = torch.arange(sum(heights)).unsqueeze(1)
    placed = _converted(parts, torch.split(numbers, heights), model).get(path, numbers[:0]).flatten().sort().values
    starts = torch.tensor([0, *heights]).cumsum(0)[:-1]
    own = placed.tensor_split(torch.searchsorted(placed, starts[1:]))
    return {part.key: rows - start for part, rows, start in zip(parts, own, starts, strict=True)}


def _converted(parts: Sequence[_Stored], tensors: Sequence[torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """What transformers makes of tensors in the place of those of the files, by path in the model."""
    converter, whole = deepcopy(parts[0].converter), parts[0].targets[0]
    for part, tensor in zip(parts, tensors, strict=True):
        converter.add_tensor(whole, part.key, part.pattern, tensor)
    try:
        found: dict[str, torch.Tensor] = converter.convert(whole, model=model, config=model.config)
    except Exception as error:
        raise MeasureError(f"{parts[0].file}: {parts[0].key} does not convert to {whole} ({first_line(error)})\n{_REPORT}") from error
    return found


def _lacking(path: str, stored: Mapping[str, list[_Stored]]) -> MeasureError:
    """The error for a weight that no file holds: beside a packed one lie integers or eight-bit floats of the same module."""
    module = f"{path.rpartition('.')[0]}."
    beside = [part for target, parts in stored.items() if target.startswith(module) for part in parts if part.dtype not in _FLOATS]
    if beside:
        return MeasureError(f"{beside[0].file}: {beside[0].key} holds {beside[0].dtype} in place of {path}\n{_ALREADY}")
    files = sorted({part.file for parts in stored.values() for part in parts})
    where = f"{files[0]} does not hold" if len(files) == 1 else f"none of the {len(files)} weight files, from {files[0]}, holds"
    return MeasureError(f"{where} {path}\n{_EXPORT_AGAIN}")


def _lies_in_out(path: str, shape: tuple[int, ...], tap: Tap, model: nn.Module) -> bool:
    """Whether matrices lie [in, out]: as their class says, else as the side that is as wide as the residual stream tells."""
    module = model.get_submodule(path.rpartition(".")[0])
    if len(shape) == 2:
        return class_of(module) == "Conv1D"
    if (stated := getattr(module, "is_transposed", None)) is not None:
        return bool(stated)
    config: Any = model.config
    width: int = config.get_text_config().hidden_size
    if (shape[-2] == width) == (shape[-1] == width):
        raise MeasureError(f"{path}: matrices of {_by(shape[-2:])} do not tell inputs from outputs at a width of {width}\n{_REPORT}")
    return (shape[-1] == width) == (tap.site.kind == "down_in")


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


# -- what schemes do to it --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Over the rows of one or several matrices: counts, energies of the weight and of its error, and the SQNR of the worst matrix."""

    entries: int
    nonzero: float = math.nan
    clipped: float = math.nan
    flushed: float = math.nan
    signal: float = math.nan
    error_energy: float = math.nan
    lowest_db: float = math.nan
    refused: str = ""

    @classmethod
    def of(cls, rows: torch.Tensor, entries: int) -> "_Sums":
        """Of a table [rows, 5] as `_by_row` makes it."""
        nonzero, clipped, flushed, signal, error = rows.sum(dim=0).tolist()
        return cls(
            entries=entries, nonzero=nonzero, clipped=clipped, flushed=flushed, signal=signal, error_energy=error, lowest_db=decibel(signal, error)
        )  # fmt: skip

    def __add__(self, other: "_Sums") -> "_Sums":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name not in ("lowest_db", "refused")}
        both = (self.lowest_db, other.lowest_db)
        lowest = math.nan if any(map(math.isnan, both)) else min(both)
        return _Sums(**sums, lowest_db=lowest, refused=self.refused or other.refused)

    @property
    def error(self) -> WeightError:
        return WeightError(
            entries=self.entries,
            sqnr_db=decibel(self.signal, self.error_energy),
            lowest_db=self.lowest_db,
            rel_rmse=math.sqrt(self.error_energy / self.signal) if self.signal else 0.0,
            clip_rate=self.clipped / self.entries,
            flush_to_zero=self.flushed / self.nonzero if self.nonzero else 0.0,
            refused=self.refused,
        )


def _figures(
    opened: Any, part: _Stored, model: nn.Module, weights: Mapping[str, _Weight], schemes: Sequence[Scheme]
) -> list[tuple[str, str, _Sums]]:
    """Read one tensor: (weight, scheme, sums) for each matrix of it and each weight that it holds something of."""
    tensor = opened.get_tensor(part.key)
    if part.lies_otherwise:
        tensor = _converted([part], [tensor], model)[part.targets[0]]
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
                found += [(weight.path, name, _Sums.of(table if rows is None else table[rows], entries)) for name, table in tables.items()]
                found += [(weight.path, name, _Sums(entries=entries, refused=reason)) for name, reason in refusals.items() if reason]
    return found


def _by_row(x: torch.Tensor, schemes: Sequence[Scheme]) -> dict[str, torch.Tensor]:
    """What each scheme does to a matrix x [out, in], row by row, as `_Sums.of` reads it: float64 [out, 5]; NaN for a matrix that is not finite."""
    x = x.float() if x.dtype == torch.float64 else x
    low, high = x.aminmax()
    amax = torch.maximum(-low, high)
    tables = {scheme.name: torch.full((x.shape[0], 5), math.nan, dtype=torch.float64) for scheme in schemes}
    if not torch.isfinite(amax):
        return tables
    exponent = math.frexp(amax.item())[1]
    unit = 2.0 ** max(-126, min(126, exponent)) if abs(exponent) > _FAR else 1.0
    tall = math.lcm(*(scheme.weights.group for scheme in schemes if scheme.weights and scheme.weights.granularity == "block"))
    height = max(1, _PIECE // (x.shape[1] * tall)) * tall
    for start in range(0, x.shape[0], height):
        piece = x[start : start + height]
        exact = piece.float()
        nonzero, signal = exact.count_nonzero(dim=1), _energy(exact, unit)
        for scheme in schemes:
            restored, levels, clipped = _round_trip(piece, scheme, amax)
            tables[scheme.name][start : start + height] = torch.stack(
                [nonzero, clipped.sum(1), nonzero - levels.count_nonzero(dim=1), signal, _energy(exact - restored, unit)], dim=1
            )
    return tables


def _round_trip(piece: torch.Tensor, scheme: Scheme, amax: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows after a scheme, their levels, and the entries beyond the largest level; `amax` is of the whole matrix, the calibration of its own scale."""
    if scheme.cast:
        restored = piece.to(getattr(torch, scheme.cast)).float()
        return restored, restored, restored.isinf()
    assert scheme.weights is not None
    of_the_whole = scheme.weights.granularity == "tensor" or scheme.weights.scale == "e4m3"
    quantized = quantize(piece, scheme.weights, amax if of_the_whole else None)
    return quantized.restored, quantized.levels, quantized.clipped


def _energy(x: torch.Tensor, unit: float) -> torch.Tensor:
    """Sums of squares of float32 rows [out, in], float64 [out]; squared in a `unit` where squares would leave the range."""
    x = x if unit == 1.0 else x / unit
    squares: torch.Tensor = torch.linalg.vecdot(x, x)
    return squares.double() * (unit * unit)
