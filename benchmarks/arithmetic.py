"""16-bit products through float32 against the CPU's own: the whole pass with everything observed, and both bare passes.

    python benchmarks/arithmetic.py                                    # SmolLM2-135M, made by fixtures/make_smollm2.py
    python benchmarks/arithmetic.py --model DIR --tokens 4000 --rounds 5 --threads 1
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/arithmetic.py   # as a CPU without units does it

Alternating rounds over the same batches of the built-in corpus; medians of the rounds' ratios.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from pytest_maxact import corpus
from pytest_maxact.checkpoint.device import has_units
from pytest_maxact.checkpoint.load import LoadedModel, load
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, plan_batches
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.settings.settings import Settings


@torch.inference_mode()
def bare(loaded: LoadedModel, plan: BatchPlan) -> None:
    for planned in plan:
        loaded.decoder(**collate(planned, loaded.device).model_inputs, use_cache=False)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    script = Path(__file__).parent.parent / "fixtures" / "make_smollm2.py"
    model = options.model or subprocess.check_output([sys.executable, script], text=True).strip()
    settings = Settings(model=str(model), max_tokens=options.tokens, max_seq_len=512, dtype="bf16")
    prepared = prepare(settings)
    loaded = load(prepared.checkpoint, settings)
    splits = corpus.assign_splits([sequence.sample for sequence in prepared.sequences])
    plan = plan_batches(prepared.sequences, splits, settings.batch_tokens)
    tokens = sum(map(len, prepared.sequences))

    def hooked() -> None:
        observer = Observer(loaded.decoder, resolve(loaded.model, prepared.checkpoint.config))
        with computing("float32-accumulate", loaded.device, loaded.dtype), observer.attached():
            observer.run(plan, loaded.device)
        observer.finish()

    def accumulated() -> None:
        with computing("float32-accumulate", loaded.device, loaded.dtype):
            bare(loaded, plan)

    def native() -> None:
        bare(loaded, plan)

    runs = {"native, bare": native, "float32-accumulate, bare": accumulated, "float32-accumulate, observed": hooked}
    found: dict[str, list[float]] = {name: [] for name in runs}
    accumulated()
    for _ in range(options.rounds):
        for name, run in runs.items():
            found[name].append(seconds(run))
    print(
        f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, units for bf16: "
        f"{has_units(torch.bfloat16)}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers "
        f"{transformers.__version__}; {prepared.checkpoint.name}, {tokens} tokens in {len(plan)} batches"
    )
    for name, times in found.items():
        faster = statistics.median(a / b for a, b in zip(found["native, bare"], times, strict=True))
        middle = statistics.median(times)
        print(f"{name:30} {middle:8.2f} s {tokens / middle:8.0f} tokens/s {faster:6.2f} x")


if __name__ == "__main__":
    main()
