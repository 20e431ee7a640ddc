"""Options that say what is measured: the checkpoint, the text, and how the one runs over the other."""

from pytest_maxact.errors import setting
from pytest_maxact.numbers.arithmetic import ARITHMETIC
from pytest_maxact.settings.option import Option
from pytest_maxact.settings.parsers import (
    batch_size,
    choice_of,
    device_name,
    dtype_name,
    nonempty,
    positive_number,
    shard,
    truth,
    whole_number,
)
from pytest_maxact.settings.places import place

SUBJECT = (
    Option(
        name="model",
        metavar="PATH_OR_HUB_ID",
        parse=place,
        is_path=True,
        help=(
            "the checkpoint to gate: a folder written by save_pretrained, or a hub id; a pattern ('runs/checkpoint-*')"
            " for a series of them"
        ),
    ),
    Option(
        name="revision",
        metavar="REV",
        parse=nonempty,
        help="branch, tag or commit of a hub id (default: its main branch)",
    ),
    Option(
        name="weights",
        metavar="FILE",
        parse=nonempty,
        help=(
            "of a folder or hub id with several sets of weights, the one that is the model: a *.safetensors file, a"
            " *.safetensors.index.json or a *.gguf file, by its path there"
        ),
    ),
    Option(
        name="dtype", metavar="DTYPE", parse=dtype_name, help="auto (the checkpoint's own, default), bf16, fp16 or fp32"
    ),
    Option(
        name="device",
        metavar="DEVICE",
        parse=device_name,
        help=(
            "auto (default: CUDA if there is one, else CPU, and whole, split or offloaded as memory allows), cpu, cuda,"
            " cuda:N, split (over all GPUs), offload (to memory and disk), stream (one layer in memory) or"
            " tensor-parallel (every layer over the ranks of torchrun)"
        ),
    ),
    Option(
        name="arithmetic",
        metavar="HOW",
        parse=choice_of(*ARITHMETIC),
        help=(
            "of a 16-bit model on a CPU: native, or float32-accumulate, products in float32 and rounded, as a GPU does"
            " (auto, the default: where the CPU has no units for the format)"
        ),
    ),
    Option(
        name="trust-remote-code",
        parse=truth,
        help=f"run modelling code that comes with the weights; a hub id then needs {setting('revision')} with a commit",
    ),
    Option(
        name="corpus",
        metavar="FILE",
        parse=place,
        is_path=True,
        help='JSON lines {"text", "category"} or {"input_ids", "category"} (default: the built-in corpus)',
    ),
    Option(
        name="corpus-tokenizer",
        metavar="PATH_OR_HUB_ID",
        parse=place,
        is_path=True,
        help="tokenizer that a corpus of input_ids was encoded with",
    ),
    Option(
        name="max-samples",
        metavar="N",
        parse=positive_number,
        help="a subset of N samples, categories in proportion (default: all)",
    ),
    Option(
        name="max-tokens",
        metavar="N",
        parse=positive_number,
        help="at most N tokens, whole samples, categories in proportion (default: all)",
    ),
    Option(
        name="until-saturated",
        metavar="TOKENS",
        parse=positive_number,
        help="end the pass once no maximum that a limit binds (without limits: of any site) rose for TOKENS tokens,"
        " categories in proportion (default: run all)",
    ),
    Option(
        name="max-seq-len",
        metavar="N",
        parse=positive_number,
        help="cut samples after N tokens (default: 4096, or the model's own limit)",
    ),
    Option(
        name="batch-tokens",
        metavar="N",
        parse=batch_size,
        help="tokens per forward pass, padding included, or auto: as many as the device holds (default: 8192)",
    ),
    Option(
        name="shard",
        metavar="K/N",
        parse=shard,
        help=(
            "measure the K-th of N parts of the batches, counted from 1, and judge nothing; `maxact merge` makes the"
            " whole of all N Records"
        ),
    ),
    Option(
        name="seed",
        metavar="N",
        parse=whole_number,
        help=(
            f"which subset {setting('max_samples')} and {setting('max_tokens')} draw, the order of"
            f" {setting('until_saturated')}, and what {setting('stress')} and {setting('hunt')} try (default: 0)"
        ),
    ),
    Option(
        name="protocol",
        metavar="NAME",
        parse=choice_of("paper", "deployed"),
        help="paper (no special tokens, default) or deployed (special tokens, chat template)",
    ),
)
