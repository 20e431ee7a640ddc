"""Cost of a stress set and of a search beside a pass over the corpus with the same model: seconds of a token of the
first two, and of an evaluation of the search, alternating rounds, medians.

    python benchmarks/trials.py                               # the fixture qwen3-tiny
    python benchmarks/trials.py MODEL --samples 8 --rounds 1  # any checkpoint

A stress set is some 131 000 tokens long, half of them sequences of one token; a search takes as long as it is given.
"""

import argparse
import time
from pathlib import Path
from statistics import median

from hunt import guided
from machine import header

from pytest_maxact.measure.opened import Opened, opened
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.measure.stress import measure_stress
from pytest_maxact.settings.settings import Settings

FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3-tiny"


def seconds(model: Opened, way: str, options: argparse.Namespace) -> float:
    """Of one token, or of one evaluation."""
    tokenizer, sequences = model.prepared.tokenizer, model.prepared.whole
    began = time.perf_counter()
    if way == "corpus":
        seen_on(model.loaded, model.anatomy, sequences, model.batch_tokens, tokenizer)
        ran = sum(map(len, sequences))
    elif way == "stress":
        ran = measure_stress(
            model.loaded, model.anatomy, tokenizer, sequences, context=256, batch_tokens=model.batch_tokens, seed=0,
            tokens=options.tokens,
        ).tokens  # fmt: skip
    else:
        guided(model, model.carrier.site.name, options.evaluations, 0)
        ran = options.evaluations
    return (time.perf_counter() - began) / ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(FIXTURE))
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(header("cpu"))
    ways = ("corpus", "stress", "hunt")
    found: dict[str, list[float]] = {way: [] for way in ways}
    with opened(Settings(model=options.model, max_samples=options.samples, max_seq_len=256)) as model:
        for turn in range(options.rounds):
            for way in ways if turn % 2 else reversed(ways):
                found[way].append(seconds(model, way, options))
    own = median(found["corpus"])
    print(f"a token of the corpus {own * 1e3:.3f} ms")
    print(f"a token of a stress set {median(found['stress']) * 1e3:.3f} ms, {median(found['stress']) / own:.1f} x")
    print(f"an evaluation of a search {median(found['hunt']) * 1e3:.2f} ms, {median(found['hunt']) / own:.0f} tokens")


if __name__ == "__main__":
    main()
