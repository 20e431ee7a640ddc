"""What is said of predictions and of layers is held to the samples and to the histograms."""

from dataclasses import replace
from typing import Any

import pytest

from pytest_maxact.numbers.probe import SKETCHED, Probe
from pytest_maxact.record.predictions import Predicted, Predictions
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.behaviour import require_sound_predictions, require_sound_probes
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.records import Measured

VALUES = {"embedding": 1.0, "layers.0.hidden": 2.0, "layers.1.hidden": 3.0, "layers.2.hidden": 3.0, "final_norm": 1.0}
TOKENS = (
    ("c", "a", "calibration", 9),
    ("e", "a", "evaluation", 5),
    ("f", "a", "evaluation", 3),
    ("g", "b", "evaluation", 1),
)
RECORD = records.record_of(
    [
        Measured(id=name, category=category, split=split, values={site: [[v, 0.5]] * n for site, v in VALUES.items()})
        for name, category, split, n in TOKENS
    ]
)


def category(name: str, tokens: int, nonfinite: int = 0) -> Predicted:
    return Predicted(category=name, tokens=tokens, nonfinite=nonfinite, nll=1.0, unigram=2.0)


def predicting(*categories: Predicted, **values: Any) -> Record:
    return replace(RECORD, predictions=Predictions(categories=categories, **values))


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        predicting(),
        predicting(category("a", 6)),
        predicting(category("a", 6, 6), category("b", 0)),
        predicting(unchecked="no head"),
        predicting(unchecked="no head", by_design=True),
    ],
)
def test_predictions_of_the_tokens_that_there_are_to_predict_are_sound(record: Record) -> None:
    """Every sample of evaluation has one token less to predict than it has."""
    require_sound_predictions(record)


ORDER = "predictions.categories: not every category once, in the order of names"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (predicting(by_design=True), "predictions.unchecked: no reason why there are none by design"),
        (predicting(category("b", 0), category("a", 1)), ORDER),
        (predicting(category("a", 1), category("a", 1)), ORDER),
        (predicting(category("a", 1), unchecked="no head"), ORDER),
        (
            predicting(category("a", 7)),
            "predictions.categories.0.tokens: 7, 0 of them not finite, where 6 of category a were there to predict",
        ),
        (
            predicting(category("a", 6), category("b", 1)),
            "predictions.categories.1.tokens: 1, 0 of them not finite, where 0 of category b were there to predict",
        ),
        (
            predicting(category("other", 1)),
            "predictions.categories.0.tokens: 1, 0 of them not finite, where 0 of category other were there to predict",
        ),
        (
            predicting(category("a", 1, 2)),
            "predictions.categories.0.tokens: 1, 2 of them not finite, where 6 of category a were there to predict",
        ),
    ],
)
def test_predictions_that_cannot_have_been_made_are_refused(record: Record, said: str) -> None:
    with pytest.raises(ValueError, match="predictions") as caught:
        require_sound_predictions(record)
    assert str(caught.value) == said


LOOKED = Probe(sample="e", tokens=5, changed={"layer": 0.5, "attn_output": 0.25, "mlp_output": 0.0625})


def probed(**changes: Probe | None) -> Record:
    """Every layer looked at, but for the last, which changes nothing; keyword arguments replace probes by site."""
    last = replace(LOOKED, changed={**LOOKED.changed, "attn_output": 0.0})
    probes: dict[str, Probe | None] = {"layers_0_hidden": LOOKED, "layers_1_hidden": LOOKED, "layers_2_hidden": last}
    probes |= changes
    sites = {name: replace(reading, probe=probes.get(name.replace(".", "_"))) for name, reading in RECORD.sites.items()}
    return replace(RECORD, sites=sites)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        probed(),
        probed(layers_1_hidden=replace(LOOKED, sample="g", tokens=1, changed={})),
        probed(layers_1_hidden=replace(LOOKED, sketch=(1,) * SKETCHED)),
        probed(embedding=replace(LOOKED, changed={"layer": 0.5})),
        probed(layers_2_hidden=replace(LOOKED, changed={})),
        summary(probed(layers_2_hidden=LOOKED)),
    ],
)
def test_probes_of_tokens_that_there_are_are_sound(record: Record) -> None:
    require_sound_probes(record)


SAME = "layers.2.hidden: probe.changed: more than none, with the histogram of the layer before"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (probed(layers_1_hidden=None), "layers.1.hidden: probe: missing, where other layers have one"),
        (probed(layers_0_hidden=replace(LOOKED, tokens=0)), "layers.0.hidden: probe.tokens: 0 of sample e"),
        (probed(final_norm=replace(LOOKED, tokens=6)), "final_norm: probe.tokens: 6 of sample e"),
        (probed(layers_0_hidden=replace(LOOKED, sample="x", tokens=1)), "layers.0.hidden: probe.tokens: 1 of sample x"),
        (probed(layers_0_hidden=replace(LOOKED, sketch=(1,))), "layers.0.hidden: probe: not what is told of a site"),
        (
            probed(layers_0_hidden=replace(LOOKED, changed={"layer": 0.5, "soul": 0.5})),
            "layers.0.hidden: probe: not what is told of a site",
        ),
        (probed(layers_2_hidden=LOOKED), SAME),
        (probed(layers_2_hidden=replace(LOOKED, changed={"layer": 1e-9})), SAME),
    ],
)
def test_probes_that_the_histograms_do_not_bear_out_are_refused(record: Record, said: str) -> None:
    with pytest.raises(ValueError, match="probe") as caught:
        require_sound_probes(record)
    assert str(caught.value) == said
