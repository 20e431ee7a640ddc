"""What figures are drawn from, of Records made by hand: one that has everything, small and large, and what a library
that draws makes of a spec.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_maxact.judge.figures.drawn import Drawn, drawn_of
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.numbers.lint import LINTS, LintFault, lint_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.sites import LAYER_KINDS
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.effect import Effect, SampleEffect
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import AgainstSource
from pytest_maxact.record.stress import Recipe, SiteStress, Stress
from tests.support.against import CLEAN, FORM, departure
from tests.support.records import SOUND, Measured, bf16, holding, record_of, sites


def model_of(layers: int = 4, experts: int = 0, kinds: tuple[str, ...] = LAYER_KINDS, **changes: Any) -> Record:
    """A Record of random activations, with a massive channel from the second layer on; the same every time."""
    generator = np.random.default_rng(0)
    samples = []
    for place in range(4):
        values = {}
        for one in sites(layers, [kind for kind in kinds if experts or kind != "router"]):
            array = generator.standard_normal((3, 16)) * (1 + (one.layer or 0))
            if one.kind == "hidden" and one.layer:
                array[0, 7] = 3000.0 + 16 * one.layer
            values[one.name] = bf16(array)
        split = "calibration" if place == 0 else "evaluation"
        samples.append(Measured(id=f"s{place}", category=("math", "code")[place % 2], split=split, values=values))
    record = record_of(samples, **({"layers": layers, "hidden_size": 16} | changes))
    routed = {
        name: replace(reading, tokens_per_expert=tuple(int(count) for count in generator.poisson(9, experts)))
        for name, reading in record.sites.items()
        if experts and reading.site.kind == "router"
    }
    return replace(record, sites={**record.sites, **routed})


def with_maxima(record: Record) -> Record:
    """The same, which keeps of every sample the largest entry of every site: the last sample has the largest of all."""
    many = len(record.provenance.samples)
    nowhere = np.zeros(many, np.int32)
    return replace(
        record,
        sites={
            name: holding(
                reading,
                maxima=SampleMaxima(
                    np.linspace(0.25, 1, many, dtype=np.float32) * reading.finite_max, nowhere, nowhere
                ),
            )
            for name, reading in record.sites.items()
        },
    )


def with_everything(record: Record, name: str = "W8A8") -> Record:
    """The same with weights, effects, a source, lint and stress, which name `name` where a name of others may stand."""
    weight = WeightDistortion(entries=4, sqnr_db=30.0, lowest_db=25.0, rel_rmse=0.1, clip_rate=0.0, flush_to_zero=0.0)
    hidden, record = "layers.1.hidden", with_maxima(record)
    reading = replace(record[hidden], weights={name: {"W8A8": weight}})
    sample = SampleEffect(category="math", tokens=4, predicted=3, kl=0.1, stays=3, nll=6.0, nll_under=6.5)
    effect = Effect(
        scheme="W8A8", samples=24, tokens=96, mean_kl=0.025, kl_q99=0.2, top1_agreement=0.75, perplexity=7.4,
        perplexity_ratio=1.18, by_sample=(sample,) * 24,
    )  # fmt: skip
    recipes = {"first token": Recipe(samples=1, tokens=1), "random": Recipe(samples=1, tokens=4)}
    lint = lint_of("gptq int4", 8, 2, [LintFault(code=next(iter(LINTS)), tensor=name, what="odd", layer=1)])
    return replace(
        record,
        sites={**record.sites, hidden: reading},
        effects={"W8A8": effect},
        weights=replace(SOUND, lint=lint),
        stress=Stress(
            seed=0, scanned=4, vocabulary=8, recipes=recipes,
            sites={one: SiteStress(largest={"first token": 4096.0, "random": 1.0}) for one in record.sites},
        ),
        source=AgainstSource(
            source=name, weights_sha256="a" * 64, form=FORM, weights=CLEAN, predictions=departure()
        ),
    )  # fmt: skip


def everything(record: Record, name: str = "W8A8") -> Drawn:
    """What is drawn of that, against a baseline and as the last of a series."""
    whole = with_everything(record, name)
    stages = [Stage(name=f"{name}-{step}", step=step, record=record) for step in (500, 1000)]
    return drawn_of(whole, None, (), {name: record}, stages)


def scene_of(spec: Mapping[str, Any]) -> Any:
    """What is drawn of a spec: the scene graph, of a plot 600 pixels wide."""
    import vl_convert

    sized = {**spec, **({} if "facet" in spec else {"width": 600, "autosize": {"type": "pad"}})}
    return vl_convert.vegalite_to_scenegraph(json.dumps(sized), allowed_base_urls=[])["scenegraph"]


def marks_of(scene: Any, kinds: tuple[str, ...] = ("rect", "symbol", "line", "rule", "area", "text")) -> int:
    """How many items there are of marks that carry data, axes and legends apart."""
    if scene.get("role") in ("axis", "legend", "title"):
        return 0
    own = len(scene["items"]) if scene.get("marktype") in kinds and scene.get("role") == "mark" else 0
    nested = (part for item in scene.get("items", ()) if isinstance(item, dict) for part in item.get("items", ()))
    return own + sum(marks_of(part, kinds) for part in nested)


def items_of(scene: Any, role: str, kind: str = "") -> list[dict[str, Any]]:
    """All items of marks with this role and of this kind."""
    is_own = scene.get("role") == role and kind in scene.get("marktype", "")
    own = [dict(one) for one in scene["items"]] if is_own else []
    nested = [part for item in scene.get("items", ()) if isinstance(item, dict) for part in item.get("items", ())]
    return own + [one for part in nested for one in items_of(part, role, kind)]


@functools.cache
def usual() -> Drawn:
    return everything(model_of())
