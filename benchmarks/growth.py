"""How the hooked pass grows with tokens, and how long a Record of 64 layers takes to be judged: seconds and peak memory
of processes of their own, over a decade of tokens.

    python benchmarks/growth.py
    python benchmarks/growth.py --tokens 2000 6000 20000
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import forget_peak, header, peak_mib
from pass_cost import Timed, build, sequences

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.record.file import load, save

FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3-tiny"
LAYERS, REPLAYS = 64, 5
MAXACT = [sys.executable, "-c", "import sys; from pytest_maxact.cli import main; sys.exit(main())"]


def one(tokens: int, width: int, layers: int) -> None:
    """Seconds of the batches of a pass over so many tokens, and MiB that this process held at most."""
    torch.set_num_threads(1)
    model = build(width, layers, 0, torch.device("cpu"), peaks=False)
    data = sequences(tokens, 256)
    plan = plan_batches(data, assign_splits([s.sample for s in data]), 1024)
    observer = Timed(model, resolve(model, model.config))
    forget_peak()
    observer.all_of(plan, torch.device("cpu"))
    taken = observer.seconds
    print(sum(map(len, data)), taken, peak_mib())


def of_64_layers(folder: Path) -> Path:
    """The Record of the trained fixture, its middle layers in turn until there are 64."""
    measured = folder / "measured.safetensors"
    words = ["measure", str(FIXTURE), "-o", str(measured), "--max-samples", "12"]
    subprocess.run([*MAXACT, *words], check=True, capture_output=True)
    record = load(measured)
    depth = 1 + max(reading.site.layer or 0 for reading in record.sites.values())
    sites = {}
    for layer in range(LAYERS):
        source = depth - 1 if layer == LAYERS - 1 else 1 + (layer - 1) % (depth - 2) if layer else 0
        for reading in record.sites.values():
            if reading.site.layer == source:
                site = dataclasses.replace(reading.site, layer=layer)
                sites[site.name] = dataclasses.replace(reading, site=site)
    sites |= {name: reading for name, reading in record.sites.items() if reading.site.layer is None}
    target = folder / "deep.safetensors"
    provenance = dataclasses.replace(record.provenance, layers=LAYERS)
    save(dataclasses.replace(record, provenance=provenance, sites=sites), target)
    return target


def replay(record: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor until a Record is judged; of compiled modules, as an installed package
    has them, beside the Record.
    """
    compiled = {"PYTHONPYCACHEPREFIX": str(record.parent / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    words = [*MAXACT, "judge", str(record)]
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | compiled)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    taken, after = time.perf_counter() - started, os.times()
    return taken, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[3000, 10_000, 30_000])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.width, options.layers)
        return
    print(header())
    print("| tokens | seconds | per thousand tokens | peak memory, MiB |\n|---|---|---|---|")
    for tokens in options.tokens:
        words = ["--one", str(tokens), "--width", str(options.width), "--layers", str(options.layers)]
        done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
        counted, taken, most = map(float, done.stdout.split())
        print(f"| {counted:.0f} | {taken:.2f} | {1000 * taken / counted:.3f} | {most:.0f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        record = of_64_layers(Path(folder))
        replay(record)
        times = [replay(record) for _ in range(REPLAYS)]
        print(f"\nA Record of {LAYERS} layers, {record.stat().st_size / 1e6:.1f} MB, judged by a process of its own: ")
        clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{clock:.2f} s, {processor:.2f} s of the processor, medians of {REPLAYS}")


if __name__ == "__main__":
    main()
