"""The trained checkpoints of the repository as a run: folders called after their steps, and changes to single
weights.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pytest_maxact import measure
from pytest_maxact.limits import load_limits
from pytest_maxact.limits.regression import relative_limits
from pytest_maxact.record import Record
from pytest_maxact.settings import Settings
from pytest_maxact.verdict import Finding, judge

FIXTURES = Path(__file__).parents[1] / "fixtures"
TRAINED = FIXTURES / "qwen3-tiny"
STEPS = {step: FIXTURES / "qwen3-tiny-steps" / f"step-{step}" for step in (900, 1800, 2700, 3600)} | {4500: TRAINED}


def run_in(folder: Path, steps: Sequence[int] = tuple(STEPS)) -> str:
    """The checkpoints of these steps as a Trainer leaves them; the pattern that finds them."""
    for step in steps:
        shutil.copytree(STEPS[step], folder / f"checkpoint-{step}")
    return str(folder / "checkpoint-*")


def scale_weight(folder: Path, name: str, factor: float) -> None:
    """Multiply one weight of a checkpoint on disk."""
    file = folder / "model.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    tensors[name] = (tensors[name].to(torch.float32) * factor).to(tensors[name].dtype)
    save_file(tensors, file, metadata={"format": "pt"})


def record_of(folder: Path, max_samples: int = 8, **options: object) -> Record:
    settings = Settings(model=str(folder), max_samples=max_samples, **options)  # type: ignore[arg-type]
    return measure.measure(measure.prepare(settings), settings, "qwen3")


def changes(before: Record, after: Record) -> list[Finding]:
    """The shipped relative limits, judged."""
    sites = [reading.site for reading in after.sites.values()]
    return judge(after, relative_limits(load_limits(), sites, after.provenance.schemes, "before"), {"before": before})
