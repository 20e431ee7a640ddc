"""A model larger than memory: the gate in a process of its own, its peak of memory, tokens per second, and bytes
read against the disk's speed.

    python benchmarks/streaming.py --folder /big/disk           # a random Llama-2-7B in bf16, 13.5 GB, made and deleted
    python benchmarks/streaming.py --model DIR --both           # a real checkpoint, streamed and as a whole
    python benchmarks/streaming.py --folder /big/disk --layers 4 --samples 12

Resident memory is the process's `ru_maxrss`: all pages it ever had at once, those of mapped files (libraries) included.
Weights are read, not mapped, so that the page cache that holds their files is no part of it, and is free for others.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from pytest_maxact import load


def shards(config: LlamaConfig) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors of a random model, a layer at a time."""
    width, inner, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        values = torch.empty(shape, dtype=torch.bfloat16)
        for part in values.view(-1).split(1 << 24):
            part.copy_(torch.randn(part.shape, generator=generator) * 0.02)
        return values

    yield {"model.embed_tokens.weight": random(vocabulary, width)}
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}."
        yield {
            **{f"{name}self_attn.{part}_proj.weight": random(width, width) for part in "qkvo"},
            **{f"{name}mlp.{part}_proj.weight": random(inner, width) for part in ("gate", "up")},
            f"{name}mlp.down_proj.weight": random(width, inner),
            **{
                f"{name}{norm}_layernorm.weight": torch.ones(width, dtype=torch.bfloat16)
                for norm in ("input", "post_attention")
            },
        }
    yield {"model.norm.weight": torch.ones(width, dtype=torch.bfloat16), "lm_head.weight": random(vocabulary, width)}


def write(folder: Path, layers: int) -> None:
    """A checkpoint of Llama-2-7B's shape, or of some of its layers, a shard to each."""
    config = LlamaConfig(num_hidden_layers=layers, dtype="bfloat16", architectures=["LlamaForCausalLM"])
    config.save_pretrained(folder)
    places, total = {}, 0
    for number, shard in enumerate(shards(config)):
        name = f"model-{number:05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, name)
        total += sum(tensor.nbytes for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    alphabet = {letter: number + 3 for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    letters = Tokenizer(models.BPE(vocab={"<unk>": 0, "<s>": 1, "</s>": 2, **alphabet}, merges=[]))
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>").save_pretrained(folder)


def disk_speed(folder: Path) -> float:
    """Bytes per second of one file that is not in the page cache."""
    file = max(folder.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    with file.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started, read = time.perf_counter(), 0
        while piece := stream.read(1 << 24):
            read += len(piece)
    return read / (time.perf_counter() - started)


def gate(folder: Path, device: str, options: argparse.Namespace) -> tuple[float, float, int, str]:
    """Seconds, peak of resident memory in bytes, tokens, and the last line of one run."""
    place = Path(mkdtemp())
    record, log = place / "record.safetensors", place / "log"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--maxact-model={folder}",
        f"--maxact-device={device}", "--maxact-family=generic", f"--maxact-max-samples={options.samples}",
        f"--maxact-max-seq-len={options.length}", f"--maxact-save={record}",
    ]  # fmt: skip
    if options.schemes:
        command.append(f"--maxact-schemes={options.schemes}")
    started = time.perf_counter()
    with log.open("w") as written:
        process = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT, cwd=place)
        _, _, used = os.wait4(process.pid, 0)
    seconds, said = time.perf_counter() - started, log.read_text()
    if not record.is_file():
        sys.exit(said)
    tokens = sum(length for *_, length in load(record).provenance.samples)
    shutil.rmtree(place)
    return seconds, used.ru_maxrss * 1024, tokens, said.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where a random model is made, and deleted")
    parser.add_argument("--model", type=Path, help="a checkpoint that is there")
    parser.add_argument("--both", action="store_true", help="also with the model in memory as a whole")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--schemes", default="")
    options = parser.parse_args()
    made = None
    if options.model is None:
        made = Path(mkdtemp(dir=options.folder))
        write(made, options.layers)
    folder = made or options.model
    try:
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        print(
            f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch "
            f"{torch.__version__}, transformers {transformers.__version__}\n"
            f"{size / 1e9:.1f} GB of weights, disk {disk_speed(folder) / 1e9:.2f} GB/s"
        )
        for device in ("stream", "cpu") if options.both else ("stream",):
            seconds, peak, tokens, last = gate(folder, device, options)
            print(
                f"{device}: {seconds:.0f} s in all, {tokens} tokens, {tokens / seconds:.1f} tokens/s, peak "
                f"{peak / 1e9:.2f} GB resident, {size / seconds / 1e9:.3f} GB/s of weights ({last})",
                flush=True,
            )
    finally:
        if made:
            shutil.rmtree(made)


if __name__ == "__main__":
    main()
