"""What a Record says of its text, its sites and its effects is held to each other, to the last token."""

import math
from dataclasses import replace
from typing import Any

import pytest

from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.provenance import corpus_digest
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import LayerScores
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.fitness import weight

ROW = [[1.0, -4.0, 2.0, 0.5]]
LOOP = [f"layers.{layer}.hidden" for layer in (0, 1)]
SOUND = records.record(dict.fromkeys(("embedding", *LOOP, "layers.0.qkv_in", "final_norm"), ROW), schemes=("W8A8",))
HIDDEN, QKV = "layers.0.hidden", "layers.0.qkv_in"


def refusal(record: Record) -> str:
    with pytest.raises(ValueError, match=r"^[a-z]") as caught:
        require_sound(record)
    return str(caught.value)


def holds(record: Record) -> bool:
    require_sound(record)
    return True


def stating(**values: Any) -> Record:
    return replace(SOUND, provenance=replace(SOUND.provenance, **values))


def site(name: str = HIDDEN, **values: Any) -> Record:
    return replace(SOUND, sites={**SOUND.sites, name: replace(SOUND[name], **values)})


def test_a_record_of_what_was_measured_is_sound() -> None:
    assert holds(SOUND)
    assert holds(summary(SOUND))
    assert holds(stating(max_seq_len=1)), "its samples have one token each"


# Text

ONE, TWO = ("s0", "math", "calibration", 1), ("s1", "math", "evaluation", 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"samples": ()}, "samples: none, so nothing was measured and nothing can be judged"),
        ({"samples": (ONE, ONE)}, "samples: s0 stands there twice"),
        (
            {"samples": (ONE, ("s1", "math", "test", 1))},
            "samples: s1 is of split test, there are ('calibration', 'evaluation')",
        ),
        (
            {"samples": (ONE, ("s1", "math", "evaluation", 0))},
            "samples: s1 has 0 tokens, where a sample has 1 to 4096 (max_seq_len)",
        ),
        (
            {"samples": (ONE, ("s1", "math", "evaluation", 2)), "max_seq_len": 1},
            "samples: s1 has 2 tokens, where a sample has 1 to 1 (max_seq_len)",
        ),
        ({"shard": "\x1b[2J"}, r"shard: \x1b[2J is no part K/N of a whole"),
        ({"shard": "3/2"}, "shard: 3/2 is no part K/N of a whole"),
        ({"sample_digests": ("a",)}, "sample_digests: 1 of 2 samples"),
        ({"corpus_sha256": corpus_digest(("a", "b"))}, "corpus_sha256: not that of the samples"),
        ({"schemes": ("W9",)}, "schemes: W9 is no scheme, or stands there twice"),
        ({"schemes": ("W8A8", "W8A8")}, "schemes: W8A8 is no scheme, or stands there twice"),
        *(
            ({"batching": {key: 1 for key in SOUND.provenance.batching if key != name}}, f"batching.{name}: missing")
            for name in ("batch_tokens", "batches", "padded_tokens", "out_of_memory")
        ),
    ],
)
def test_text_that_cannot_have_been_measured_is_refused(values: dict[str, Any], said: str) -> None:
    assert refusal(stating(**values)) == f"provenance.{said}"


# Sites


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (Site(kind="soul", layer=1), "sites: soul is no kind of site"),
        (Site(kind="embedding", layer=0), "sites: layers.0.embedding is no site; a layer has each of them"),
        (Site(kind="embedding", layer=1), "sites: layers.1.embedding is no site; a layer has none of them"),
        (Site(kind="gate"), "sites: gate is no site; a layer has each of them"),
        (Site(kind="gate", layer=2), "sites: layers.2.gate of a model of 2 layers (provenance.layers)"),
        (
            Site(kind="hidden", layer=0),
            "sites: 3 layers of the residual stream, of a model of 2 (provenance.layers)",
        ),
    ],
)
def test_a_site_that_no_model_has_is_refused(name: Site, said: str) -> None:
    assert refusal(replace(SOUND, sites={**SOUND.sites, "another": replace(SOUND[QKV], site=name)})) == said


def test_the_sites_of_a_record_are_those_of_every_layer() -> None:
    fewer = {name: one for name, one in SOUND.sites.items() if name != "layers.1.hidden"}
    assert refusal(replace(SOUND, sites=fewer)) == (
        "sites: 1 layer of the residual stream, of a model of 2 (provenance.layers)"
    )


def test_a_model_without_layers_still_has_a_site_that_counts() -> None:
    none = replace(SOUND, provenance=replace(SOUND.provenance, layers=0), sites={})
    assert refusal(none) == "sites: none that counts toward the largest magnitude, so nothing can be judged"


