"""What it takes to read every tensor of weight files, in seconds per GiB of files that lie in memory: as float32 and
bfloat16, alone, with a SHA-256 by the same reading, and with one by a reading of its own. Alternating, medians.

python benchmarks/weight_scan.py
"""

import hashlib
import statistics
import tempfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file

from pytest_maxact.checkpoint.weights.scan import Feed, scan_files

MIB, TENSORS, ROUNDS = 1 << 20, 8, 5


def shards(folder: Path, dtype: torch.dtype) -> list[Path]:
    """Two files of 256 MiB."""
    files = [folder / f"{str(dtype)[6:]}-{number}.safetensors" for number in (1, 2)]
    for number, file in enumerate(files):
        entries = 256 * MIB // TENSORS // dtype.itemsize
        save_file({f"{number}.{i}.weight": torch.randn(entries // 1024, 1024).to(dtype) for i in range(TENSORS)}, file)
    return files


def digesting(file: Path) -> Feed:
    return hashlib.sha256().update


def alone(files: list[Path]) -> None:
    scan_files(files)


def in_one_reading(files: list[Path]) -> None:
    scan_files(files, digesting)


def in_two_readings(files: list[Path]) -> None:
    """Both at once, as scan and digest of a measurement were."""
    with ThreadPoolExecutor(2) as background:
        for running in (background.submit(scan_files, files), background.submit(digest, files)):
            running.result()


def digest(files: list[Path]) -> None:
    for file in files:
        feed = digesting(file)
        with file.open("rb") as stream:
            while piece := stream.read(MIB):
                feed(memoryview(piece))


WAYS = {"alone": alone, "with a SHA-256": in_one_reading, "in two readings": in_two_readings}


def seconds_per_gib(files: list[Path]) -> dict[str, tuple[float, float]]:
    """By way, median seconds by the clock and of the processors."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS + 1):
        for name, way in WAYS.items():
            started, worked = time.perf_counter(), time.process_time()
            way(files)
            taken[name].append((time.perf_counter() - started, time.process_time() - worked))
    gib = sum(file.stat().st_size for file in files) / 1024 / MIB
    middle = statistics.median
    return {
        name: (middle(clock for clock, _ in rounds[1:]) / gib, middle(worked for _, worked in rounds[1:]) / gib)
        for name, rounds in taken.items()
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (torch.float32, torch.bfloat16):
            files = shards(Path(folder), dtype)
            for name, (clock, worked) in seconds_per_gib(files).items():
                print(f"{str(dtype)[6:]} {name}: {clock:.2f} s per GiB, {worked:.2f} s of processors")
        tracemalloc.start()
        scan_files(files)
        print(f"memory at most {tracemalloc.get_traced_memory()[1] / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
