"""The pass: planted truth, padding, memory, merging and coverage."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact import corpus as corpora
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import PlannedBatch
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.measure.observe import accumulate as accumulate
from pytest_maxact.measure.observe.accumulate import SiteAccumulator, _encode, _row_findings, count_bits
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.products import Products
from pytest_maxact.measure.readings import readings
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.histogram import BINS
from pytest_maxact.record.merge import merge
from pytest_maxact.record.provenance import Provenance, corpus_digest
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.measuring import dense, encoded, loaded, memory_limited, observed, record_of, within_one_step

LENGTHS = [5, 9, 3, 12, 7, 7, 4, 11, 6]


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


@pytest.mark.parametrize("model_type", ["qwen3", "gemma2", "qwen3_moe", "gpt_oss", "qwen3_5"])
def test_batching_and_padding_on_either_side_change_no_count(model_type: str) -> None:
    model = tiny.random_model(model_type)
    sequences = encoded(LENGTHS)
    alone = dense(observed(model, sequences, batch_tokens=1))
    splits = corpora.assign_splits([s.sample for s in sequences])
    sides = ("right", "left") if model_type != "qwen3_5" else ("right",)
    for side in sides:
        observer = Observer(decoder_of(model), resolve(decoder_of(model), model.config))  # type: ignore[arg-type]
        with observer.attached():
            observer.run(corpora.plan_batches(sequences, splits, 60), torch.device("cpu"), side=side)
        observer.finish()
        assert observer.padded_tokens > 0
        for name, counts in dense(observer).items():
            assert counts.sum() == alone[name].sum(), name
            assert within_one_step(counts, alone[name]), f"{name}, padding {side}"


def test_the_tokenizers_padding_side_changes_nothing(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3")
    corpus = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences(LENGTHS))
    records = [
        record_of(tiny.save(tmp_path / side, model, tiny.word_tokenizer(padding_side=side)), corpus, batch_tokens=60)
        for side in ("right", "left")
    ]
    assert records[0].sites == records[1].sites


def test_padded_rows_count_nowhere_not_even_when_they_are_not_finite() -> None:
    sequences = encoded([2, 4])
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(sequences)), torch.device("cpu"))
    assert batch.padding.tolist() == [2, 3]
    values = torch.full((8, 6), 0.5, dtype=torch.bfloat16)
    values[2, 1], values[2, 2], values[3, 0], values[3, 3] = math.nan, 900.0, math.inf, -5000.0
    seen = SiteAccumulator("x", massive=True)
    seen.observe(values, batch.padding, lambda row: row, "")
    seen.commit(batch)
    counts = seen.dense_counts("evaluation")
    assert counts.nonzero()[0].tolist() == [0x3F00]
    assert counts.sum() == 36
    assert {peak.value for peak in seen.peaks} == {0.5}
    assert seen.first_nonfinite is None
    assert seen.massive.tokens == 0


def test_padding_repeats_the_sequences_own_tokens() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([2, 5]))), torch.device("cpu"))
    first = batch.plan.sequences[0].ids
    assert batch.ids[0].tolist() == [first[0], first[1], first[0], first[1], first[0]]


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


def test_a_batch_that_does_not_fit_is_halved_and_leaves_no_trace() -> None:
    sequences = encoded(LENGTHS)
    calm = observed(tiny.random_model("qwen3"), sequences, batch_tokens=14)
    tight = observed(memory_limited(tiny.random_model("qwen3"), 14), sequences, batch_tokens=200)
    assert tight.out_of_memory > 0
    assert tight.tokens == calm.tokens
    for name, counts in dense(tight).items():
        assert counts.sum() == dense(calm)[name].sum()
        assert abs(tight.accumulators[name].peaks[0].value) == pytest.approx(
            abs(calm.accumulators[name].peaks[0].value), rel=1e-4
        )


def test_a_single_sample_that_does_not_fit_is_an_error_that_names_it_and_the_knob() -> None:
    with pytest.raises(MeasureError, match=r"out of memory on sample s01 alone, 9 tokens long\n.*--maxact-max-seq-len"):
        observed(memory_limited(tiny.random_model("qwen3"), 8), encoded(LENGTHS), batch_tokens=200)


def test_an_error_that_is_not_about_memory_is_not_swallowed() -> None:
    model: Any = tiny.random_model("qwen3")

    def fail(module: Any, args: Any) -> None:
        raise RuntimeError("shapes do not match")

    model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(
        MeasureError, match=r"the forward pass failed on samples s\d\d to s\d\d: RuntimeError: shapes do not match"
    ):
        observed(model, encoded(LENGTHS))


_MODEL = tiny.random_model("qwen3").to(torch.bfloat16)
_SEQUENCES = encoded([6] * 4 + [9] * 4 + [3] * 4)
_SPLITS = corpora.assign_splits([s.sample for s in _SEQUENCES])


class PlainTokens:
    """Stands where a tokenizer decodes: a token's text is its number."""

    def decode(self, ids: list[int]) -> str:
        return str(ids[0])