def test_some_with_figures_and_some_with_distributions_are_no_record() -> None:
    mixed = {**SOUND.sites, HIDDEN: summary(SOUND)[HIDDEN]}
    assert refusal(replace(SOUND, sites=mixed)) == "sites: some with distributions and some with figures in their place"


def test_schemes_of_sites_and_of_weights_are_those_of_the_measurement() -> None:
    other = {"q": {"FP8": weight(30.0), "NVFP4": weight(30.0)}}
    assert refusal(site(QKV, weights=other)) == f"{QKV}: weights: FP8 is none of provenance.schemes"
    with_sums = summary(SOUND)[QKV].held
    slim = summary(SOUND)
    odd = replace(slim[QKV], held=replace(with_sums, schemes=("W4A8",)))
    assert refusal(replace(slim, sites={**slim.sites, QKV: odd})) == (
        f"{QKV}: schemes: W4A8 is none of provenance.schemes"
    )
    known = replace(weight(30.0), sqnr_db=20.0, lowest_db=20.0)
    assert holds(site(QKV, weights={"q": {"W8A8": known}}))


def test_only_a_layer_with_a_router_has_rows_of_experts() -> None:
    gate = {f"layers.{i}.gate": ROW for i in (0, 1)}
    whole = records.record({**dict.fromkeys(("embedding", *LOOP, "final_norm"), ROW), **gate, "layers.1.router": ROW})
    routed = replace(whole["layers.1.router"], tokens_per_expert=(1, 1))
    for layer, sound in ((1, True), (0, False)):
        name = f"layers.{layer}.gate"
        twice = records.record({name: [[1.0, -4.0, 2.0, 0.5, 1.0, 1.0]]})[name]
        odd = replace(whole[name], held=twice.held, peaks=twice.peaks, width=6)
        odd = records.holding(odd, calibration=whole[name].calibration)
        odd = replace(odd, width=5, peaks=tuple(replace(peak, channel=0) for peak in _peaks(odd)))
        record = replace(whole, sites={**whole.sites, "layers.1.router": routed, name: odd})
        if sound:
            assert holds(record)
        else:
            assert refusal(record).startswith(f"{name}: calibration: 4 entries are not whole rows of 1 token")


def _peaks(reading: Any) -> tuple[Any, ...]:
    """Ten or fewer that fit the histograms of both splits."""
    values = [value for split in (reading.calibration, reading.evaluation) for value in _entries(split)]
    return tuple(replace(reading.peaks[0], value=value) for value in sorted(values, reverse=True)[:10])


def _entries(split: Any) -> list[float]:
    values, counts = split.finite()
    return [float(value) for value, count in zip(values, counts, strict=True) for _ in range(count)]


# Effects

LONG = records.record({**dict.fromkeys(("embedding", *LOOP, "final_norm"), ROW * 200), QKV: ROW * 200})
LONG = replace(LONG, sites={**LONG.sites, QKV: replace(LONG[QKV], shared={"model.layers.0.q_proj": "a"})})


def effect(**values: Any) -> Effect:
    made = Effect(
        scheme="W8A8",
        samples=1,
        tokens=200,
        mean_kl=0.03,
        kl_q99=1.0,
        top1_agreement=0.9,
        perplexity=9.0,
        perplexity_ratio=1.1,
    )
    return replace(made, **values)


