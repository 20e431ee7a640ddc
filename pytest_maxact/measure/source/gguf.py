"""The tensors of a GGUF file under the names of a model: transformers, which alone knows how they lie there, makes the
model of the file, and the package gguf tells which tensor of the file each parameter came from.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.gguf import contents
from pytest_maxact.checkpoint.formats.gguf_names import names_in
from pytest_maxact.checkpoint.formats.packed import Packed
from pytest_maxact.checkpoint.formats.quantizers import quantizer_of
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.weights.against import Side
from pytest_maxact.checkpoint.weights.presence import is_counter, same_tensors
from pytest_maxact.checkpoint.weights.stored import Stored
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.settings.settings import Settings

_DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


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
    forms = tied_forms(_forms(files, checkpoint, list(tensors)), ties)
    return Side(stored=stored, tensors=tensors, forms=forms, method="gguf", again=again)


def tied_forms(forms: Mapping[str, Quantizer], ties: Mapping[str, Collection[str]]) -> dict[str, Quantizer]:
    """Forms by name, of names that are the same tensor too: a file holds it once, by one of them."""
    others = {other: how for name, how in forms.items() for other in ties.get(name, ())}
    return {**others, **forms}


def _forms(files: WeightFiles, checkpoint: Checkpoint, names: Collection[str]) -> dict[str, Quantizer]:
    packed = files.packing.packed if files.packing else {}
    layers = int(checkpoint.config.get_text_config().num_hidden_layers)
    found = names_in(contents(files.loaded[0]).architecture, layers, names)
    forms = {name: coarsest(packed[place] for place in places if place in packed) for name, places in found.items()}
    return {name: how for name, how in forms.items() if how}


def coarsest(parts: Iterable[Packed]) -> Quantizer | None:
    """The form of a parameter that several tensors of a file make up: that with the fewest levels. None for 16 bits."""
    forms = [(part.bits, how) for part in parts if (how := quantizer_of(part, "gguf"))]
    return min(forms, key=lambda one: one[0])[1] if forms else None
