"""What a cache keeps, as the pass sees it: against keys and values gathered one sequence at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.measure.observe.attention import watch_attention
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.state import restore, state_of
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from tests.support import tiny
from tests.support.kv import KV, attended
from tests.support.measuring import encoded, loaded
from tests.support.zoo.configs import build, headless

SEQUENCES = encoded((40, 12, 70, 9, 33, 5), vocabulary=60)
SPLITS = {"s00": "calibration", "s01": "evaluation"}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.random_model("llama").eval()


def seen(model: Any, batch_tokens: int = 64) -> Observer:
    anatomy = resolve(model, model.config, attention=True)
    return observe(loaded(model), anatomy, SEQUENCES, batch_tokens, schemes=[SCHEMES[name] for name in KV])


def gathered(model: Any, layer: int) -> dict[str, dict[str, torch.Tensor]]:
    """Keys and values [tokens, heads, width] of every sequence, alone in its batch."""
    attention = model.get_decoder().layers[layer].self_attn
    found: dict[str, dict[str, torch.Tensor]] = {"k": {}, "v": {}}
    for sequence in SEQUENCES:
        with torch.inference_mode():
            undo = watch_attention(
                {id(attention): ""},
                lambda _, call, name=sequence.sample.id: (
                    found["k"].update({name: call.key[0].transpose(0, 1)})  # type: ignore[misc]
                    or found["v"].update({name: call.value[0].transpose(0, 1)})
                ),
            )
            decoder_of(model)(input_ids=torch.tensor([sequence.ids]), use_cache=False)
            undo()
    return found


def test_channels_spread_and_sums_are_those_of_sequences_one_by_one(model: Any) -> None:
    from pytest_maxact import corpus

    observer = seen(model)
    splits = corpus.assign_splits([sequence.sample for sequence in SEQUENCES])
    plain = gathered(model, 1)
    for kind in ("k", "v"):
        site = f"layers.1.{kind}"
        own = [rows for name, rows in plain[kind].items() if splits[name] == "evaluation"]
        calibration = torch.cat([rows for name, rows in plain[kind].items() if splits[name] == "calibration"])
        channels = torch.cat(own).abs().amax(0).flatten()
        assert torch.allclose(observer.fidelity.cached.channels[site, ""], channels, rtol=1e-5)
        largest = calibration.abs().amax((0, 2)).float()
        whole = torch.cat(own)
        for name in ("KV_FP8_HEAD", "KV_INT8_PER_TOKEN_HEAD", "KV_INT4", "KV_NVFP4", "KV_NVFP4_4OVER6_ONE"):
            how = SCHEMES[name].cache
            assert how
            behind = largest if how.shared == "head" else largest.amax().view(1)
            kept = through_cache(whole, how, kind == "k", [len(rows) for rows in own], behind)
            error = float((kept.restored.double() - whole.double()).square().sum())
            sums = observer.fidelity.sums[site, name]
            assert sums.tokens == len(whole)
            assert sums.error == pytest.approx(error, rel=1e-2)
            assert sums.signal == pytest.approx(float(whole.double().square().sum()), rel=1e-4)
    energy = sum(
        float((rows - rows.mean(0)).double().square().sum())
        for name, rows in plain["k"].items()
        if splits[name] == "evaluation"
    )
    entries, found = observer.fidelity.cached.energies["layers.1.k", ""].tolist()
    assert found == pytest.approx(energy, rel=1e-4)
    assert entries == sum(rows.numel() for name, rows in plain["k"].items() if splits[name] == "evaluation")
    assert ("layers.1.v", "") not in observer.fidelity.cached.energies


def test_batches_make_no_difference_and_a_state_is_taken_up_again(model: Any) -> None:
    one, other = seen(model, 1), seen(model, 4096)
    for key, sums in one.fidelity.sums.items():
        assert other.fidelity.sums[key].error == pytest.approx(sums.error, rel=5e-2), key
        assert other.fidelity.sums[key].tokens == sums.tokens
    state = state_of(one)
    again = Observer(decoder_of(model), one.anatomy, [SCHEMES[name] for name in KV])
    restore(again, state)
    assert again.fidelity.sums == one.fidelity.sums
    assert again.fidelity.cached.channels.keys() == one.fidelity.cached.channels.keys()
    for key, found in one.fidelity.cached.energies.items():
        assert torch.equal(again.fidelity.cached.energies[key], found)


def test_a_bias_flatters_the_error_of_keys_and_not_that_about_their_mean(tmp_path: Path) -> None:
    def plant(attention: Any) -> None:
        attention.k_proj.bias[7] += 300.0  # of a pair that hardly rotates

    plain, loud = (
        attended(tmp_path, "llama", how, schemes=("KV_FP8",), attention_bias=True)["layers.1.k"]
        for how in (None, plant)
    )
    whole, about = scheme_metric("KV_FP8", "sqnr_db"), scheme_metric("KV_FP8", CENTRED_SQNR)
    assert metric_value(loud, whole) > 25
    assert metric_value(plain, about) > 25 > 10 > metric_value(loud, about)


def test_latent_attention_is_seen_as_it_is_cached() -> None:
    model = headless(build("deepseek_v3")).eval()
    anatomy = resolve(model, model.config, attention=True)
    sequences = encoded((12, 9, 20, 7), vocabulary=100)
    observer = observe(loaded(model), anatomy, sequences, 64, schemes=[SCHEMES[name] for name in KV])
    parts = {part for site, part in observer.fidelity.cached.channels if site == "layers.0.kv_latent"}
    assert parts == {"latent", "rope"}
    sums = observer.fidelity.sums["layers.0.kv_latent", "KV_FP8_HEAD"]
    width = sum(
        found.numel() for (site, _), found in observer.fidelity.cached.channels.items() if site == "layers.0.kv_latent"
    )
    assert sums.entries == sums.tokens // 2 * width
    assert np.isfinite(sums.sqnr_db)
    found = {name for site, name in observer.fidelity.sums if site == "layers.0.kv_latent"}
    assert "KV_INT4" in found
    assert not {name for name in found if "NVFP4" in name}  # which vLLM keeps no state in
    assert ("layers.0.k", "KV_INT4_PER_TOKEN_HEAD") not in observer.fidelity.sums  # of 14 channels
