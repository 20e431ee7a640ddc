"""A model in training of which parts are compiled in place is measured as it is written, to the bit, and stays
compiled.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo import OptimizedModule

from pytest_maxact.record.record import Record
from tests.support.training import causal_lm, record_at, train, trainer_of

EAGER: dict[str, Any] = {"backend": "eager"}


def layers_in_place(model: Any) -> None:
    for layer in model.model.layers:
        layer.compile(**EAGER)


def one_layer(model: Any) -> None:
    model.model.layers[1] = torch.compile(model.model.layers[1], **EAGER)


def blocks(model: Any) -> None:
    layer = model.model.layers[0]
    layer.mlp, layer.input_layernorm = torch.compile(layer.mlp, **EAGER), torch.compile(layer.input_layernorm, **EAGER)
    layer.self_attn.compile(backend="aot_eager")


def what_is_called(model: Any) -> None:
    model.model.layers[0].mlp.forward = torch.compile(model.model.layers[0].mlp.forward, **EAGER)


def table_norm_and_head(model: Any) -> None:
    model.model.embed_tokens = torch.compile(model.model.embed_tokens, **EAGER)
    model.model.norm, model.lm_head = torch.compile(model.model.norm, **EAGER), torch.compile(model.lm_head, **EAGER)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Callable[[Any], tuple[Record, Any]]:
    @cache
    def measured(compiling: Any) -> tuple[Record, Any]:
        folder = tmp_path_factory.mktemp("run")
        trainer = trainer_of(folder, causal_lm(), save_steps=100)
        if compiling:
            compiling(trainer.model)
        callback = train(folder, corpus, trainer=trainer, every=6)
        assert (list(callback.findings), callback.errors) == ([6], {})
        return record_at(folder, 6), trainer.model

    return measured


@pytest.mark.parametrize("compiling", [layers_in_place, one_layer, blocks, what_is_called, table_norm_and_head])
def test_a_compiled_part_is_measured_as_without(compiling: Any, measured: Any) -> None:
    (plain, _), (record, model) = measured(None), measured(compiling)
    assert record.sites == plain.sites
    assert record.predictions == plain.predictions
    assert record.weights == plain.weights
    assert bool(_compiled(model)) == (compiling in (one_layer, blocks, table_norm_and_head))


def _compiled(model: Any) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, OptimizedModule)]
