"""A model of which layers are fetched for every batch, from memory or from disk, is measured as one that is held."""

import pytest

from pytest_maxact.checkpoint.placement import placement
from pytest_maxact.errors import InputError
from pytest_maxact.measure import planning
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.settings.settings import Settings
from tests.support import effects
from tests.support.measuring import LENGTHS, record_of
from tests.support.tiny import random_model, save, sentences, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", sentences(LENGTHS))


@pytest.mark.parametrize("held", [0.0, 0.5], ids=["all on disk", "half in memory"])
@pytest.mark.parametrize("family", ["qwen3", "gpt_oss", "qwen3_moe"])
def test_an_offloaded_model_gives_the_record_of_a_whole_one(family, held, corpus, tmp_path, monkeypatch):
    model = save(tmp_path / family, random_model(family))
    options = {"sites": "deploy", "dtype": "bf16"}
    whole = record_of(model, corpus, **options)
    monkeypatch.setattr(placement, "_limits", lambda option, need, rooms: {"cpu": int(held * need.weights)})
    offloaded = record_of(model, corpus, device="offload", **options)
    assert (whole.provenance.placement, offloaded.provenance.placement) == ("", "offload")
    assert offloaded.sites == whole.sites
    assert (offloaded.predictions, offloaded.scores) == (whole.predictions, whole.scores)
    assert offloaded.weights == whole.weights


def test_without_accelerate_a_model_is_not_offloaded_and_the_error_says_what_to_install(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pytest-maxact\[large\]"):
        record_of(save(tmp_path / "model", random_model("qwen3")), corpus, device="offload")


@pytest.mark.parametrize(("family", "held"), [("gemma2", 0.0), ("qwen3", 0.5), ("qwen3_moe", 0.0)])
def test_the_effect_of_schemes_on_an_offloaded_model_is_that_on_a_whole_one(
    family, held, corpus, tmp_path, monkeypatch
):
    """Weights are quantized, or cast, once they are fetched; a cast between other schemes leaves no trace."""
    model = save(tmp_path / family, effects.headed(family))
    options = {"effect": ("FP16", "W8A8_STATIC", "NVFP4", "BF16"), "dtype": "fp32"}
    whole = record_of(model, corpus, **options)
    monkeypatch.setattr(placement, "_limits", lambda option, need, rooms: {"cpu": int(held * need.weights)})
    offloaded = record_of(model, corpus, device="offload", **options)
    assert offloaded.effects == whole.effects
    assert all(effect.mean_kl > 0 for effect in whole.effects.values())


def test_what_a_machine_does_not_hold_is_refused_before_anything_is_loaded(corpus, tmp_path, monkeypatch):
    model = save(tmp_path / "model", random_model("qwen3"))
    settings = Settings(model=str(model), corpus=str(corpus))
    from pytest_maxact.measure import prepare as preparing

    small = placement.Room(device="cpu", free=1 << 20, total=1 << 30)
    monkeypatch.setattr(preparing, "rooms_for", lambda device, here: (small,))
    prepared = prepare(settings)
    assert prepared.placement.against
    with pytest.raises(InputError, match="GiB are needed on cpu"):
        placement.require_room(prepared.placement)
