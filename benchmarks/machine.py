"""What every benchmark here shares: the machine and versions it ran on, and alternating rounds."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers

from pytest_maxact.checkpoint.device import has_units

_HOST = torch.device("cpu")


def header(device: str = "cpu") -> str:
    """One line: processor, units for bf16, threads, versions, load; the GPU and its Triton where one is used."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")] if (
        info.exists()
    ) else []  # fmt: skip
    units = "bf16 units" if has_units(torch.bfloat16) else "no bf16 units"
    parts = [
        f"{models[0] if models else 'unknown processor'}, {torch.backends.cpu.get_cpu_capability()}, {units}",
        f"{torch.get_num_threads()} threads",
        f"torch {torch.__version__}, transformers {transformers.__version__}",
        f"load {os.getloadavg()[0]:.1f} of {os.cpu_count()}",
    ]
    if device.startswith("cuda"):
        import triton

        parts.append(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, Triton {triton.__version__}")
    return "; ".join(parts)


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timer() -> float:
    """Seconds: of the processor where one thread runs, by the clock otherwise."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def forget_peak() -> None:
    """Let the peak of this process's memory be what it holds now; Linux."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> int:
    """MiB that this process held at most since then."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def rounds(
    ways: Mapping[str, Callable[[], object]], count: int, device: torch.device = _HOST
) -> dict[str, list[float]]:
    """Seconds of every way, round by round, the order turned about each time; each runs once before. A way that gives a
    float says how many of its seconds do not count.
    """
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count):
        for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
            settle(device)
            started = timer()
            apart = ways[name]()
            settle(device)
            found[name].append(timer() - started - (apart if isinstance(apart, float) else 0.0))
    return found


def table(found: Mapping[str, list[float]], against: str) -> str:
    """Median seconds, and the median of the rounds' ratios to one of the ways with the lowest and the highest."""
    lines = ["| | seconds | ratio | lowest to highest |", "|---|---|---|---|"]
    for name, times in found.items():
        ratios = [one / other for one, other in zip(times, found[against], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds"
        lines.append(f"| {name} | {statistics.median(times):.3f} | {statistics.median(ratios):.3f} | {spread} |")
    return "\n".join(lines)
