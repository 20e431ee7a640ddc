"""What it takes to read every tensor of weight files, in seconds per GiB of files that lie in memory: as float32 and
bfloat16, alone and with a SHA-256 of the same bytes.

python benchmarks/weight_scan.py
"""

import hashlib
import statistics
import tempfile
import time
import tracemalloc
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


def seconds_per_gib(files: list[Path], digest: bool) -> float:
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        scan_files(files, digesting if digest else None)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:]) * 1024 * MIB / sum(file.stat().st_size for file in files)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (torch.float32, torch.bfloat16):
            files = shards(Path(folder), dtype)
            alone, with_digest = seconds_per_gib(files, False), seconds_per_gib(files, True)
            print(f"{str(dtype)[6:]}: {alone:.2f} s per GiB, {with_digest:.2f} s with a SHA-256 of the same bytes")
        tracemalloc.start()
        scan_files(files)
        print(f"memory at most {tracemalloc.get_traced_memory()[1] / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
