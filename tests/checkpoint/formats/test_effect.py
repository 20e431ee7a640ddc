"""An artifact made of the trained checkpoint by the arithmetic of our schemes measures what was predicted for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pytest_maxact.checkpoint.load import LoadedModel, load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.measure.effect.simulate import Simulation
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.settings.settings import Settings
from tests.support.exports import compressed
from tests.support.paths import TRAINED

IDS = torch.randint(4, 1500, (3, 40), generator=torch.Generator().manual_seed(7))


def opened(folder: Path) -> LoadedModel:
    settings = Settings(model=str(folder))
    return load(locate(settings), settings)


@contextmanager
def under(loaded: LoadedModel, scheme: Scheme | None) -> Iterator[None]:
    if scheme is None:
        yield
        return
    taps = resolve(loaded.model, loaded.model.config, True).linears
    with Simulation(loaded.model, scheme, taps, {}, ()).running():
        yield


@torch.no_grad()
def logits(loaded: LoadedModel, scheme: Scheme | None = None) -> torch.Tensor:
    assert loaded.headed is not None
    with under(loaded, scheme):
        return loaded.headed(input_ids=IDS).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["MXFP4A16", "MXFP8A16"])
def test_one_of_weights_alone_predicts_what_its_source_does_under_the_scheme(name: str, tmp_path: Path) -> None:
    artifact = opened(compressed.export(tmp_path / "m", name, TRAINED))
    source = opened(TRAINED)
    assert torch.equal(logits(artifact), logits(source, SCHEMES[name]))
    assert not torch.equal(logits(artifact), logits(source))


@pytest.mark.parametrize("name", ["W8A8", "FP8_DYNAMIC", "MXFP4"])
def test_one_with_dynamic_activations_does_so_when_these_are_quantized_as_it_runs(name: str, tmp_path: Path) -> None:
    artifact = opened(compressed.export(tmp_path / "m", name, TRAINED))
    activations = replace(SCHEMES[name], weights=None)
    assert torch.equal(logits(artifact, activations), logits(opened(TRAINED), SCHEMES[name]))
