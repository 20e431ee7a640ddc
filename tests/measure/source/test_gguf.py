"""Which form the parameters of a model have that was made of a GGUF file: of what is tied, and of stacked experts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.formats.gguf import packing_of_gguf
from pytest_maxact.checkpoint.formats.gguf_names import names_in
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.measure.source.gguf import coarsest
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.measure.source.weights import compared_weights
from pytest_maxact.settings.settings import Settings
from tests.support.exports import gguf
from tests.support.exports.source import Tensors, source, tensors_of
from tests.support.trained import change_weights
from tests.support.zoo.configs import build


@pytest.mark.parametrize(("model_type", "architecture"), [("qwen3_moe", "qwen3moe"), ("qwen3_5_moe_text", "qwen35moe")])
def test_stacked_experts_are_found_in_the_file_gates_and_what_they_gate_in_two_tensors(
    model_type: str, architecture: str
) -> None:
    keys = [f"blk.1.ffn_{name}_exps.weight" for name in ("up", "down", "gate")]
    keys += ["output_norm.weight", "rope_freqs.weight"]
    found = names_in(build(model_type).to("meta"), architecture, keys)
    experts = "model.layers.1.mlp.experts."
    assert found == {
        f"{experts}gate_up_proj": ("blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight"),
        f"{experts}down_proj": ("blk.1.ffn_down_exps.weight",),
        "model.norm.weight": ("output_norm.weight",),
    }


def test_of_two_forms_a_parameter_has_that_with_fewer_levels(tmp_path: Path) -> None:
    fine, coarse, plain = (
        packing_of_gguf([gguf.export(tmp_path / f"{kind}.gguf", kind)]).packed["blk.0.ffn_up.weight"]
        for kind in ("Q8_0", "Q4_1", "F16")
    )
    for parts in ([fine, coarse], [coarse, fine], [plain, coarse]):
        how = coarsest(parts)
        assert how is not None
        assert how.number == "int4"
    assert coarsest([plain]) is None


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "another head"])
def test_a_tied_head_is_the_embedding_in_low_bits_and_is_counted_once(sound: bool, tmp_path: Path) -> None:
    options = {"num_hidden_layers": 1, "vocab_size": 258}
    tied = source(tmp_path / "tied", "llama", tie_word_embeddings=True, **options)
    assert "lm_head.weight" not in tensors_of(tied)
    file = gguf.export(tmp_path / "model.gguf", "Q8_0", tied)
    untied = source(tmp_path / "untied", "llama", **options)
    settings = Settings(model=str(file))
    own = Settings(model=str(tied if sound else untied))
    found = compared_weights(locate(settings), settings, Origin(checkpoint=locate(own), settings=own))
    assert not found.changed
    assert not found.unmatched
    assert (found.low, found.kept) == ((8, 3) if sound else (9, 3))
    losses = {name: low.loss_db for name, low in found.lows.items()}
    assert max(losses.values()) < 1 if sound else losses["lm_head.weight"] > 20, losses
    assert torch.tensor(list(losses.values())).isfinite().all()


def test_what_is_beyond_float16_is_no_more_the_sources_where_the_file_holds_infinity(tmp_path: Path) -> None:
    """Others of its entries are the source's as float16 rounds them."""
    origin, name = gguf.dense(tmp_path / "origin"), "model.layers.0.mlp.up_proj.weight"

    def beyond(tensors: Tensors) -> None:
        tensors[name][3, 5] = 1e5

    change_weights(origin, beyond)
    with np.errstate(over="ignore"):
        settings = Settings(model=str(gguf.export(tmp_path / "model.gguf", "F16", origin)))
    own = Settings(model=str(origin))
    found = compared_weights(locate(settings), settings, Origin(checkpoint=locate(own), settings=own))
    assert {key: (kept.differing, kept.layer) for key, kept in found.changed.items()} == {name: (1, 0)}
