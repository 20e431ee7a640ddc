"""Cost of attention sites over the deploy pass: same model, batches and threads, alternating, medians.

    python benchmarks/attention_cost.py --threads 1                     # 4-layer Qwen3 in bf16 at width 1024
    python benchmarks/attention_cost.py --threads 1 --schemes KV_FP8,KV_INT4
    python benchmarks/attention_cost.py --length 4096 --threads 1       # scores grow with the square of it

Three passes over the same batches: the deploy pass (the paper's sites and the inputs of linear layers), the same with
queries, keys and values, and with the largest scores of every head too. Weights are random; sequences have mixed
lengths, so batches are padded. With `--threads 1` seconds are those of the processor.
"""

import argparse
import statistics

import torch
from machine import header, settle, timer
from pass_cost import Timed, build, sequences

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.numbers.schemes import scheme_called

PASSES = ("deploy", "queries, keys and values", "scores too")


def measure(options: argparse.Namespace, width: int) -> tuple[list[list[float]], int]:
    """Seconds of every pass, round by round, and the tokens of a round."""
    device = torch.device(options.device)
    model = build(width, options.layers, options.intermediate, device, peaks=False)
    data = sequences(options.tokens, options.length)
    plan = plan_batches(data, assign_splits([one.sample for one in data]), options.batch_tokens)
    schemes = [scheme_called(name) for name in options.schemes.split(",") if name]
    plain = resolve(model, model.config, linear_inputs=True)
    attended = resolve(model, model.config, linear_inputs=True, attention=True)

    def run(which: int) -> float:
        observer = Timed(model, attended if which else plain, schemes if which else ())
        if which == 1:
            observer.logits = observer.intake._logits = None
        started = timer()
        apart = observer.all_of(plan, device)
        settle(device)
        return timer() - started - apart

    times: list[list[float]] = [[] for _ in PASSES]
    for which in range(len(PASSES)):
        run(which)
    for number in range(options.rounds):
        order = range(len(PASSES)) if number % 2 == 0 else reversed(range(len(PASSES)))
        for which in order:
            times[which].append(run(which))
    return times, sum(len(one) for one in data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[1024])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--intermediate", type=int, default=0, help="default: 3 x width")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--schemes", default="", help="of the cache, comma between them")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(header(options.device))
    print("| width | tokens | pass | seconds | ratio | ratio per round |\n|---|---|---|---|---|---|")
    for width in options.widths:
        times, tokens = measure(options, width)
        for name, own in zip(PASSES, times, strict=True):
            ratios = [one / base for one, base in zip(own, times[0], strict=True)]
            rounds = " ".join(f"{ratio:.3f}" for ratio in ratios)
            middle = f"{statistics.median(own):.2f} | {statistics.median(ratios):.3f}"
            print(f"| {width} | {tokens} | {name} | {middle} | {rounds} |", flush=True)


if __name__ == "__main__":
    main()
