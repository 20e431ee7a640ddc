"""Cost of the hooked pass over the bare forward pass: same model, batches and threads, alternating, medians.

    python benchmarks/pass_cost.py                          # 8-layer Qwen3 in bf16 at widths 1024, 2048, 4096
    python benchmarks/pass_cost.py --widths 1024 --rounds 9
    python benchmarks/pass_cost.py --peaks                  # every token above 100 in every layer: the worst case
    python benchmarks/pass_cost.py --experts 16 --widths 1024   # a Qwen3-MoE, four experts to a token
    python benchmarks/pass_cost.py --schemes W8A8,FP8_DYNAMIC,NVFP4 --widths 1024   # schemes, beside three passes
    python benchmarks/pass_cost.py --arithmetic float32-accumulate    # both passes through float32

Weights are random; sequences have mixed lengths, so batches are padded. Everything that a gate run records is switched
on. The ratio is of the batches; what is tried out before and after them (whether a token sees its batch, whether the
model remembers) costs the same on any corpus and stands beside it. With `--threads 1` seconds are those of the
processor, which other work on the machine does not change.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from machine import header, settle, timer
from transformers import AutoModel, Qwen3Config, Qwen3MoeConfig

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, plan_batches
from pytest_maxact.corpus.samples import Sample, assign_splits
from pytest_maxact.corpus.tokens import Sequence
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.numbers.arithmetic import ACCUMULATED, NATIVE
from pytest_maxact.numbers.schemes import scheme_called


def build(
    width: int, layers: int, intermediate: int, device: torch.device, peaks: bool, experts: int = 0
) -> torch.nn.Module:
    """A random Qwen3; with `peaks`, one channel of every embedding is 200, so that every token's residual stream is
    above 100.
    """
    inner = intermediate or 3 * width
    shape = {
        "vocab_size": 8192,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(4, width // 128),
        "num_key_value_heads": max(2, width // 512),
        "head_dim": 128,
    }
    routed = {"num_experts": experts, "num_experts_per_tok": 4, "moe_intermediate_size": inner // 4}
    config = Qwen3MoeConfig(**shape, **routed) if experts else Qwen3Config(**shape)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModel.from_config(config, dtype=torch.bfloat16).eval()
    if peaks:
        with torch.no_grad():
            model.embed_tokens.weight[:, 7] = 200.0
    return model


def sequences(tokens: int, length: int, vocabulary: int = 8192) -> list[Sequence]:
    """Sequences of 70 % to 100 % of `length` that make about `tokens` tokens."""
    generator = torch.Generator().manual_seed(1)
    made, total = [], 0
    while total < tokens:
        size = int(length * (0.7 + 0.3 * torch.rand(1, generator=generator).item()))
        ids = torch.randint(0, vocabulary, (size,), generator=generator).tolist()
        made.append(Sequence(sample=Sample(id=f"s{len(made):04d}", category="c", text=str(len(made))), ids=tuple(ids)))
        total += size
    return made


def three_passes(model: torch.nn.Module, plan: BatchPlan, device: torch.device, modules: list[torch.nn.Module]) -> None:
    """INT-8 error of the given modules' inputs the way that needs three passes: the maximum, then a linear histogram
    below it, then the error.
    """
    peaks = {id(module): 0.0 for module in modules}
    counts = {id(module): torch.zeros(2048, device=device) for module in modules}
    sums = {id(module): [0.0, 0.0] for module in modules}

    def largest(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        peaks[id(module)] = max(peaks[id(module)], args[0].abs().max().item())

    def histogram(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        counts[id(module)] += torch.histc(args[0].abs().float(), 2048, 0.0, peaks[id(module)])

    def error(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        x, scale = args[0].float(), peaks[id(module)] / 127
        lost = x - (x / scale).round().clamp(-127, 127) * scale
        sums[id(module)][0] += x.square().sum().item()
        sums[id(module)][1] += lost.square().sum().item()

    for hook in (largest, histogram, error):
        handles = [module.register_forward_pre_hook(hook) for module in modules]
        with torch.inference_mode():
            for batch in plan:
                model(**collate(batch, device).model_inputs, use_cache=False)
        for handle in handles:
            handle.remove()


class Timed(Observer):
    """An observer that knows how long its batches took."""

    seconds = 0.0

    def all_of(self, plan: BatchPlan, device: torch.device) -> float:
        """Observe a plan, whole and checked; seconds of what was tried out beside its batches."""
        started = timer()
        with self.attached():
            self.run(plan, device)
        self.finish()
        settle(device)
        return timer() - started - self.seconds

    def _try(self, *arguments: Any, **options: Any) -> bool:
        started = timer()
        ran = super()._try(*arguments, **options)
        self.seconds += timer() - started
        return ran


def measure(options: argparse.Namespace, width: int) -> tuple[list[list[float]], int, float]:
    """Seconds per round of the bare pass, of the hooked one, and with schemes of the three-pass method; the tokens of a
    round; and the seconds of what is tried out.
    """
    device = torch.device(options.device)
    model = build(width, options.layers, options.intermediate, device, options.peaks, options.experts)
    data = sequences(options.tokens, options.length)
    plan = plan_batches(data, assign_splits([s.sample for s in data]), options.batch_tokens)
    schemes = [scheme_called(name) for name in options.schemes.split(",") if name]
    anatomy = resolve(model, model.config, linear_inputs=bool(schemes))
    linears = list(
        {
            id(tap.module): tap.module
            for tap in anatomy.linears
            if tap.reads == "input" and tap.part.endswith(("q_proj", "o_proj", "up_proj", "down_proj"))
        }.values()
    )

    def bare() -> None:
        with torch.inference_mode():
            for batch in plan:
                model(**collate(batch, device).model_inputs, use_cache=False)

    tried: list[float] = []

    def hooked() -> float:
        tried.append(Timed(model, anatomy, schemes).all_of(plan, device))
        return tried[-1]

    def clock(run: Callable[[], float | None]) -> float:
        """Without what was tried out."""
        settle(device)
        started = timer()
        with computing(options.arithmetic, device, "bfloat16"):
            apart = run() or 0.0
        settle(device)
        return timer() - started - apart

    runs: list[Callable[[], float | None]] = [bare, hooked]
    if schemes:
        runs.append(lambda: three_passes(model, plan, device, linears))
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    for round_number in range(options.rounds):
        order = range(len(runs)) if round_number % 2 == 0 else reversed(range(len(runs)))
        for which in order:
            times[which].append(clock(runs[which]))
    return times, sum(len(s) for s in data), statistics.median(tried)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--intermediate", type=int, default=0, help="default: 3 x width")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--experts", type=int, default=0, help="default: a dense model")
    parser.add_argument(
        "--schemes", default="", help="names, comma between them: observe linear inputs and quantize them"
    )
    parser.add_argument("--arithmetic", default=NATIVE, choices=[NATIVE, ACCUMULATED])
    parser.add_argument("--peaks", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{header(options.device)}; {options.arithmetic}")
    print(
        "| width | tokens | bare, s | hooked, s | ratio | ratio per round | tried out, s | three passes |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    middle = statistics.median
    for width in options.widths:
        (bare, hooked, *three), tokens, tried = measure(options, width)
        ratios = [h / b for b, h in zip(bare, hooked, strict=True)]
        rounds = " ".join(f"{ratio:.3f}" for ratio in ratios)
        other = f"{middle([t / b for b, t in zip(bare, three[0], strict=True)]):.3f}" if three else ""
        print(
            f"| {width} | {tokens} | {middle(bare):.2f} | {middle(hooked):.2f} | {middle(ratios):.3f} | {rounds} |"
            f" {tried:.2f} | {other} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
