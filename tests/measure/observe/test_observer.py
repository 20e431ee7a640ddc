"""A pass finds planted values exactly where they were put, whatever the batches, and refuses sites that do not fire as
they should.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.products import Products
from pytest_maxact.measure.run import observe
from tests.support import tiny
from tests.support.measuring import (
    LENGTHS,
    dense,
    encoded,
    loaded,
    observed,
    record_of,
)


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "mistral", "gemma", "qwen3_moe", "mixtral"])
@pytest.mark.parametrize(("layer", "value"), [(0, 768.0), (2, -12288.0)])
def test_a_planted_value_is_found_exactly_where_it_was_put(
    model_type: str, layer: int, value: float, tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model(model_type, layer=layer, value=value))
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS, peak=(3, 7)))
    record = record_of(folder, corpus, batch_tokens=30)
    carrier, peak = record.carrier, record.carrier.peaks[0]
    assert (carrier.site.name, peak.value, peak.sample, peak.position, peak.token, peak.channel) == (
        f"layers.{layer}.hidden", value, "s03", 7, tiny.PEAK_WORD, tiny.PEAK_CHANNEL,
    )  # fmt: skip
    assert record[f"layers.{layer}.mlp_output"].peaks[0].value == value
    assert record[f"layers.{layer}.mlp_output"].histogram.above(0.0) == 1
    assert record[f"layers.{layer}.attn_output"].max_abs == 0.0
    gate = record[f"layers.{layer}.gate"].peaks[0]
    assert (gate.value, gate.sample, gate.position, gate.channel) == (32.0, "s03", 7, 0)
    if layer:
        assert record["layers.0.hidden"].max_abs == tiny.FLAG_VALUE


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text"])
def test_a_planted_value_is_found_behind_a_post_norm(model_type: str, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model(model_type, layer=1, value=-96.0, residual=4096.0))
    record = record_of(folder, tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS, peak=(5, 0))))
    block, stream = record["layers.1.mlp_output"].peaks[0], record["layers.1.hidden"].peaks[0]
    assert (block.value, block.sample, block.position, block.channel) == (-96.0, "s05", 0, tiny.PEAK_CHANNEL)
    assert (stream.value, stream.sample, stream.position, stream.channel) == (-4096.0, "s05", 0, tiny.PEAK_CHANNEL)
    assert record.carrier.site.name == "layers.1.hidden"
    massive = record["layers.1.hidden"].massive
    assert massive is not None
    assert (massive.tokens, massive.entries) == (1, 1)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_poisoned_layer_is_counted_and_its_first_entry_named(
    poison: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = tiny.planted_model("qwen3", layer=1, value=64.0, dtype=dtype)
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[PEAK, 0] = poison  # type: ignore[union-attr,operator,index]
    record = record_of(
        tiny.save(tmp_path / "m", model), tiny.write_corpus(tmp_path / "c.jsonl", tiny.sentences(LENGTHS, peak=(3, 7)))
    )
    assert record["layers.0.hidden"].nonfinite == 0
    reading = record["layers.1.mlp_output"]
    assert reading.nonfinite == sum(LENGTHS) if math.isnan(poison) else reading.nonfinite >= 1
    assert reading.first_nonfinite is not None
    assert reading.first_nonfinite.channel == tiny.PEAK_CHANNEL
    assert reading.finite_max == 0.0
    assert reading.max_abs == math.inf


PEAK = tiny.PEAK_CHANNEL


@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe"])
def test_every_sites_element_count_is_tokens_times_width(model_type: str) -> None:
    observer = observed(tiny.random_model(model_type), encoded(LENGTHS), batch_tokens=40)
    tokens = sum(LENGTHS)
    for site in observer.anatomy.sites:
        seen = observer.accumulators[site.name]
        width = {"gate": 96, "router": 8}.get(site.kind, tiny.WIDTH)
        factor = 1
        if site.kind == "gate" and model_type == "qwen3_moe":
            width, factor = 32, 2
        assert int(dense(observer)[site.name].sum()) == tokens * width * factor
        assert seen.rows == {"experts" if factor == 2 else "": tokens * factor}


def test_a_site_that_does_not_fire_is_an_error_that_names_it() -> None:
    model: Any = tiny.random_model("qwen3")
    anatomy = resolve(model, model.config)
    original = model.layers[1].mlp.forward
    model.layers[1].mlp.forward = lambda x: model.layers[1].mlp.down_proj(model.layers[1].mlp.up_proj(x))
    with pytest.raises(MeasureError, match=r"site layers\.1\.gate, module layers\.1\.mlp\.gate_proj, did not fire"):
        observe(loaded(model), anatomy, encoded(LENGTHS), 60)
    model.layers[1].mlp.forward = original


def test_a_site_that_fires_twice_is_an_error() -> None:
    model: Any = tiny.random_model("qwen3")
    anatomy = resolve(model, model.config)
    block = model.layers[2].mlp
    original = type(block).forward
    block.forward = lambda x: original(block, x) + 0 * block.act_fn(block.gate_proj(x)).sum()
    with pytest.raises(MeasureError, match=r"site layers\.2\.gate.* gave \d+ rows where \d+ were expected"):
        observe(loaded(model), anatomy, encoded(LENGTHS), 60)


def test_router_logits_are_read_whatever_the_router_returns() -> None:
    model: Any = tiny.random_model("qwen3_moe")
    plain = observed(model, encoded(LENGTHS)).accumulators["layers.0.router"].peaks
    model.layers[0].mlp.gate.register_forward_hook(lambda m, a, out: (out[0].softmax(-1), *out[1:]))
    assert observed(model, encoded(LENGTHS)).accumulators["layers.0.router"].peaks == plain


@pytest.mark.parametrize(
    ("forward", "products"),
    [
        (
            lambda router, x: (
                None,
                torch.ones(x.reshape(-1, 64).shape[0], 2) / 2,
                torch.zeros(x.reshape(-1, 64).shape[0], 2, dtype=torch.long),
            ),
            0,
        ),
        (lambda router, x: type(router).forward(router, x) and type(router).forward(router, x), 2),
    ],
)
def test_a_router_that_does_not_use_its_matrix_once_is_refused(forward: Any, products: int) -> None:
    model: Any = tiny.random_model("qwen3_moe")
    router = model.layers[0].mlp.gate
    router.forward = lambda x: forward(router, x)
    with pytest.raises(
        MeasureError, match=rf"layers\.0\.router.*{products} products with its matrix where one was expected"
    ):
        observed(model, encoded(LENGTHS))


@pytest.mark.parametrize(
    "multiply",
    [
        lambda w, x: torch.nn.functional.linear(x.double(), w.double()),
        lambda w, x: x @ w.t(),
        lambda w, x: x @ w.to(torch.float64).T.to(x),
        lambda w, x: torch.einsum("td,ed->te", x, w),
        lambda w, x: torch.addmm(torch.zeros(len(w)), x, w.T),
        lambda w, x: torch.softmax(torch.mm(x, w.type_as(x).transpose(0, 1)), -1),
    ],
)
def test_a_product_is_found_through_casts_and_transposes(multiply: Any) -> None:
    # As many tokens as the matrix is wide: a product that has the matrix's own number of elements.
    weight, states = torch.nn.Parameter(torch.randn(8, 16)), torch.randn(16, 16)
    with torch.inference_mode(), Products(weight) as products:
        multiply(weight, states)
        torch.nn.functional.linear(states, states)
    assert len(products.found) == 1
    torch.testing.assert_close(products.found[0].float(), states @ weight.detach().T)


def test_hooks_are_gone_after_the_pass_even_if_it_failed() -> None:
    model: Any = tiny.random_model("gpt_oss")
    observed(model, encoded(LENGTHS))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all("_apply_gate" not in vars(m) for m in model.modules())
    with pytest.raises(ZeroDivisionError), Observer(model, resolve(model, model.config)).attached():
        raise ZeroDivisionError
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_site_of_another_width_than_the_config_says_is_refused() -> None:
    model: Any = tiny.random_model("qwen3")
    model.config.hidden_size = 63
    with pytest.raises(InputError, match="no final norm of width 63"):
        resolve(model, model.config)
    model = tiny.random_model("qwen3")
    taps = dataclasses.replace(resolve(model, model.config), hidden_size=63)
    with pytest.raises(MeasureError, match=r"layers\.0\.hidden is 64 wide where the config says 63"):
        observe(loaded(model), taps, encoded(LENGTHS), 60)


def test_a_layer_that_returns_an_update_beside_its_residual_is_refused() -> None:
    model: Any = tiny.random_model("qwen3")
    layer = model.layers[1]
    layer.register_forward_hook(lambda m, args, out: (out, out + 1))
    model.layers[2].register_forward_pre_hook(
        lambda m, args: (args[0][0], *args[1:]) if isinstance(args[0], tuple) else None
    )
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden.* returns two tensors of one shape"):
        observed(model, encoded(LENGTHS))


def test_a_module_called_out_of_the_order_of_depth_is_refused() -> None:
    model: Any = tiny.random_model("qwen3")
    anatomy = resolve(model, model.config)
    swapped = {"layers.0.hidden": model.layers[1], "layers.1.hidden": model.layers[0]}
    taps = tuple(dataclasses.replace(tap, module=swapped.get(tap.site.name, tap.module)) for tap in anatomy.taps)
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden fired out of the order of depth"):
        observe(loaded(model), dataclasses.replace(anatomy, taps=taps), encoded(LENGTHS), 60)


def test_a_final_norm_that_runs_before_the_layers_is_refused() -> None:
    model: Any = tiny.random_model("qwen3")
    model.embed_norm = torch.nn.RMSNorm(tiny.WIDTH)
    model.embed_tokens.register_forward_hook(lambda m, args, out: model.embed_norm(out))
    anatomy = resolve(model, model.config)
    final = next(tap for tap in anatomy.taps if tap.site.kind == "final_norm")
    taps = (*(tap for tap in anatomy.taps if tap is not final), dataclasses.replace(final, module=model.embed_norm))
    with pytest.raises(MeasureError, match="final_norm fired out of the order of depth"):
        observe(loaded(model), dataclasses.replace(anatomy, taps=taps), encoded(LENGTHS), 60)
