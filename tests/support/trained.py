"""The trained checkpoints of the repository as a run: folders called after their steps, and changes to single
weights.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.regression import relative_limits
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.run import measure
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support.paths import FIXTURES, TRAINED

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], None]
STEPS = {step: FIXTURES / "qwen3-tiny-steps" / f"step-{step}" for step in (900, 1800, 2700, 3600)} | {4500: TRAINED}


def run_in(folder: Path, steps: Sequence[int] = tuple(STEPS)) -> str:
    """The checkpoints of these steps as a Trainer leaves them; the pattern that finds them."""
    for step in steps:
        shutil.copytree(STEPS[step], folder / f"checkpoint-{step}")
    return str(folder / "checkpoint-*")


def scale_weight(folder: Path, name: str, factor: float) -> None:
    """Multiply one weight of a checkpoint on disk."""

    def scale(tensors: Tensors) -> None:
        tensors[name] = (tensors[name].to(torch.float32) * factor).to(tensors[name].dtype)

    change_weights(folder, scale)


def change_weights(folder: Path, change: Change) -> None:
    """Change the weights of a checkpoint on disk, all of them given by name."""
    file = folder / "model.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    change(tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file, metadata={"format": "pt"})


def changed(folder: Path, change: Change) -> Path:
    """The trained checkpoint with other weights."""
    change_weights(shutil.copytree(TRAINED, folder), change)
    return folder


def swapped(one: int, other: int, only: str = "") -> Change:
    """Two layers in each other's place, or of both the weights whose names hold `only`."""

    def swap(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.startswith(f"model.layers.{one}.") and only in name]:
            there = name.replace(f"layers.{one}.", f"layers.{other}.")
            tensors[name], tensors[there] = tensors[there], tensors[name]

    return swap


def noise(tensors: Tensors) -> None:
    """Every matrix drawn anew, as before training."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            tensors[name] = torch.empty(tensor.shape).normal_(0, 0.02, generator=generator).to(tensor.dtype)


def record_of(folder: Path, max_samples: int = 8, max_seq_len: int = 256, **options: object) -> Record:
    drawn = {"max_samples": max_samples, "max_seq_len": max_seq_len}
    settings = Settings(model=str(folder), **drawn, **options)  # type: ignore[arg-type]
    return measure(prepare(settings), settings, "qwen3")


def changes(before: Record, after: Record) -> list[Finding]:
    """The shipped relative limits, judged."""
    sites = [reading.site for reading in after.sites.values()]
    return judge(after, relative_limits(load_limits(), sites, after.provenance.schemes, "before"), {"before": before})
