"""The one table of options, which the pytest plugin and the `maxact` command both read."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_maxact.errors import setting
from pytest_maxact.numbers.arithmetic import ARITHMETIC
from pytest_maxact.settings.parsers import (
    batch_size,
    choice_of,
    device_name,
    dtype_name,
    nonempty,
    positive_number,
    scheme_names,
    shard,
    truth,
    whole_number,
)

PREFIX = "maxact"
"""Of everything that pytest shares with other plugins: options and ini keys."""


def pytest_option(field: str) -> str:
    """A setting as pytest's command line has it."""
    return f"--{PREFIX}-{field.replace('_', '-')}"


class Option(NamedTuple):
    """One option: of pytest, with a prefix; of the command `--<name>`; in an ini file `ini`. Its help names others by
    marks. A named tuple, which is made in a tenth of the time of a dataclass, at every start of pytest.
    """

    name: str
    help: str
    metavar: str | None = None
    parse: Callable[[str], Any] = str
    measures: bool = True
    """Whether it shapes the measurement (and so means nothing for a Record that is already measured)."""
    is_path: bool = False
    repeatable: bool = False
    """Whether it may be given several times; in an ini file its values stand in lines."""

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def ini(self) -> str:
        return f"{PREFIX}_{self.field}"

    @property
    def is_flag(self) -> bool:
        return self.metavar is None


OPTIONS = (
    Option(
        name="model",
        metavar="PATH_OR_HUB_ID",
        parse=nonempty,
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
            "of a folder with several sets of weights, the one that is the model: a *.safetensors file or a"
            " *.safetensors.index.json, by its path in the folder"
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
            " cuda:N, split (over all GPUs), offload (to memory and disk) or stream (one layer in memory)"
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
        parse=nonempty,
        is_path=True,
        help='JSON lines {"text", "category"} or {"input_ids", "category"} (default: the built-in corpus)',
    ),
    Option(
        name="corpus-tokenizer",
        metavar="PATH_OR_HUB_ID",
        parse=nonempty,
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
        help=f"which subset {setting('max_samples')} and {setting('max_tokens')} draw (default: 0)",
    ),
    Option(
        name="protocol",
        metavar="NAME",
        parse=choice_of("paper", "deployed"),
        help="paper (no special tokens, default) or deployed (special tokens, chat template)",
    ),
    Option(
        name="sites",
        metavar="WHICH",
        parse=choice_of("paper", "deploy", "attention", "all"),
        help=(
            "paper (default); deploy: the inputs of linear layers too, which is what low-bit kernels quantize;"
            " attention: queries, keys, values and the largest scores too; all: both"
        ),
    ),
    Option(
        name="schemes",
        metavar="NAMES",
        parse=scheme_names,
        help=(
            "quantize the inputs of linear layers and their weights with these schemes and report the error, e.g."
            " W8A8,FP8_DYNAMIC"
        ),
    ),
    Option(
        name="effect",
        metavar="NAMES",
        parse=scheme_names,
        help="run evaluation samples under these schemes and report what they do to predictions (runs the LM head)",
    ),
    Option(
        name="deploy",
        metavar="NAMES",
        parse=scheme_names,
        measures=False,
        help="make fitness for these schemes a set of checks, with the limits of `deploy:` in the limits file",
    ),
    Option(
        name="limits",
        metavar="FILE",
        parse=nonempty,
        is_path=True,
        measures=False,
        help="limits file (default: the shipped thresholds.yaml)",
    ),
    Option(
        name="family",
        metavar="NAME",
        parse=nonempty,
        measures=False,
        help="judge by this family's limits, or `generic` (default: by model_type)",
    ),
    Option(
        name="baseline",
        metavar="RECORD_OR_MODEL",
        parse=nonempty,
        is_path=True,
        measures=False,
        repeatable=True,
        help=(
            "compare every site with an earlier Record, or with a checkpoint that is measured likewise; may be given"
            " several times"
        ),
    ),
    Option(
        name="horizon",
        metavar="STEP",
        parse=positive_number,
        measures=False,
        help="of a series: warn of maxima whose growth, continued, crosses a limit before this training step",
    ),
    Option(
        name="cache",
        metavar="DIR",
        parse=nonempty,
        is_path=True,
        help=(
            "keep Records here by the content they were measured from (default: in .pytest_cache for a series or a"
            " baseline model, else nowhere)"
        ),
    ),
    Option(
        name="resume",
        metavar="on|off",
        parse=choice_of("on", "off"),
        help="on (default): a measurement that was killed goes on where it was; off: it begins anew and keeps nothing",
    ),
    Option(
        name="save",
        metavar="FILE",
        parse=nonempty,
        is_path=True,
        help="write the Record of the pass to FILE, those of a series into the folder FILE",
    ),
    Option(
        name="slim", parse=truth, help="write Records without histograms: figures only, for verdicts and comparisons"
    ),
    Option(
        name="replay",
        metavar="FILE",
        parse=nonempty,
        is_path=True,
        measures=False,
        help="judge a saved Record; no model is loaded; a pattern for a series of them",
    ),
    Option(
        name="update",
        metavar="new|all",
        parse=choice_of("new", "all"),
        measures=False,
        help=(
            f"write limits for what has none (new), or for everything (all), to {setting('limits')} FILE; refused in CI"
        ),
    ),
    Option(
        name="loosen",
        parse=truth,
        measures=False,
        help=f"with {setting('update')} all: also write limits that let more pass than those that are there",
    ),
    Option(
        name="strict",
        parse=truth,
        measures=False,
        help="refuse to judge on too little text, which is a warning otherwise",
    ),
    Option(
        name="verdict",
        metavar="FILE",
        parse=nonempty,
        is_path=True,
        measures=False,
        help=(
            "write what the gate found to FILE, last and whole, as a statement that a release rests on; `maxact verify`"
            " holds it against the artifact"
        ),
    ),
)
