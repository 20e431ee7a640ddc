"""The weights of an artifact against its source's: two checkpoints in, what was found of their tensors out."""

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.quantizers import quantizer_of
from pytest_maxact.checkpoint.load import whole_skeleton
from pytest_maxact.checkpoint.locate import Checkpoint, with_weights
from pytest_maxact.checkpoint.weights.against import Side, weights_against
from pytest_maxact.checkpoint.weights.presence import same_tensors
from pytest_maxact.checkpoint.weights.restored import tensors_of
from pytest_maxact.checkpoint.weights.stored import headers
from pytest_maxact.measure.source.gguf import side_of_gguf
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.numbers.against import Weights
from pytest_maxact.settings.settings import Settings


def compared_weights(checkpoint: Checkpoint, settings: Settings, origin: Origin) -> Weights:
    """Raises MeasureError for a tensor of either that cannot be read."""
    model, ties = whole_skeleton(checkpoint), same_tensors(whole_skeleton(origin.checkpoint))
    files, others = with_weights(checkpoint, settings), with_weights(origin.checkpoint, origin.settings)
    with _side(files, checkpoint, settings) as artifact, _side(others, origin.checkpoint, origin.settings) as source:
        return weights_against(artifact, source, model, ties)


@contextmanager
def _side(files: WeightFiles, checkpoint: Checkpoint, settings: Settings) -> Iterator[Side]:
    """The tensors of files, open as long as they are compared; of a GGUF file those of the model made of it."""
    if files.is_gguf:
        yield side_of_gguf(files, checkpoint, settings)
        return
    method = files.packing.stated.method if files.packing else ""
    packed = files.packing.packed if files.packing else {}
    forms = {key: how for key, one in packed.items() if (how := quantizer_of(one, method))}
    with tensors_of(files) as tensors:
        yield Side(stored=headers(files), tensors=tensors, forms=forms, method=method)
