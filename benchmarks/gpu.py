"""What observing costs on a GPU, and whether its kernel gives what the plain path gives: one command, one table.

    python benchmarks/gpu.py                                   # Qwen3-8B's shape, random weights made on the device
    python benchmarks/gpu.py --shape 1b --tokens 4096 --rounds 5
    python benchmarks/gpu.py --device cpu --shape tiny         # tries the command itself, without a GPU

Goals: paper sites at most 1.05 times the bare pass, inputs of linear layers under three schemes at most 1.3 times.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch
from machine import header, rounds, table
from pass_cost import sequences
from transformers import AutoModelForCausalLM, Qwen3Config

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import BatchPlan, plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.measure.effect.simulate import Simulation
from pytest_maxact.measure.observe import fused
from pytest_maxact.measure.observe.batch import collate
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.numbers.schemes import Scheme, scheme_called

SHAPES = {
    "tiny": (64, 2, 192, 4, 2, 16, 512),
    "1b": (2048, 28, 6144, 16, 8, 128, 151_936),
    "8b": (4096, 36, 12_288, 32, 8, 128, 151_936),
}
"""Width, layers, intermediate width, heads, key heads, width of a head, vocabulary; those of Qwen3."""


def build(shape: str, device: torch.device) -> Any:
    width, layers, inner, heads, keys, head, vocabulary = SHAPES[shape]
    config = Qwen3Config(
        hidden_size=width, num_hidden_layers=layers, intermediate_size=inner, num_attention_heads=heads,
        num_key_value_heads=keys, head_dim=head, vocab_size=vocabulary,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def observe(
    decoder: torch.nn.Module, anatomy: Anatomy, plan: BatchPlan, device: torch.device, schemes: tuple[Scheme, ...] = ()
) -> Observer:
    observer = Observer(decoder, anatomy, schemes)
    with observer.attached():
        observer.run(plan, device)
    observer.finish()
    return observer


def unequal(one: Observer, other: Observer) -> list[str]:
    """Sites of which two passes kept something else."""
    return [
        name
        for name, seen in one.accumulators.items()
        for its in [other.accumulators[name]]
        if (seen.peaks, seen.massive, seen.first_nonfinite) != (its.peaks, its.massive, its.first_nonfinite)
        or any((seen.dense_counts(split) != its.dense_counts(split)).any() for split in one.tokens)
    ]


@torch.no_grad()
def forward(decoder: Any, plan: BatchPlan, device: torch.device, around: Callable[[], Any] = nullcontext) -> None:
    for planned in plan:
        context: AbstractContextManager[None] = around()
        with context:
            decoder(**collate(planned, device).model_inputs, use_cache=False)


def reading(device: torch.device, count: int) -> str:
    """One tensor of a decoder layer, read by the kernel and op by op."""
    values = torch.randn(8192, 4096, device=device, dtype=torch.bfloat16)
    ways = {"kernel": lambda: fused.read(values, None, True), "op by op": lambda: fused.read_plain(values, None, True)}
    return "One tensor [8192, 4096] in bfloat16:\n" + table(rounds(ways, count, device), "kernel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--schemes", default="W8A8,FP8_DYNAMIC,NVFP4")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --device cpu --shape tiny tries the command itself")
    model = build(options.shape, device)
    decoder = model.model
    data = sequences(options.tokens, options.length, min(8192, model.config.vocab_size))
    plan = plan_batches(data, assign_splits([one.sample for one in data]), options.batch_tokens)
    schemes = tuple(scheme_called(name) for name in options.schemes.split(","))
    paper, deploy = resolve(decoder, model.config), resolve(decoder, model.config, linear_inputs=True)
    print(header(options.device))
    print(f"Qwen3 {options.shape}, bfloat16, {sum(map(len, data))} tokens in {len(plan)} batches\n")

    with mock.patch.object(fused, "kernel_of", return_value=None):
        plain = observe(decoder, deploy, plan[:1], device)
    different = unequal(observe(decoder, deploy, plan[:1], device), plain)
    kernel = "the kernel" if fused.kernel_of(device) else "no kernel, op by op"
    print(f"{len(plain.accumulators) - len(different)} of {len(plain.accumulators)} sites equal: {kernel}\n")

    dynamic = next(scheme for scheme in schemes if not scheme.needs_calibration)
    simulation = Simulation(model, dynamic, resolve(model, model.config, linear_inputs=True).linears, {}, ())
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: forward(decoder, plan, device),
        "paper sites": lambda: observe(decoder, paper, plan, device),
        "and inputs of linear layers": lambda: observe(decoder, deploy, plan, device),
        f"and {options.schemes}": lambda: observe(decoder, deploy, plan, device, schemes),
        f"effect of {dynamic.name}": lambda: forward(model.model, plan, device, simulation.running),
    }
    print(table(rounds(ways, options.rounds, device), "bare"))
    if device.type == "cuda":
        print("\n" + reading(device, options.rounds))
    if different:
        raise SystemExit(f"the kernel differs from the plain path, first at {different[0]}")


if __name__ == "__main__":
    main()
