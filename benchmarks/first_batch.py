"""From command to first batch: a checkpoint of Qwen3-8B's shape on disk, gated, beside a process that only loads it and
runs the same tokens.

    python benchmarks/first_batch.py                    # writes 16 GB, and removes them
    python benchmarks/first_batch.py --layers 4         # 4 GB: embedding and head whole, fewer layers

Whole processes, alternating; the files are in the page cache for both, as after a download.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import header

TOKENIZER = Path(__file__).parents[1] / "fixtures" / "qwen3-tiny"
PLAIN = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
AutoTokenizer.from_pretrained(sys.argv[1])
with torch.inference_mode():
    model.model(input_ids=torch.arange(int(sys.argv[2]))[None], use_cache=False)
"""
OURS = """
import os, sys, time
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure import run, prepare
from pytest_maxact.settings.settings import Settings
began, told = time.perf_counter(), {}
def noted(name, function):
    def call(*args, **kwargs):
        started = time.perf_counter()
        result = function(*args, **kwargs)
        told[name] = told.get(name, 0.0) + time.perf_counter() - started
        return result
    return call
run.load = noted("loading", run.load)
ordinary = Observer.run
def running(*args, **kwargs):
    told["tried out"] = -time.perf_counter()
    return ordinary(*args, **kwargs)
Observer.run = running
first = noted("first batch", Observer._try)
def once(*args):
    told["tried out"] += time.perf_counter()
    first(*args)
    print(*(f"{name} {seconds:.1f}" for name, seconds in told.items()), sep=", ", flush=True)
    os._exit(0)
Observer._try = once
tokens = int(sys.argv[2])
settings = Settings(
    model=sys.argv[1], dtype="bf16", max_tokens=tokens, batch_tokens=tokens, max_seq_len=max(8, tokens // 4)
)
prepared = noted("files, config, sites and text", prepare.prepare)(settings)
run.measure(prepared, settings, None)
"""


def write(folder: Path, layers: int) -> float:
    """A checkpoint with random weights, a file per layer; GB written."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(
        hidden_size=4096, num_hidden_layers=layers, intermediate_size=12_288, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, vocab_size=151_936,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="2GB")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9


def seconds(code: str, folder: Path, tokens: int) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(tokens)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - started, done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(header())
    with tempfile.TemporaryDirectory() as name:
        size = write(Path(name), options.layers)
        print(f"Qwen3-8B's shape with {options.layers} layers, {size:.1f} GB; {options.tokens} tokens", flush=True)
        pairs = [
            (seconds(PLAIN, Path(name), options.tokens), seconds(OURS, Path(name), options.tokens))
            for _ in range(options.rounds)
        ]
    middle = statistics.median
    print(f"loading and one batch alone: {middle(plain for (plain, _), _ in pairs):.1f} s")
    print(f"to the first batch observed: {middle(ours for _, (ours, _) in pairs):.1f} s")
    print(f"ours of it: {middle(ours - plain for (plain, _), (ours, _) in pairs):.1f} s, median of differences")
    for _, (_, parts) in pairs:
        print(f"  {parts}")


if __name__ == "__main__":
    main()
