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
    packed = files.packing.packed if files.packing else {}
    layers = int(checkpoint.config.get_text_config().num_hidden_layers)
    named = names_in(contents(file).architecture, layers, list(tensors))
    parts = {name: [packed[place] for place in places if place in packed] for name, places in named.items()}
    forms = tied_forms({name: how for name, own in parts.items() if (how := coarsest(own))}, ties)
    halves = {name: own for name, own in parts.items() if len(own) > 1 and len(own) == len(named[name])}
    for own in halves.values():
        forms |= {part.key: how for part in own if (how := quantizer_of(part, "gguf"))}
    return Side(
        stored=stored, tensors=tensors, forms=forms, method="gguf", again=again,
        halves={name: {part.key: part.shape[-2] for part in own} for name, own in halves.items()},
    )  # fmt: skip


def tied_forms(forms: Mapping[str, Quantizer], ties: Mapping[str, Collection[str]]) -> dict[str, Quantizer]:
    """Forms by name, of names that are the same tensor too: a file holds it once, by one of them."""
    others = {other: how for name, how in forms.items() for other in ties.get(name, ())}
    return {**others, **forms}


def coarsest(parts: Iterable[Packed]) -> Quantizer | None:
    """The form of a parameter that several tensors of a file make up: that with the fewest levels. None for 16 bits."""
    forms = [(part.bits, how) for part in parts if (how := quantizer_of(part, "gguf"))]
    return min(forms, key=lambda one: one[0])[1] if forms else None
