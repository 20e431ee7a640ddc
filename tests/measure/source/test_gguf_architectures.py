"""A GGUF file of every architecture that transformers reads is held against its source whole: nothing of it that is
sound is red, whatever its converter made of it, and what is not the source's is named.
"""

from pathlib import Path

import pytest
import torch
from gguf import GGUFReader

from tests.support.against import failing, holding, weights_of
from tests.support.exports import gguf_architectures
from tests.support.exports.source import Tensors, tensors_of
from tests.support.trained import change_weights

_MATRICES = ("up_proj.weight", "experts.up_proj", "w3.weight", "c_fc.weight", "h_to_4h.weight", "in_proj.weight")
_FUSED = "mlp.gate_up_proj.weight"


def of_layer_1(tensors: Tensors) -> tuple[str, str]:
    """A norm and a matrix of the last layer."""
    inside = [name for name in tensors if ".layers.1." in name or "h.1." in name]
    norm = next(name for name in inside if "norm" in name or "ln_1.weight" in name)
    return norm, [name for name in inside if name.endswith((*_MATRICES, _FUSED))][-1]


def kind_of(name: str) -> str:
    return "F16" if "output" in name else "Q8_0"


@pytest.mark.parametrize("model_type", gguf_architectures.ARCHITECTURES)
def test_what_is_not_the_sources_is_red_and_all_else_is_held_and_passes(model_type: str, tmp_path: Path) -> None:
    origin = gguf_architectures.source(tmp_path / "origin", model_type)
    file = gguf_architectures.export(tmp_path / "model.gguf", origin, kind_of)
    norm, matrix = of_layer_1(tensors_of(origin))

    def change(tensors: Tensors) -> None:
        tensors[norm][3] += 0.25
        tensors[matrix].neg_()

    change_weights(origin, change)
    found = weights_of(file, origin)
    red = {name.partition("::")[0].removeprefix("weights.") for name in failing(holding(found, form="gguf int8"))}
    assert red - {"weights"} == {norm, "blk.1.ffn_up_exps.weight" if ".experts." in matrix else matrix}
    assert set(found.changed) == {norm}
    assert not found.unmatched
    low = [tensor for tensor in GGUFReader(file).tensors if tensor.tensor_type.name == "Q8_0"]
    assert found.low == len(low)
    assert torch.tensor([one.loss_db for name, one in found.lows.items() if name not in red]).max() < 1


def test_matrices_that_lie_the_other_way_round_are_rounded_along_their_inputs(tmp_path: Path) -> None:
    """As the file's blocks do: an input that is much larger than its neighbours costs them what it costs them there."""
    origin = gguf_architectures.source(tmp_path / "origin", "gpt2")
    name = "transformer.h.1.mlp.c_fc.weight"
    change_weights(origin, lambda tensors: tensors[name][5].mul_(200))
    file = gguf_architectures.export(tmp_path / "model.gguf", origin)
    assert not failing(holding(weights_of(file, origin), form="gguf int8"))
