"""A Record whose figures do not follow from its own histograms, or that says what no measurement says, is refused with
the key and what it contradicts, whatever its checksum.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.file import load
from tests.support.doctored import Document, changed

FOLDER = Path(__file__).parents[1] / "data" / "records"
Change = Callable[[Document], object]


def refusal(name: str, change: Change, folder: Path) -> str:
    path = changed(FOLDER / f"{name}.safetensors", folder / "r", change)
    with pytest.raises(InputError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("measure the checkpoint again, or use the version that wrote it")
    return text


def test_an_unchanged_document_is_read(tmp_path: Path) -> None:
    assert load(changed(FOLDER / "deploy.safetensors", tmp_path / "r", lambda document: None)).tokens == 87


def sites(document: Document, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in document["sites"] if entry["site"]["kind"] == kind]


def without(key: str) -> Change:
    return lambda document: document.pop(key)


def provenance(**values: object) -> Change:
    return lambda document: document["provenance"].update(values)


def first(kind: str, *way: str | int, **values: object) -> Change:
    """Changes what lies at `way` in the first site of that kind."""

    def change(document: Document) -> None:
        here: Any = sites(document, kind)[0]
        for part in way:
            here = here[part]
        here.update(values)

    return change


def no_samples(document: Document) -> None:
    document["provenance"].update(samples=[], sample_digests=[])


def last_layer_gone(document: Document) -> None:
    document["sites"] = [entry for entry in document["sites"] if entry["site"]["layer"] != 2]


def same_site_twice(document: Document) -> None:
    document["sites"].append(document["sites"][0])


def renamed_scheme(document: Document) -> None:
    held = sites(document, "qkv_in")[0]["schemes"]
    held["W9"] = held.pop("W8A8")


def renamed_effect(document: Document) -> None:
    document["effects"]["W8A8"] = document["effects"].pop("FP16")


OF_ALL: dict[str, tuple[Change, str]] = {
    "no provenance": (without("provenance"), "provenance: missing"),
    "no sites": (without("sites"), "sites: missing"),
    "no effects": (without("effects"), "effects: missing"),
    "no metric version": (without("metric_version"), "metric_version: missing"),
    "a key more": (lambda d: d.update(note="reviewed"), "note: unknown key"),
    "a key more inside": (provenance(reviewed=True), "provenance.reviewed: unknown key"),
    "sites that are a long text": (
        lambda d: d.update(sites="none at all " * 9),
        "sites: should be a list, not 'none at all none at all none at all ...'",
    ),
    "sites that are text": (lambda d: d.update(sites="none"), "sites: should be a list, not 'none'"),
    "a flag for a number": (provenance(layers=True), "provenance.layers: should be a whole number, not True"),
    "a number for a flag": (provenance(remote_code=0), "provenance.remote_code: should be true or false, not 0"),
    "no layers": (provenance(layers=0), "provenance.layers: should be greater than or equal to 1, not 0"),
    "fewer layers": (provenance(layers=2), "sites: layers.2.hidden of a model of 2 layers"),
    "more layers": (provenance(layers=4), "sites: 3 layers of the residual stream, of a model of 4"),
    "no samples": (no_samples, "provenance.samples: none, so nothing was measured"),
    "samples without tokens": (
        lambda d: [sample.__setitem__(3, 0) for sample in d["provenance"]["samples"]],
        "has 0 tokens, where a sample has 1 to 256",
    ),
    "more tokens": (lambda d: d["provenance"]["samples"][0].__setitem__(3, 200), "entries, where"),
    "a sample twice": (
        lambda d: d["provenance"]["samples"][1].__setitem__(0, d["provenance"]["samples"][0][0]),
        "provenance.samples: s00 stands there twice",
    ),
    "another split": (lambda d: d["provenance"]["samples"][0].__setitem__(2, "test"), "is of split test"),
    "digests of other samples": (provenance(sample_digests=["a"] * 12), "corpus_sha256: not that of the samples"),
    "fewer digests": (provenance(sample_digests=[]), "provenance.sample_digests: 0 of 12 samples"),
    "an unknown scheme": (provenance(schemes=["W9"]), "provenance.schemes: W9 is no scheme"),
    "a site twice": (same_site_twice, "embedding stands there twice"),
    "a site of no kind": (lambda d: d["sites"][1]["site"].update(kind="soul"), "soul is no kind of site"),
    "an embedding of a layer": (lambda d: d["sites"][0]["site"].update(layer=1), "is no site"),
    "a negative count": (lambda d: d["sites"][0].update(width=-1), "sites.0.width: should be greater"),
    "a width of its own": (lambda d: d["sites"][0].update(width=32), "embedding: calibration:"),
    "an unknown dtype": (lambda d: d["sites"][0].update(dtype="int8"), "should be bfloat16 or float16 or float32"),
    "another encoding": (lambda d: d["sites"][0].update(encoding="float16"), "encoding: float16, where bfloat16"),
    "a smaller peak": (first("hidden", "peaks", 0, value=0.5), "peaks.0: not the histogram's, which has"),
    "a larger peak": (first("hidden", "peaks", 0, value=500.0), "peaks.0: not the histogram's, which has"),
    "no peaks": (lambda d: d["sites"][0].update(peaks=[]), "peaks.0: not the histogram's"),
    "a peak of another sample": (first("hidden", "peaks", 0, sample="s99"), "peaks.0.sample: no sample s99"),
    "a peak behind its sample": (first("hidden", "peaks", 0, position=250), "peaks.0.position: 250 in a sample of"),
    "a peak beside the width": (first("hidden", "peaks", 0, channel=64), "peaks.0.channel: 64 of 64"),
    "massive tokens": (first("hidden", massive={"tokens": 3, "entries": 3, "max_ratio": 2e3}), "massive: 3 entries"),
    "no test of massive ones": (first("hidden", massive=None), "massive: tested of the residual stream"),
    "a place without a fault": (
        first("hidden", first_nonfinite={"sample": "s00", "position": 0, "token": "", "channel": 0}),
        "first_nonfinite: one, where 0 entries are not finite",
    ),
    "tokens of experts": (first("hidden", expert_tokens=[1, 2]), "expert_tokens: more than there are"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), OF_ALL.values(), ids=OF_ALL)
def test_what_no_measurement_says_is_refused_with_its_key(change: Change, said: str, tmp_path: Path) -> None:
    assert said in refusal("bfloat16", change, tmp_path)


DEPLOYED: dict[str, tuple[Change, str]] = {
    "an effect of no tokens": (lambda d: d["effects"]["FP16"].update(tokens=0), "effects.FP16.tokens: 8 samples of 0"),
    "of more than there are": (lambda d: d["effects"]["FP16"].update(tokens=600), "where 60 were there"),
    "a share above one": (
        lambda d: d["effects"]["FP16"].update(top1_agreement=1.5),
        "effects.FP16.top1_agreement: should be a number from 0 to 1 or one of nan, not 1.5",
    ),
    "a divergence below zero": (lambda d: d["effects"]["FP16"].update(mean_kl=-1), "effects.FP16.mean_kl: should be"),
    "a mean below its tail": (lambda d: d["effects"]["FP16"].update(mean_kl=0.0), "effects.FP16.mean_kl: 0.0, less"),
    "a perplexity below one": (lambda d: d["effects"]["FP16"].update(perplexity=0.5), "perplexity: 0.5, which lies"),
    "under another name": (renamed_effect, "effects.W8A8: of scheme FP16, which it is not called by"),
    "a scheme that there is not": (renamed_scheme, "schemes: W9 is none of provenance.schemes"),
    "more tokens than levels": (first("qkv_in", "schemes", "W8A8", tokens=61), "schemes.W8A8.token_db: not of 61"),
    "more entries": (first("qkv_in", "schemes", "W8A8", entries=10**9), "schemes.W8A8.entries: 1000000000 of"),
    "more energy": (first("qkv_in", "schemes", "W8A8", signal=1e9), "schemes.W8A8.signal: 1000000000.0, more than"),
    "less than nothing": (first("qkv_in", "schemes", "W8A8", error=-1.0), "an energy below zero"),
    "more flushed than there are": (first("qkv_in", "schemes", "W8A8", flushed=10**6), "schemes.W8A8.flushed"),
    "a weight without entries": (
        lambda d: next(iter(sites(d, "qkv_in")[0]["weights"].values()))["W8A8"].update(entries=0),
        "weights.W8A8.entries: none",
    ),
    "a weight better than it is": (
        lambda d: next(iter(sites(d, "qkv_in")[0]["weights"].values()))["W8A8"].update(sqnr_db=99.0, lowest_db=99.0),
        "weights.W8A8.sqnr_db: 99.0, where a relative error of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), DEPLOYED.values(), ids=DEPLOYED)
def test_what_is_said_of_schemes_is_held_to_what_was_counted(change: Change, said: str, tmp_path: Path) -> None:
    assert said in refusal("deploy", change, tmp_path)


SUMMED: dict[str, tuple[Change, str]] = {
    "a layer gone": (last_layer_gone, "sites: 2 layers of the residual stream, of a model of 3"),
    "a root above the largest": (first("hidden", "figures", rms=1e6), "figures.rms: 1000000.0, where the mean is"),
    "a mean above the root": (first("hidden", "figures", mean_abs=1e5), "figures.rms:"),
    "quantiles that fall": (first("hidden", "figures", **{"quantile.0.5": 99.0}), "quantile.0.5: 99.0, which does not"),
    "a name that means nothing": (first("hidden", "figures", soul=1.0), "figures.soul: no figure that a summary keeps"),
    "a figure gone": (lambda d: sites(d, "hidden")[0]["figures"].pop("rms"), "figures.rms: missing"),
    "part of a format gone": (
        lambda d: sites(d, "hidden")[0]["figures"].pop("int8.max_abs.clip_rate"),
        "figures.int8.max_abs.clip_rate: missing",
    ),
    "a share above one": (first("hidden", "figures", **{"int8.max_abs.clip_rate": 2.0}), "2.0 is out of range"),
    "half a level": (first("hidden", "figures", **{"int8.max_abs.levels_used": 1.5}), "1.5 is no count"),
    "a better format": (first("hidden", "figures", **{"int8.max_abs.sqnr_db": 90.0}), "int8.max_abs.sqnr_db: 90.0"),
    "a smaller peak": (first("hidden", "peaks", 0, value=1e-6), "figures."),
    "fewer entries": (lambda d: sites(d, "hidden")[0]["splits"][0].update(count=1), "calibration: 1 entry"),
    "distributions elsewhere": (
        lambda d: sites(d, "hidden")[0].update(figures={}),
        "sites.1.splits.0.bins: missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), SUMMED.values(), ids=SUMMED)
def test_figures_of_a_summary_are_held_to_each_other(change: Change, said: str, tmp_path: Path) -> None:
    assert said in refusal("summary", change, tmp_path)
