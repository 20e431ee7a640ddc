"""The trained checkpoints of the repository, through the whole gate on the built-in corpus."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support.gate_runs import run_gate
from tests.support.paths import FIXTURES

TRAINED = FIXTURES / "qwen3-tiny"
STEPS = sorted((FIXTURES / "qwen3-tiny-steps").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def record_of(folder: Path) -> Record:
    settings = Settings(model=str(folder), max_samples=20, max_seq_len=256)
    return measure(prepare(settings), settings, "qwen3")


@pytest.mark.parametrize(
    ("what", "sites"), [("noise", "hidden, mlp_output"), ("faint", "attn_output, mlp_output, gate")]
)
def test_a_checkpoint_that_is_not_trained_or_not_loaded_is_implausibly_small(
    what: str, sites: str, tmp_path: Path
) -> None:
    """All matrices noise, or all projections a millionth: every upper limit holds."""
    folder = tmp_path / what
    shutil.copytree(TRAINED, folder)
    tensors = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    for name, tensor in tensors.items():
        if what == "noise" and tensor.ndim == 2:
            tensors[name] = (torch.randn(tensor.shape) * 0.02).to(tensor.dtype)
        elif what == "faint" and "proj" in name:
            tensors[name] = tensor * 1e-6
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = Settings(model=str(folder), max_samples=4, max_seq_len=256)
    failed = [one for one in verdict(measure(prepare(settings), settings, "qwen3")) if not one.passed]
    small = [one for one in failed if "implausibly small: not trained, or not loaded" in one.message]
    assert {one.reading.site.kind for one in small if one.reading} == set(sites.split(", "))
    assert {one.limit.sense for one in small} == {"min"}


def test_the_checkpoints_are_small() -> None:
    assert len(STEPS) == 4
    assert size(TRAINED) < 3_000_000
    assert size(FIXTURES) < 16_000_000


def test_the_gate_passes_on_the_trained_checkpoint(pytester: pytest.Pytester) -> None:
    run_gate(pytester, f"--maxact-model={TRAINED}", "--maxact-max-samples=30", "--maxact-save=r", passed=108)
    record = load(pytester.path / "r")
    assert record.provenance.corpus == "builtin"
    assert {category for _, category, _, _ in record.provenance.samples} == {
        "math", "code", "web_english", "knowledge", "chinese", "minority_scripts", "web_other",
    }  # fmt: skip
    assert {split for *_, split, _ in record.provenance.samples} == {"calibration", "evaluation"}


def test_the_gate_fails_on_it_under_limits_below_what_it_does(pytester: pytest.Pytester) -> None:
    result = run_gate(
        pytester,
        f"--maxact-model={TRAINED}",
        "--maxact-max-samples=30",
        "--maxact-limits=limits.yaml",
        files={"limits.yaml": "version: 1\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 100}}}\n"},
        exit=1,
    )
    assert result.parseoutcomes()["failed"] >= 5
    text = " ".join(result.stdout.str().split())
    assert re.search(
        r"- layers\.5\.hidden: max_abs [\d.]+ at sample \S+, token \d+ '.*?', channel \d+ exceeds the limit 100[,;]",
        text,
    )


def test_the_maximum_grows_over_the_run_and_the_first_layer_is_the_jump() -> None:
    records = [record_of(step) for step in (STEPS[0], TRAINED)]
    first, last = (record.carrier.max_abs for record in records)
    assert last > first
    for record in records:
        assert record["layers.0.hidden"].max_abs > 10 * record["embedding"].max_abs


def test_a_subset_is_measured_to_the_same_figures_twice() -> None:
    one, other = record_of(TRAINED), record_of(TRAINED)
    assert one.sites == other.sites
    assert one.provenance == other.provenance
