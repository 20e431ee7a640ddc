"""Models whose massive channel has one cause, planted, and models that have none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.record.cause import BIAS, EMBEDDING, GAIN, MATRIX
from tests.support import tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A parameter of the decoder and the entry in it that was changed."""

    kind: str
    model: nn.Module
    parameter: str
    place: tuple[int, ...]


def _model(family: str, seed: int) -> Any:
    overrides = {"mlp_bias": True, "attention_bias": True} if family == "llama" else {}
    return tiny.random_model(family, seed, **overrides)


def _set(model: Any, name: str, place: tuple[int, ...], value: float) -> None:
    with torch.no_grad():
        model.get_parameter(name)[place] = value


def _planted(kind: str, family: str, seed: int, name: str, place: tuple[int, ...], value: float) -> Planted:
    model = _model(family, seed)
    _set(model, name, place, value)
    return Planted(kind=kind, model=model, parameter=name, place=place)


def planted(word: int = 5) -> Iterator[Planted]:
    """Five of each of four kinds, in different layers, channels and families. `word`: a token that the text has."""
    matrices = (("qwen3", 0), ("llama", 1), ("mistral", 2), ("qwen2", 1), ("qwen3", 2))
    for seed, (family, layer) in enumerate(matrices):
        block = "self_attn.o_proj" if seed == 4 else "mlp.down_proj"
        yield _planted(MATRIX, family, seed, f"layers.{layer}.{block}.weight", (7 + 9 * seed, 3 + seed), 400.0)
    for seed, layer in enumerate((0, 1, 2, 1, 0)):
        block = "self_attn.o_proj" if seed == 3 else "mlp.down_proj"
        yield _planted(BIAS, "llama", seed, f"layers.{layer}.{block}.bias", (11 + 5 * seed,), 300.0 * (-1) ** seed)
    for seed, (family, layer) in enumerate(
        (("gemma2", 0), ("gemma2", 1), ("gemma3_text", 2), ("gemma3_text", 0), ("gemma2", 2))
    ):
        block = "post_attention_layernorm" if seed == 1 else "post_feedforward_layernorm"
        yield _planted(GAIN, family, seed, f"layers.{layer}.{block}.weight", (13 + 4 * seed,), 500.0)
    for seed, family in enumerate(("qwen3", "llama", "qwen2", "mistral", "gemma")):
        yield _planted(EMBEDDING, family, seed, "embed_tokens.weight", (word, 2 + 8 * seed), 60.0 * (-1) ** seed)


def controls() -> Iterator[nn.Module]:
    """Twenty without a cause: random models, and entries as large as those that were planted that no value passes."""
    for seed in range(10):
        yield _model(("qwen3", "llama", "gemma2", "mistral", "qwen2")[seed % 5], 20 + seed)
    harmless: tuple[Callable[[Any], None], ...] = (_dead_neuron, _unused_word)
    for seed in range(10):
        model = _model(("qwen3", "llama", "gemma2", "mistral", "qwen2")[seed % 5], 40 + seed)
        harmless[seed % 2](model)
        yield model


def _dead_neuron(model: Any) -> None:
    """A huge entry of the last projection, of a neuron that is always zero."""
    mlp = model.layers[1].mlp
    with torch.no_grad():
        mlp.up_proj.weight[9] = 0.0
        if mlp.up_proj.bias is not None:
            mlp.up_proj.bias[9] = 0.0
    _set(model, "layers.1.mlp.down_proj.weight", (17, 9), 400.0)


def _unused_word(model: Any) -> None:
    """A huge entry of the embedding, of a token that the text has not."""
    _set(model, "embed_tokens.weight", (63, 17), 60.0)
