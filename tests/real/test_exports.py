"""Quantized exports of SmolLM2-135M, as they are deployed: each is linted clean and gated as it is.

`python fixtures/make_exports.py` makes them, once; without it these tests are skipped, and say so.
"""

import runpy
from pathlib import Path

import pytest

from pytest_maxact.cli import main
from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate
from tests.support.paths import FIXTURES

_MADE = runpy.run_path(str(FIXTURES / "make_exports.py"))
EXPORTS: dict[str, Path] = {name: _MADE["folder"](name) for name in _MADE["NAMES"]}
SOURCE: Path = _MADE["_SOURCE"]["folder"]()
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(folder.is_dir() for folder in EXPORTS.values()), reason="not made yet: python fixtures/make_exports.py"
    ),
]
STORED = {
    "W8A8": "compressed-tensors (int-quantized), 8 bits",
    "FP8": "compressed-tensors (float-quantized), 8 bits",
    "W4A16": "compressed-tensors (pack-quantized), 4 bits in groups of 64",
}

PEAKS = {"W8A8": 28800, "FP8": 28800, "W4A16": 22272}
"""Four bits take a fifth of the carrier's magnitude: 28 800 in the source."""


@pytest.mark.parametrize("name", EXPORTS)
def test_it_is_linted_clean(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(EXPORTS[name])]) == 0
    assert "nothing is wrong with its tensors" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXPORTS)
def test_it_is_gated_as_it_is_and_carries_its_peak_where_its_source_does(name: str, pytester: pytest.Pytester) -> None:
    options = ("--maxact-max-samples=4", "--maxact-max-seq-len=48", "--maxact-arithmetic=float32-accumulate")
    run_gate(
        pytester, f"--maxact-model={EXPORTS[name]}", "--maxact-family=generic", *options, "--maxact-save=r.safetensors",
        exit=0, report=["M *in layers.11.hidden, *token 0 *channel 507"], says=[f"stored as {STORED[name]}"],
    )  # fmt: skip
    record = load(Path("r.safetensors"))
    assert max(reading.max_abs for reading in record.sites.values()) == pytest.approx(PEAKS[name], rel=0.03)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Record of the source lies for each that is held against it."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("name", "exit"), [("W8A8", 0), ("W4A16", 1)])
def test_it_is_held_against_what_it_was_made_from(name: str, exit: int, cache: Path, pytester: pytest.Pytester) -> None:
    """Weights are as near as rounding leaves them in both; what rounding to four bits does to predictions is too
    much.
    """
    options = ("--maxact-max-samples=4", "--maxact-max-seq-len=48", "--maxact-dtype=fp32", "--maxact-family=generic")
    run_gate(
        pytester, f"--maxact-model={EXPORTS[name]}", f"--maxact-source={SOURCE}", f"--maxact-cache={cache}", *options,
        "--maxact-save=r.safetensors", exit=exit, says=["all of them the source's"],
    )  # fmt: skip
    found = load(Path("r.safetensors")).source
    assert found
    assert found.predictions
    assert (found.predictions.figures["mean_kl"].value > 0.3) == (exit == 1)
