"""Cost of what is kept of every sample at every site, its largest entry and what INT-8 costs it: the hooked pass with
it and without it, same model, batches and threads, alternating, medians; and what it adds to the Record.

    python benchmarks/sample_maxima.py                        # 4-layer Qwen3 in bf16, 1 024 wide, one thread
    python benchmarks/sample_maxima.py --of losses            # what INT-8 costs it, alone
    python benchmarks/sample_maxima.py --length 64            # many short samples: the worst case
    python benchmarks/sample_maxima.py --record RECORD        # of a Record: bytes with it and without it

With one thread seconds are those of the processor, which other work on the machine does not change.
"""

import argparse
import statistics
from dataclasses import replace

import torch
from machine import header
from pass_cost import Timed, build, sequences

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.record.document import document_of, tensors_of
from pytest_maxact.record.file import load
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record


class Without(Timed):
    """An observer that keeps nothing of single samples, or not their losses."""

    def __init__(self, *arguments: object, of: str = "all") -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        for accumulator in self.accumulators.values():
            accumulator._losses = None
            if of == "all":
                accumulator._maxima = None


def seconds(options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Of every round the batches with it, and without it."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = build(options.width, options.layers, 0, device, peaks=False)
    data = sequences(options.tokens, options.length)
    plan = plan_batches(data, assign_splits([one.sample for one in data]), options.batch_tokens)
    anatomy = resolve(model, model.config)
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(options.rounds + 1):
        for place in (0, 1) if turn % 2 else (1, 0):
            observer = Without(model, anatomy, of=options.of) if place else Timed(model, anatomy)
            observer.all_of(plan, device)
            if turn:
                found[place].append(observer.seconds)
    return found


def size(record: Record) -> int:
    """Bytes of a Record's tensors and document."""
    return sum(tensor.nbytes for tensor in tensors_of(record).values()) + len(str(document_of(record)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--of", choices=("all", "losses"), default="all")
    parser.add_argument("--record")
    options = parser.parse_args()
    if options.record:
        whole = load(options.record)
        bare = {
            name: replace(one, held=replace(distributions_of(one), maxima=None, sampled=None, int8=None))
            for name, one in whole.sites.items()
        }
        kept, left = size(whole), size(replace(whole, sites=bare))
        samples = len(whole.provenance.samples)
        print(f"{samples} samples, {len(whole.sites)} sites: {kept} bytes, {left} without, +{kept / left - 1:.1%}")
        return
    print(header(options.device))
    with_it, without = seconds(options)
    one, other = statistics.median(with_it), statistics.median(without)
    print(f"{options.layers} x {options.width}, samples of {options.length}: {one:.2f} s with, {other:.2f} s without")
    print(
        f"ratio of medians {one / other:.3f}; rounds {[round(a / b, 3) for a, b in zip(with_it, without, strict=True)]}"
    )


if __name__ == "__main__":
    main()
