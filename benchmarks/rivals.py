"""The hooked pass beside other ways to see activations, over one model and the same batches: alternating rounds,
medians of their ratios to the bare pass, and the memory that each takes beyond it.

    python benchmarks/rivals.py                       # 4-layer Qwen3 in bfloat16, width 1024
    python benchmarks/rivals.py --width 2048 --rounds 7

Each of the others sees less: `output_hidden_states` the residual stream alone, of which a maximum is taken;
`DebugUnderflowOverflow` of transformers extremes of every module; hooks that call `.item()` the maximum of each of our
sites; `HistogramObserver` of torch.ao a histogram of 2048 bins of each.
"""

import argparse
import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from machine import forget_peak, header, peak_mib, rounds, table
from pass_cost import Timed, build, sequences
from torch.ao.quantization.observer import HistogramObserver
from transformers.debug_utils import DebugUnderflowOverflow

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.measure.observe.batch import collate

HOST = torch.device("cpu")


@torch.inference_mode()
def bare(model: Any, plan: BatchPlan, **options: Any) -> list[Any]:
    return [model(**collate(batch, HOST).model_inputs, use_cache=False, **options)[0].shape for batch in plan]


@torch.inference_mode()
def hidden_states(model: Any, plan: BatchPlan) -> None:
    for batch in plan:
        given = collate(batch, HOST)
        output = model(**given.model_inputs, use_cache=False, output_hidden_states=True)
        [states.abs().amax() for states in output.hidden_states]


def underflow_overflow(model: Any, plan: BatchPlan) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        watch = DebugUnderflowOverflow(model)
        try:
            bare(model, plan)
        finally:
            for module in model.modules():
                module._forward_hooks.clear()
    del watch


def hooked_by(model: Any, plan: BatchPlan, look: Callable[[str, torch.Tensor], None]) -> None:
    """Plain forward hooks on the modules of our sites."""
    taps = [tap for tap in resolve(model, model.config).taps if tap.reads == "output"]

    def hook(name: str) -> Callable[..., None]:
        def seen(module: torch.nn.Module, args: Any, output: Any) -> None:
            look(name, output if isinstance(output, torch.Tensor) else output[0])

        return seen

    handles = [tap.module.register_forward_hook(hook(tap.site.name)) for tap in taps]
    bare(model, plan)
    for handle in handles:
        handle.remove()


def item_hooks(model: Any, plan: BatchPlan) -> None:
    """The figures of the paper's sites the naive way, one number after the other."""
    peaks: dict[str, list[float]] = {}

    def look(name: str, values: torch.Tensor) -> None:
        x = values.float()
        found = [x.max().item(), x.min().item(), x.abs().max().item(), x.mean().item(), x.std().item()]
        found += [x.square().mean().sqrt().item(), float(x.isfinite().sum().item())]
        peaks[name] = found + x.abs().flatten().topk(10).values.tolist()

    hooked_by(model, plan, look)


def histogram_observer(model: Any, plan: BatchPlan) -> None:
    observers: dict[str, HistogramObserver] = {}
    hooked_by(model, plan, lambda name, values: observers.setdefault(name, HistogramObserver())(values.float()))


def ours(model: Any, plan: BatchPlan) -> float:
    return Timed(model, resolve(model, model.config)).all_of(plan, HOST)


WAYS: dict[str, Callable[[Any, BatchPlan], object]] = {
    "bare": bare,
    "ours, everything": ours,
    "output_hidden_states + amax": hidden_states,
    "hooks with .item()": item_hooks,
    "DebugUnderflowOverflow": underflow_overflow,
    "torch.ao HistogramObserver": histogram_observer,
}


def peak(way: str, options: argparse.Namespace) -> int:
    """MiB that a process of its own holds at most while it goes one way."""
    words = [sys.executable, __file__, "--peak-of", way]
    for name in ("width", "layers", "tokens", "length", "batch_tokens"):
        words += ["--" + name.replace("_", "-"), str(getattr(options, name))]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak-of", choices=WAYS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = build(options.width, options.layers, 0, HOST, peaks=False)
    data = sequences(options.tokens, options.length)
    plan = plan_batches(data, assign_splits([one.sample for one in data]), options.batch_tokens)
    if options.peak_of:
        forget_peak()
        WAYS[options.peak_of](model, plan)
        print(peak_mib())
        return
    print(header())
    print(f"Qwen3 of {options.layers} layers, width {options.width}, {sum(map(len, data))} tokens\n")
    found = rounds({name: lambda way=way: way(model, plan) for name, way in WAYS.items()}, options.rounds)
    print(table(found, "bare"))
    print("\n| | peak memory, MiB | over bare |\n|---|---|---|")
    peaks = {name: peak(name, options) for name in WAYS}
    for name, most in peaks.items():
        print(f"| {name} | {most} | {most / peaks['bare']:.2f} |")


if __name__ == "__main__":
    main()
