"""Where the weights of linear layers lie in a checkpoint's files.

A tensor's place in the model is what transformers itself declares for loading it: names that differ, experts one by
one, fused projections. Every weight is found in full, or it is an error: one that was not read is not one without
error.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.headers import FLOATS
from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.errors import MeasureError, first_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor of a file, and the parameters of the model that it goes to; `converter`, of transformers, where that
    takes more than a name, and the `pattern` of it that the tensor's name met.
    """

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
        return self.converter is not None and any(
            type(step).__name__ == "Transpose" for step in self.converter.operations
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A parameter by the name under which the files hold it, the tensors that make it up, of each the rows that go to
    it (None: all), and whether its matrices lie [in, out].
    """

    path: str
    parts: tuple[Stored, ...]
    rows: Mapping[str, torch.Tensor | None]
    transposed: bool


_REPORT = "  please report the model_type"
_EXPORT_AGAIN = "  config.json and the weight files do not belong together; export the checkpoint again"
_ALREADY = "  its weights are quantized already; give the checkpoint before it was quantized"


def headers(files: WeightFiles) -> list[Stored]:
    """Every tensor of the loaded files; those in low bits as a source in 16 bits would hold them. None of a GGUF file:
    its names are not those of a model, and transformers tells what it lacks when it is loaded.
    """
    if files.is_gguf:
        return []
    packing = files.packing
    used = packing.used if packing else set()
    held = [
        Stored(file=file, key=h.key, dtype=h.dtype, shape=h.shape) for file, h in files.headers() if h.key not in used
    ]
    low = packing.packed.values() if packing else ()
    return held + [Stored(file=one.file, key=one.key, dtype=one.dtype, shape=one.shape) for one in low]


@contextmanager
def opened_file(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> MeasureError:
    return MeasureError(f"{file} cannot be read: {first_line(error)}\n  copy or download it again")


def placed_in(tensors: Sequence[Stored], model: nn.Module) -> dict[str, list[Stored]]:
    """The tensors of the files by the path they have in the model, as `from_pretrained` places them."""
    loaded: Any = model
    transforms = get_model_conversion_mapping(loaded)
    renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    state, prefix = loaded.state_dict(), loaded.base_model_prefix
    placed: dict[str, list[Stored]] = {}
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


def found_in(names: Sequence[str], tap: Tap, model: nn.Module, stored: Mapping[str, list[Stored]]) -> Weight:
    """A weight with the tensors that make it up, under the first of its names that the files know. Raises MeasureError
    unless it is whole.
    """
    kept = next((name for name in names if name in stored), None)
    if kept is None:
        raise _lacking(names[0], stored)
    shape = tuple(model.get_parameter(kept).shape)
    parts = stored[kept]
    for part in parts:
        if part.dtype not in FLOATS:
            raise MeasureError(f"{part.file}: {part.key} holds {part.dtype}\n{_ALREADY}")
        if part.converter is None and part.shape != shape:
            raise MeasureError(
                f"{part.file}: {part.key} is {_by(part.shape)} where the config makes {kept} {_by(shape)}\n"
                f"{_EXPORT_AGAIN}"
            )
        if len(part.targets) > 1 and len(part.shape) != 2:
            raise MeasureError(
                f"{part.file}: {part.key} is {_by(part.shape)}, to be taken apart into {', '.join(part.targets)}\n"
                f"{_REPORT}"
            )
    rows = _rows_of(kept, parts, model)
    elements = sum(
        math.prod(part.shape) if (own := rows[part.key]) is None else own.numel() * part.shape[-1] for part in parts
    )
    if elements != math.prod(shape):
        raise MeasureError(
            f"{parts[0].file}: {parts[0].key} and what else makes up {kept} hold {elements} elements where the config "
            f"makes it {_by(shape)}\n"
            f"{_EXPORT_AGAIN}"
        )
    return Weight(path=kept, parts=tuple(parts), rows=rows, transposed=lies_in_out(kept, shape, tap, model))


def _rows_of(path: str, parts: Sequence[Stored], model: nn.Module) -> dict[str, torch.Tensor | None]:
    """Which rows of each tensor go to a parameter, None for all of them: told by what transformers makes of the numbers
    of the rows.
    """
    if len(parts[0].targets) == 1:
        return {part.key: None for part in parts}
    heights = [part.shape[0] for part in parts]
    numbers = torch.arange(sum(heights)).unsqueeze(1)
    placed = converted(parts, torch.split(numbers, heights), model).get(path, numbers[:0]).flatten().sort().values
    starts = torch.tensor([0, *heights]).cumsum(0)[:-1]
    own = placed.tensor_split(torch.searchsorted(placed, starts[1:]))
    return {part.key: rows - start for part, rows, start in zip(parts, own, starts, strict=True)}


def converted(parts: Sequence[Stored], tensors: Sequence[torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """What transformers makes of tensors in the place of those of the files, by path in the model."""
    converter, whole = deepcopy(parts[0].converter), parts[0].targets[0]
    for part, tensor in zip(parts, tensors, strict=True):
        converter.add_tensor(whole, part.key, part.pattern, tensor)
    try:
        found: dict[str, torch.Tensor] = converter.convert(whole, model=model, config=model.config)
    except Exception as error:
        raise MeasureError(
            f"{parts[0].file}: {parts[0].key} does not convert to {whole} ({first_line(error)})\n{_REPORT}"
        ) from error
    return found


def _lacking(path: str, stored: Mapping[str, list[Stored]]) -> MeasureError:
    """The error for a weight that no file holds: beside a packed one lie integers or eight-bit floats of the same
    module.
    """
    module = f"{path.rpartition('.')[0]}."
    beside = [
        part
        for target, parts in stored.items()
        if target.startswith(module)
        for part in parts
        if part.dtype not in FLOATS
    ]
    if beside:
        return MeasureError(f"{beside[0].file}: {beside[0].key} holds {beside[0].dtype} in place of {path}\n{_ALREADY}")
    files = sorted({part.file for parts in stored.values() for part in parts})
    where = (
        f"{files[0]} does not hold"
        if len(files) == 1
        else f"none of the {len(files)} weight files, from {files[0]}, holds"
    )
    return MeasureError(f"{where} {path}\n{_EXPORT_AGAIN}")


def lies_in_out(path: str, shape: tuple[int, ...], tap: Tap, model: nn.Module) -> bool:
    """Whether matrices lie [in, out]: as their class says, else as the side that is as wide as the residual stream
    tells.
    """
    module = model.get_submodule(path.rpartition(".")[0])
    if len(shape) == 2:
        return class_of(module) == "Conv1D"
    if (stated := getattr(module, "is_transposed", None)) is not None:
        return bool(stated)
    config: Any = model.config
    width: int = config.get_text_config().hidden_size
    if (shape[-2] == width) == (shape[-1] == width):
        raise MeasureError(
            f"{path}: matrices of {_by(shape[-2:])} do not tell inputs from outputs at a width of {width}\n{_REPORT}"
        )
    return (shape[-1] == width) == (tap.site.kind == "down_in")


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