def with_effects(**effects: Effect) -> Record:
    return replace(LONG, effects={name.replace("_", " "): one for name, one in effects.items()})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("W8A8", {}),
        ("W8A8", {"samples": 200}),
        ("W8A8", {"perplexity": 1.0}),
        ("W8A8", {"perplexity": math.nan, "mean_kl": math.nan, "kl_q99": math.nan}),
        ("W8A8", {"mean_kl": 3 / 200}),
        ("W8A8", {"tokens": 100, "mean_kl": 2 / 100}),
        ("W8A8", {"tokens": 101, "mean_kl": 2 / 101}),
        ("W8A8", {"tokens": 1, "mean_kl": 1.0}),
        ("W8A8_kept", {"kept": (HIDDEN,)}),
        ("W8A8_undone", {"kept": ("model.layers.0.q_proj",)}),
        ("W8A8_undone", {"kept": ("whole.model.layers.0.q_proj",)}),
    ],
)
def test_an_effect_that_was_measured_is_sound(name: str, values: dict[str, Any]) -> None:
    assert holds(with_effects(**{name: effect(**values)}))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("FP8", {}, "effects.FP8: of scheme W8A8, which it is not called by"),
        ("soul", {"scheme": "soul"}, "effects.soul: of scheme soul, which it is not called by"),
        ("W8A8", {"kept": (HIDDEN,)}, "effects.W8A8.kept: sites in 16 bits, where the whole model was quantized"),
        (
            "W8A8_kept",
            {"kept": (HIDDEN, "layers.9.o_in")},
            "effects.W8A8 kept.kept: no site layers.9.o_in in this Record",
        ),
        ("W8A8_undone", {"kept": (HIDDEN,)}, f"effects.W8A8 undone.kept: no site {HIDDEN} in this Record"),
        ("W8A8", {"samples": 0}, "effects.W8A8.tokens: 0 samples of 200 tokens, where 200 were there to predict from"),
        (
            "W8A8",
            {"samples": 201},
            "effects.W8A8.tokens: 201 samples of 200 tokens, where 200 were there to predict from",
        ),
        ("W8A8", {"tokens": 201}, "effects.W8A8.tokens: 1 sample of 201 tokens, where 200 were there to predict from"),
        ("W8A8", {"perplexity": 0.999}, "effects.W8A8.perplexity: 0.999, which lies below 1"),
        (
            "W8A8",
            {"mean_kl": 2.99 / 200},
            f"effects.W8A8.mean_kl: {2.99 / 200}, less than a hundredth at 1.0 gives",
        ),
        (
            "W8A8",
            {"tokens": 100, "mean_kl": 1.99 / 100},
            f"effects.W8A8.mean_kl: {1.99 / 100}, less than a hundredth at 1.0 gives",
        ),
    ],
)
def test_an_effect_that_was_not_measured_is_refused(name: str, values: dict[str, Any], said: str) -> None:
    assert refusal(with_effects(**{name: effect(**values)})) == said


# Text as it is deployed


def deployed(samples: int, tokens: int, largest: float | None, only: str = "") -> Record:
    told = replace(LONG.provenance, deployed=AsDeployed(added=("BOS",), samples=samples, tokens=tokens))
    met = {name: replace(one, as_deployed=largest) if only in name else one for name, one in LONG.sites.items()}
    return replace(LONG, provenance=told, sites=met)


def test_text_as_it_is_deployed_was_met_by_every_site_or_by_none() -> None:
    assert holds(deployed(2, 3, 8.0))
    assert holds(deployed(2, 2, math.inf))
    assert holds(deployed(0, 0, None))
    for samples, tokens in ((3, 2), (0, 2), (2, 0)):
        assert refusal(deployed(samples, tokens, 8.0)) == f"provenance.deployed: {samples} samples of {tokens} tokens"
    assert refusal(deployed(2, 3, 8.0, "hidden")) == (
        "embedding: as_deployed: None, where provenance.deployed has 2 samples"
    )
    assert refusal(deployed(0, 0, 8.0)) == "embedding: as_deployed: 8.0, where provenance.deployed has 0 samples"
    assert refusal(replace(SOUND, sites={**SOUND.sites, HIDDEN: replace(SOUND[HIDDEN], as_deployed=8.0)})) == (
        f"{HIDDEN}: as_deployed: 8.0, where provenance.deployed has no samples"
    )


def test_a_magnitude_that_is_no_number_is_refused_for_no_bound_sees_it() -> None:
    said = "nan, where what is no number counts as inf"
    assert refusal(deployed(2, 3, math.nan)) == f"embedding: as_deployed: {said}"
    scores = (LayerScores(layer=0, largest=1.0, exact=True), LayerScores(layer=1, largest=math.nan, exact=True))
    assert refusal(replace(SOUND, scores=scores)) == "scores: nan in layer 1, where what is no number counts as inf"


def test_effects_are_predicted_from_text_as_it_is_deployed_too() -> None:
    more = replace(deployed(2, 3, 8.0), effects={"W8A8": effect(tokens=203, mean_kl=1.0)})
    assert holds(more)
    assert "where 203 were there" in refusal(replace(more, effects={"W8A8": effect(tokens=204, mean_kl=1.0)}))


@pytest.mark.parametrize(
    ("layers", "sound"), [((), True), ((1, 0), True), ((0, 0), False), ((2,), False), ((-1,), True)]
)
def test_attention_scores_are_of_layers_that_there_are(layers: tuple[int, ...], sound: bool) -> None:
    record = replace(SOUND, scores=tuple(LayerScores(layer=layer, largest=math.inf, exact=True) for layer in layers))
    if sound:
        assert holds(record)
    else:
        assert refusal(record) == f"scores: of layers {[*layers]}, of a model of 2 (provenance.layers)"