def part_record(sequences: list[Any]) -> Record:
    """A Record of some samples, their splits those of the whole corpus; batches of one, so that numerics are those of
    the sample alone.
    """
    decoder = decoder_of(_MODEL)
    observer = Observer(decoder, resolve(decoder, _MODEL.config))  # type: ignore[arg-type]
    with observer.attached():
        observer.run(
            corpora.plan_batches(sequences, {s.sample.id: _SPLITS[s.sample.id] for s in sequences}, 1),
            torch.device("cpu"),
        )
    observer.finish()
    ordered = sorted(sequences, key=lambda s: s.sample.id)
    digests = tuple(s.sample.digest for s in ordered)
    batching = {"batch_tokens": 1, "batches": observer.batches, "padded_tokens": 0, "out_of_memory": 0}
    whole = Provenance(
        model="m",
        revision=None,
        weights_sha256="w",
        model_type="qwen3",
        architecture="Qwen3Model",
        family=None,
        layers=3,
        hidden_size=64,
        config_sha256="c",
        left_out=(),
        tokenizer_sha256="t",
        remote_code=False,
        protocol="paper",
        corpus="c",
        max_seq_len=64,
        dtype="bfloat16",
        device="cpu",
        attention="sdpa",
        experts=None,
        batching=batching,
        versions={},
        sample_digests=digests,
        samples=tuple((s.sample.id, s.sample.category, _SPLITS[s.sample.id], len(s)) for s in ordered),
        corpus_sha256=corpus_digest(digests),
    )
    return Record(provenance=whole, sites=readings(observer, PlainTokens()))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.randoms(use_true_random=False))
