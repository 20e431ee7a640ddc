"""Cost of telling what a model itself predicts, beside the hooked pass: same model, batches and threads, alternating,
medians.

    python benchmarks/prediction_cost.py                                    # a 16-layer Qwen3 in bf16
    python benchmarks/prediction_cost.py --width 1024 --layers 28 --vocabulary 151936   # the shape of Qwen3-0.6B

Weights are random. So many tokens are predicted as of any corpus (4 096 at most), while a pass is as long as its text:
beside the share of this pass stands that of one over the built-in corpus.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import transformers
from transformers import AutoModelForCausalLM, Qwen3Config

from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import Sample, assign_splits
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.predict import TOKENS, predicting

BUILTIN = 250_306
"""Tokens of the built-in corpus by the tokenizer of fixtures/qwen3-tiny."""
LIMIT = 0.05


def build(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    config = Qwen3Config(
        vocab_size=options.vocabulary,
        hidden_size=options.width,
        intermediate_size=3 * options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=max(4, options.width // 128),
        num_key_value_heads=max(2, options.width // 512),
        head_dim=128,
    )
    torch.manual_seed(0)
    with torch.device(device):
        headed = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return LoadedModel(
        model=headed.model, decoder=decoder_of(headed.model), dtype="bfloat16", device=device, files=None,
        left_out=(), headed=headed,
    )  # fmt: skip


def sequences(tokens: int, vocabulary: int) -> list[Encoded]:
    """Of 300 to 700 tokens, in two categories."""
    generator = torch.Generator().manual_seed(1)
    made: list[Encoded] = []
    while sum(map(len, made)) < tokens:
        size = int(300 + 400 * torch.rand(1, generator=generator).item())
        ids = torch.randint(0, vocabulary, (size,), generator=generator).tolist()
        name = f"s{len(made):04d}"
        made.append(Encoded(sample=Sample(id=name, category="ab"[len(made) % 2], text=name), ids=tuple(ids)))
    return made


class Told:
    """What the model predicts, as a measurement tells it, and the seconds that this takes."""

    def __init__(self, loaded: LoadedModel, data: Sequence[Encoded], vocabulary: int) -> None:
        self.seconds, self.tokens = 0.0, 0
        self._device = loaded.device
        with self._counted():
            told, why = predicting(loaded, data, vocabulary)
        if told is None:
            raise SystemExit(why)
        self._told = told

    def see(self, batch: Batch, states: torch.Tensor) -> Callable[[], None]:
        with self._counted():
            keep = self._told.see(batch, states)

        def kept() -> None:
            with self._counted():
                keep()

        return kept

    def end(self) -> None:
        with self._counted():
            self.tokens = self._told.result().tokens

    @contextmanager
    def _counted(self) -> Iterator[None]:
        settle(self._device)
        started = time.perf_counter()
        yield
        settle(self._device)
        self.seconds += time.perf_counter() - started


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(options: argparse.Namespace) -> tuple[list[float], list[float], list[float], int, int]:
    """Seconds per round of the pass without and with predictions and of these themselves; tokens of a pass, and those
    predicted.
    """
    device = torch.device(options.device)
    loaded = build(options, device)
    data = sequences(options.tokens, options.vocabulary)
    plan = plan_batches(data, assign_splits([one.sample for one in data]), options.batch_tokens)
    anatomy = resolve(loaded.model, loaded.model.config)

    def run(told: Told | None) -> float:
        settle(device)
        started = time.perf_counter()
        observer = Observer(loaded.decoder, anatomy, watch=told.see if told else None)
        with observer.attached():
            observer.run(plan, device)
        observer.finish()
        settle(device)
        return time.perf_counter() - started

    without: list[float] = []
    beside: list[float] = []
    itself: list[float] = []
    tokens = 0
    for number in range(options.rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            if not which:
                without.append(run(None))
                continue
            told = Told(loaded, data, options.vocabulary)
            tried = told.seconds
            beside.append(run(told) + tried)
            told.end()
            itself.append(told.seconds)
            tokens = told.tokens
    return without[1:], beside[1:], itself[1:], sum(map(len, data)), tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=32_768)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__},"
        f" transformers {transformers.__version__}"
    )
    without, beside, itself, tokens, predicted = measure(options)
    middle = statistics.median
    ratios = [one / other for one, other in zip(beside, without, strict=True)]
    share = middle([part / whole for part, whole in zip(itself, without, strict=True)])
    whole = share * tokens / BUILTIN * TOKENS / predicted
    print(f"pass of {tokens} tokens: {middle(without):.2f} s, with predictions of {predicted}: {middle(beside):.2f} s")
    print(f"ratio {middle(ratios):.3f}, by round {' '.join(f'{ratio:.3f}' for ratio in ratios)}")
    print(f"in the check itself {middle(itself):.2f} s: {share:.1%} of this pass, {whole:.2%} of one over the built-in")
    print(f"corpus ({BUILTIN} tokens); the limit is {LIMIT:.0%}")


if __name__ == "__main__":
    main()
