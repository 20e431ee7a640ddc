"""The tensors of a GGUF file under the names of a model: transformers, which alone knows how they lie there, makes the
model of the file, and the package gguf tells which tensor of the file each parameter came from.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.gguf import bytes_of, contents
from pytest_maxact.checkpoint.formats.gguf_names import names_in
from pytest_maxact.checkpoint.formats.packed import Packed
from pytest_maxact.checkpoint.formats.quantizers import quantizer_of
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.modules import class_of
from pytest_maxact.checkpoint.weights.against import Lying, Side
from pytest_maxact.checkpoint.weights.presence import is_counter, same_tensors
from pytest_maxact.checkpoint.weights.stored import Stored
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.settings.settings import Settings

_DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
_PLAIN = ("F16", "F32")
_ARITHMETIC = 2.0**-21
"""What is lost where a file holds one more than a weight, or the negative of its exponential, in float32: so far from
it, beside one, is what is made of that again.
"""


def side_of_gguf(files: WeightFiles, checkpoint: Checkpoint, settings: Settings) -> Side:
    """Raises MeasureError where it cannot be loaded."""
    loaded = load(checkpoint, settings)
    model = loaded.whole or loaded.model
    tensors = {
        name: tensor.cpu()
        for name, tensor in model.state_dict().items()
        if not is_counter(name) and tensor.dtype in _DTYPES
    }
    ties = same_tensors(model)
    again = {name for place, name in enumerate(tensors) if ties.get(name, set()) & set(list(tensors)[:place])}
    file: Path = files.loaded[0]
    stored = [Stored(file=file, key=name, dtype=_DTYPES[t.dtype], shape=tuple(t.shape)) for name, t in tensors.items()]
    packed = files.packing.packed if files.packing else {}
    named = names_in(model, contents(file).architecture, packed)
    parts = {name: [packed[place] for place in places] for name, places in named.items() if name in tensors}
    forms = tied_forms({name: how for name, own in parts.items() if (how := coarsest(own))}, ties)
    halves = {name: own for name, own in parts.items() if len(own) > 1}
    for own in halves.values():
        forms |= {part.key: how for part in own if (how := quantizer_of(part, "gguf"))}
    read = {part: bytes_of(part) for part in files.loaded}
    turned = {f"{path}.weight" for path, module in model.named_modules() if class_of(module) == "Conv1D"}
    return Side(
        stored=stored, tensors=tensors, forms=forms, method="gguf", again=again, turned=turned,
        halves={name: {part.key: part.shape[-2] for part in own} for name, own in halves.items()},
        lying={name: lying for name, own in parts.items() if (lying := _lying(own, tensors[name], read))},
    )  # fmt: skip


def _lying(parts: Sequence[Packed], loaded: torch.Tensor, read: Mapping[Path, Any]) -> Lying | None:
    """How what is no block of low bits lies in a file, where it may hold less than the source: None for as that."""
    kinds = {next(iter(part.parts.values())).dtype for part in parts}
    if not kinds <= set(_PLAIN):
        return None
    within = 0.0
    if len(parts) == 1 and loaded.ndim < 3 and (part := next(iter(parts[0].parts.values()))).dtype == "F32":
        raw = torch.from_numpy(np.copy(read[part.file](part.header))).view(torch.float32)
        if raw.numel() == loaded.numel():
            within = 0.0 if _same_values(raw, loaded) else _ARITHMETIC
    narrow = torch.float16 if kinds == {"F16"} else None
    return Lying(dtype=narrow, within=within) if narrow or within else None


def _same_values(raw: torch.Tensor, loaded: torch.Tensor) -> bool:
    """Whether a tensor of the file and the parameter made of it hold the same numbers, in whatever order."""
    one, other = (tensor.to(loaded.dtype).flatten().sort().values for tensor in (raw, loaded))
    return torch.equal(one, other)


def tied_forms(forms: Mapping[str, Quantizer], ties: Mapping[str, Collection[str]]) -> dict[str, Quantizer]:
    """Forms by name, of names that are the same tensor too: a file holds it once, by one of them."""
    others = {other: how for name, how in forms.items() for other in ties.get(name, ())}
    return {**others, **forms}


def coarsest(parts: Iterable[Packed]) -> Quantizer | None:
    """The form of a parameter that several tensors of a file make up: that with the fewest levels. None for 16 bits."""
    forms = [(part.bits, how) for part in parts if (how := quantizer_of(part, "gguf"))]
    return min(forms, key=lambda one: one[0])[1] if forms else None
