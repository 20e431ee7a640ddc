"""Two ranks of one thread beside one process of one thread: the same measurement of the same text, alternating.

    python benchmarks/ranks.py                          # SmolLM2-135M where it was made, else the trained fixture
    python benchmarks/ranks.py --tokens 40000 --rounds 5
    python benchmarks/ranks.py --model DIR --ranks 4

Seconds are by the clock, so the machine has to be idle, with a core for every rank. The pass is what ranks share:
batches, and what they exchange after them. Whole commands stand beside it, with starting, loading, the digest and the
scan of weight files, which each does by itself.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import header

MADE = Path.home() / ".cache" / "pytest-maxact" / "smollm2-135m-instruct"
FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3-tiny"
SAID = "seconds of the pass: "


def one(words: list[str]) -> int:
    """A rank, or the one process there is: `maxact measure`, whose pass is timed."""
    from pytest_maxact.cli.main import main
    from pytest_maxact.measure import run

    torch.set_num_threads(1)
    ordinary = run.observe

    def timed(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        seen = ordinary(*given, **named)
        if os.environ.get("RANK", "0") == "0":
            print(f"{SAID}{time.perf_counter() - started}", flush=True)
        return seen

    run.observe = timed
    return main(["measure", *words])


def measured(ranks: int, words: list[str]) -> tuple[float, float]:
    """Seconds of the pass and of the whole command, of so many ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), __file__, "--one", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    taken = time.perf_counter() - started
    told = [line for line in done.stdout.splitlines() if line.startswith(SAID)]
    if done.returncode or not told:
        raise SystemExit(done.stderr)
    return float(told[-1].removeprefix(SAID)), taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MADE if (MADE / "config.json").exists() else FIXTURE)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=12_000)
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = [str(options.model), "-o", f"{folder}/run.safetensors", "--device", "cpu"]
        words += ["--max-tokens", str(options.tokens), "--batch-tokens", str(options.batch_tokens)]
        words += ["--max-seq-len", str(options.batch_tokens)]
        print(f"{header()}; here, one thread in each process below; {options.model.name}, {options.tokens} tokens")
        print("| processes | pass, s | times as fast | command, s | times as fast |\n|---|---|---|---|---|", flush=True)
        found: dict[int, list[tuple[float, float]]] = {1: [], options.ranks: []}
        for number in range(options.rounds):
            for ranks in sorted(found, reverse=bool(number % 2)):
                found[ranks].append(measured(ranks, words))
    for ranks, times in found.items():
        cells = []
        for which in (0, 1):
            ratios = [base[which] / own[which] for base, own in zip(found[1], times, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds"
            cells += [f"{statistics.median(own[which] for own in times):.1f}"]
            cells += [f"{statistics.median(ratios):.2f} ({spread})" if ranks > 1 else "1"]
        print(f"| {ranks} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.exit(one(sys.argv[2:]))
    main()
