"""The tensors of a GGUF file under the names of a model: transformers, which alone knows how they lie there, makes the
model of the file, and the package gguf tells which tensor of the file each parameter came from.
"""

from pathlib import Path

import torch

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.gguf import contents
from pytest_maxact.checkpoint.formats.gguf_names import names_in
from pytest_maxact.checkpoint.formats.quantizers import quantizer_of
from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.weights.against import Side
from pytest_maxact.checkpoint.weights.presence import is_counter
from pytest_maxact.checkpoint.weights.stored import Stored
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.settings.settings import Settings

_DTYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


def side_of_gguf(files: WeightFiles, checkpoint: Checkpoint, settings: Settings) -> Side:
    """Raises MeasureError where it cannot be loaded."""
    loaded = load(checkpoint, settings)
    tensors = {
        name: tensor.cpu()
        for name, tensor in (loaded.whole or loaded.model).state_dict().items()
        if not is_counter(name) and tensor.dtype in _DTYPES
    }
    file: Path = files.loaded[0]
    stored = [Stored(file=file, key=name, dtype=_DTYPES[t.dtype], shape=tuple(t.shape)) for name, t in tensors.items()]
    return Side(stored=stored, tensors=tensors, forms=_forms(files, checkpoint, list(tensors)), method="gguf")


def _forms(files: WeightFiles, checkpoint: Checkpoint, names: list[str]) -> dict[str, Quantizer]:
    packed = files.packing.packed if files.packing else {}
    layers = int(checkpoint.config.get_text_config().num_hidden_layers)
    places = names_in(contents(files.loaded[0]).architecture, layers, names)
    forms = {name: quantizer_of(packed[place], "gguf") for name, place in places.items() if place in packed}
    return {name: how for name, how in forms.items() if how}