def test_parts_of_a_corpus_merged_in_any_order_equal_the_whole(membership: list[int], random: Any) -> None:
    whole = part_record(_SEQUENCES)
    parts = [[s for s, k in zip(_SEQUENCES, membership, strict=True) if k == part] for part in set(membership)]
    records = [part_record(part) for part in parts]
    random.shuffle(records)
    merged = merge(records)
    assert merged.sites == whole.sites
    assert merged.provenance == whole.provenance


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_device_path_finds_what_the_cpu_shortcut_finds(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the CPU the rows are always looked at; run here on CPU tensors, it must agree with the shortcut that mostly
    skips them.
    """
    sequences = encoded([6, 9, 3, 12, 6, 9, 3, 12] * 3)
    model: Any = tiny.random_model("qwen3")
    with torch.no_grad():
        model.layers[1].mlp.down_proj.weight[7] *= 4000
    model = model.to(dtype)
    lazy = observed(model, sequences, batch_tokens=40)
    monkeypatch.setattr(SiteAccumulator, "_matters", lambda self, top: True)
    monkeypatch.setattr(accumulate, "_massive_on_host", accumulate._massive_on_device)
    monkeypatch.setattr(
        accumulate,
        "_row_findings",
        lambda encoded, padding, massive, all_finite: _row_findings(encoded, padding, massive),
    )
    eager = observed(model, sequences, batch_tokens=40)
    for name, seen in lazy.accumulators.items():
        assert seen.peaks == eager.accumulators[name].peaks, name
        assert seen.massive == eager.accumulators[name].massive
    assert lazy.accumulators["layers.1.hidden"].massive.tokens > 0


def test_the_massive_activation_test_is_that_of_sun_et_al_by_direct_computation() -> None:
    torch.manual_seed(3)
    values = torch.randn(40, 64)
    values[3, 5], values[3, 9], values[8, 1], values[20, 0], values[30, 2] = 5000.0, -2000.0, 90.0, 400.0, 101.0
    values[30] *= torch.where(torch.arange(64) == 2, 1.0, 0.01)
    padding = torch.tensor([20])
    for dtype in (torch.float32, torch.bfloat16):
        x = values.to(dtype)
        magnitude = x.abs().double()
        median = magnitude.median(dim=1, keepdim=True).values
        passing = (magnitude > 100) & (magnitude > 1000 * median)
        passing[20] = False
        candidates = (magnitude.amax(1) > 100) & (torch.arange(40) != 20)
        found = _row_findings(_encode(x), padding, True).massive_counts()
        assert (found.tokens, found.entries) == (int(passing.any(1).sum()), int(passing.sum()))
        assert found.max_ratio == pytest.approx((magnitude.amax(1) / median[:, 0])[candidates].max().item())
        assert found.tokens >= 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_counts_are_those_of_numpy_whatever_the_threads_and_the_scatter(dtype: torch.dtype) -> None:
    bits = torch.randn(300, 1024).mul(50).to(dtype).view(torch.int16) & 0x7FFF
    expected = np.bincount(bits.numpy().ravel(), minlength=BINS)
    assert np.array_equal(count_bits(bits).numpy(), expected)
    assert np.array_equal(
        torch.zeros(BINS, dtype=torch.int64)
        .scatter_add_(0, bits.flatten().long(), torch.ones(bits.numel(), dtype=torch.int64))
        .numpy(),
        expected,
    )


def test_equal_peaks_rank_by_sample_position_and_channel() -> None:
    sequences = encoded([4, 4])
    plan = PlannedBatch(split="evaluation", sequences=tuple(sequences))
    batch = collate(plan, torch.device("cpu"))
    values = torch.zeros(8, 6, dtype=torch.bfloat16)
    values[5, 3] = values[2, 4] = -7.0
    values[2, 1] = values[6, 0] = 7.0
    seen = SiteAccumulator("x", massive=False)
    seen.observe(values, None, lambda row: row, "")
    seen.commit(batch)
    assert [(p.value, p.sample, p.position, p.channel) for p in seen.peaks[:4]] == [
        (7.0, "s00", 2, 1), (-7.0, "s00", 2, 4), (-7.0, "s01", 1, 3), (7.0, "s01", 2, 0),
    ]  # fmt: skip


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


def test_no_rows_at_all_leave_no_trace() -> None:
    batch = collate(PlannedBatch(split="evaluation", sequences=tuple(encoded([4]))), torch.device("cpu"))
    seen = SiteAccumulator("x", massive=True)
    seen.observe(torch.zeros(0, 6, dtype=torch.bfloat16), None, lambda row: row, "")
    seen.commit(batch)
    assert seen.peaks == []
    assert seen.dense_counts("evaluation").sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_moe", "gpt_oss", "qwen3_5"])
def test_sequences_share_batches_where_the_model_keeps_them_apart(model_type: str, dtype: torch.dtype) -> None:
    assert not observed(tiny.random_model(model_type).to(dtype), encoded([40, 17, 25, 12])).alone


@pytest.mark.parametrize("how", ["padding", "neighbour", "mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sequences_run_alone_where_one_sees_its_batch(how: str, dtype: torch.dtype) -> None:
    model: Any = tiny.random_model("qwen3").to(dtype)

    def leak(module: Any, args: Any, kwargs: Any, out: Any) -> Any:
        if how == "padding":
            return out + 0.5 * out.mean(dim=1, keepdim=True)
        if how == "neighbour":
            return out + 0.5 * out[:, :1].mean(dim=0, keepdim=True)
        return out * (2.0 if kwargs.get("attention_mask") is None else 1.0)

    model.layers[1].register_forward_hook(leak, with_kwargs=True)
    sequences = encoded([40, 17, 25, 12])
    together, single = observed(model, sequences, batch_tokens=200), observed(model, sequences, batch_tokens=1)
    assert together.alone
    assert together.batches == single.batches == 4
    assert {name: seen.peaks for name, seen in together.accumulators.items()} == {
        n: seen.peaks for n, seen in single.accumulators.items()
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_broken_model_is_not_taken_for_one_that_sees_its_batch(value: float) -> None:
    model: Any = tiny.random_model("qwen3")
    with torch.no_grad():
        model.norm.weight.fill_(value)
    assert not observed(model, encoded([40, 17, 25, 12])).alone


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [100, 1 << 17])
def test_counting_over_threads_counts_the_same(threads: int, size: int) -> None:
    bits = torch.randint(0, 1 << 15, (size,), generator=torch.Generator().manual_seed(1)).to(torch.int16)
    expected = np.bincount(bits.numpy(), minlength=1 << 15)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert np.array_equal(count_bits(bits).numpy(), expected)
    finally:
        torch.set_num_threads(before)
