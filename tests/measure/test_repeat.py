"""The same samples measured again: what moves is told site by site, and the model is left as it was."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.regression import relative_limits
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.planning import refuse_unparallel
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.readings import readings
from pytest_maxact.measure.repeat import repeated, spread_of
from pytest_maxact.numbers.noise import DOCUMENTED, MOST, Noise
from pytest_maxact.numbers.ways import PARALLEL
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.metrics.metric import GROWTH, SHRINK
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support import records, tiny
from tests.support.measuring import LENGTHS, encoded, loaded, record_of

SETTINGS = Settings(repeat=6, batch_tokens=64)


def noise_of(model: Any, settings: Settings = SETTINGS) -> Noise:
    anatomy = resolve(model, model.config)
    prepared = Prepared(
        checkpoint=None, identity=None, anatomy=anatomy, tokenizer=tiny.word_tokenizer(),
        sequences=tuple(encoded(LENGTHS)), whole=tuple(encoded(LENGTHS)), max_seq_len=64,
    )  # type: ignore[arg-type]  # fmt: skip
    return repeated(prepared, settings, loaded(model), anatomy)


def on_disk(folder: Path) -> tuple[Path, Path]:
    text = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences(LENGTHS))
    return tiny.save(folder / "model", tiny.random_model("qwen3")), text


def test_other_batches_threads_and_attention_are_tried() -> None:
    model = tiny.random_model("qwen3")
    threads, how = torch.get_num_threads(), model.config._attn_implementation
    noise = noise_of(model)
    assert noise.samples == 6
    assert {"as before", "each sample alone"} <= set(noise.conditions)
    assert any("thread" in name for name in noise.conditions)
    assert ({"eager", "sdpa"} - {how}).pop() + " attention" in noise.conditions
    assert not noise.left_out
    assert torch.get_num_threads() == threads
    assert model.config._attn_implementation == how


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["qwen3", "mixtral", "gemma3_text"])
def test_a_sound_model_moves_no_further_than_is_known_of_its_dtype(name: str, dtype: torch.dtype) -> None:
    noise = noise_of(tiny.random_model(name).to(dtype))
    known = DOCUMENTED[str(dtype).removeprefix("torch.")]
    assert all(spread.max_abs <= known.max_abs for spread in noise.sites.values())


def test_a_model_that_depends_on_its_threads_is_told() -> None:
    model = tiny.random_model("qwen3")

    def scale(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output * torch.get_num_threads()

    model.layers[1].mlp.register_forward_hook(scale)
    noise = noise_of(model)
    assert noise.sites["layers.1.mlp_output"].max_abs > MOST.max_abs
    assert noise.sites["layers.0.mlp_output"].max_abs < 1e-3


def test_attention_that_a_model_refuses_is_left_out_by_name() -> None:
    model = tiny.random_model("qwen3")
    now = model.config._attn_implementation

    def only(implementation: str) -> None:
        if implementation != now:
            raise ValueError("there is no other here")

    model.set_attn_implementation = only
    noise = noise_of(model)
    assert [line for line in noise.left_out if "there is no other here" in line]
    assert not any("attention" in name for name in noise.conditions)


def test_readings_that_are_not_finite_alike_lie_infinitely_far_apart() -> None:
    sound, broken = records.reading([1.0], [2.0]), records.reading([1.0], [math.nan])
    assert math.isinf(spread_of(sound, broken).max_abs)
    assert spread_of(broken, broken).max_abs == 0.0


def test_it_stands_in_the_record_and_its_file_and_adds_up(tmp_path: Path) -> None:
    model, text = on_disk(tmp_path)
    record = record_of(model, text, repeat=4)
    assert record.noise
    assert record.noise.sites.keys() == record.sites.keys()
    save(record, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").noise == record.noise
    halves = [record_of(model, text, repeat=4, shard=f"{part}/2", batch_tokens=16) for part in (1, 2)]
    whole = merge(halves)
    assert whole.noise
    assert all(
        whole.noise.sites[site].max_abs == max(half.noise.sites[site].max_abs for half in halves if half.noise)
        for site in whole.sites
    )
    assert merge([halves[0], replace(halves[1], noise=None)]).noise is None


def test_a_streamed_pass_refuses_it_by_name(tmp_path: Path) -> None:
    model, text = on_disk(tmp_path)
    with pytest.raises(InputError, match="measures samples again with a model that is in memory as a whole"):
        record_of(model, text, repeat=4, device="stream")


def test_ranks_that_hold_one_model_together_refuse_it() -> None:
    """One of them alone would wait for the others for good."""
    here = Place(rank=0, size=2, local=0, beside=2)
    with pytest.raises(InputError, match="measures samples again on one rank"):
        refuse_unparallel(tiny.random_model("qwen3"), Settings(device=PARALLEL, repeat=3), here, quantized=False)


def test_a_model_against_itself_in_200_other_batchings_breaks_no_limit_however_tight() -> None:
    """Limits of nothing at all: no growth, no shrinking, no shift, no dB."""
    model, text = tiny.random_model("qwen3", num_hidden_layers=1).to(torch.bfloat16), encoded([9, 7, 12, 5])
    anatomy, threads, drawn = resolve(model, model.config), torch.get_num_threads(), random.Random(3)
    splits = corpus.assign_splits([sequence.sample for sequence in text])

    def measured() -> Record:
        observer = Observer(model, anatomy)
        with observer.attached():
            observer.run(_any_batches(text, splits, drawn), torch.device("cpu"))
        return replace(CALM, sites=readings(observer, tiny.word_tokenizer()))

    torch.set_num_threads(1)
    first = measured()
    limits = _tightest(first)
    excused = 0
    try:
        for _ in range(200):
            model.set_attn_implementation(drawn.choice(["eager", "sdpa"]))
            other = measured()
            findings = [check(other, limit, first) for limit in limits]
            assert [finding.message for finding in findings if not finding.passed] == []
            excused += sum(finding.is_noise for finding in findings)
    finally:
        torch.set_num_threads(threads)
    assert excused


CALM = records.record({"embedding": [[1.0]], "layers.0.hidden": [[1.0]]})


def _any_batches(text: list[Any], splits: dict[str, str], drawn: random.Random) -> BatchPlan:
    """The sequences of each split in groups of any size, whatever their lengths."""
    plan: BatchPlan = []
    for split in ("calibration", "evaluation"):
        left = [sequence for sequence in text if splits[sequence.sample.id] == split]
        drawn.shuffle(left)
        while left:
            size = drawn.randint(1, len(left))
            plan.append(PlannedBatch(split=split, sequences=tuple(left[:size])))
            left = left[size:]
    return plan


def _tightest(record: Record) -> list[Limit]:
    sites = [reading.site for reading in record.sites.values()]
    limits = relative_limits(load_limits(), sites, (), "v1", probed=False)
    return [
        replace(limit, bound=1.0 if limit.metric in (GROWTH, SHRINK) else 0.0, floor=None)
        for limit in limits
        if limit.site != "model"
    ]
