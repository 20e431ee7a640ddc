"""What an artifact of our own schemes' arithmetic is told to predict against its source is what the effect of that
scheme was told to be, of the source alone.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.formats.quantizers import usual_form
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.measure.effect.effects import measure_effects
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.measure.source.predictions import compared_predictions
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.settings.settings import Settings
from tests.support.exports import compressed
from tests.support.measuring import encoded
from tests.support.paths import TRAINED

SEQUENCES = encoded([19, 34, 25, 37, 21, 27, 33, 26, 32, 30, 35, 28])
LAST = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in range(6))
"""320 inputs, which groups of 128 do not divide."""


@pytest.mark.parametrize("name", ["W8A8", "FP8_DYNAMIC", "W4A16", "W8A16", "MXFP4"])
def test_an_artifact_departs_from_its_source_as_was_predicted_for_it(name: str, tmp_path: Path) -> None:
    wide = name.endswith("A16")
    folder = compressed.export(tmp_path / "m", name, TRAINED, ignore=LAST if wide else ())
    settings = Settings(model=str(folder), arithmetic="native", batch_tokens=64)
    own = replace(settings, model=str(TRAINED))
    kept = {name: [f"layers.{layer}.down_in" for layer in range(6)]} if wide else {}
    predicted = measure_effects(locate(own), own, [SCHEMES[name]], {}, SEQUENCES, kept=kept)[name]
    found, _ = compared_predictions(
        locate(settings), settings, Origin(checkpoint=locate(own), settings=own), SEQUENCES, False, None
    )
    told = {name: figure.value for name, figure in found.figures.items()}
    assert predicted.mean_kl > 0
    assert told["mean_kl"] == pytest.approx(predicted.mean_kl, rel=1e-12)
    assert told["top1_agreement"] >= predicted.top1_agreement  # tokens as likely as one another agree
    assert told["perplexity_ratio"] == pytest.approx(predicted.perplexity_ratio, rel=1e-12)


@pytest.mark.parametrize(
    ("preset", "form"),
    [
        ("W8A16", "compressed-tensors int8"), ("W8A8", "compressed-tensors int8 with int8 inputs"),
        ("W4AFP8", "compressed-tensors int4 with fp8_e4m3 inputs"),
    ],
)  # fmt: skip
def test_a_form_says_what_its_weights_are_multiplied_with(preset: str, form: str, tmp_path: Path) -> None:
    settings = Settings(model=str(compressed.export(tmp_path / "m", preset)))
    packing = with_weights(locate(settings), settings).packing
    assert packing is not None
    assert usual_form(packing) == form
