"""What a run was asked to do, resolved once: command line, then ini file, then default.

One table declares every option; the pytest plugin and the `maxact` command both read it. Standard library only: this is
imported at every start of pytest.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from glob import has_magic
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a run; the fields are the options of `OPTIONS`, named as on the command line."""

    model: str | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    corpus: str | None = None
    corpus_tokenizer: str | None = None
    max_samples: int | None = None
    max_tokens: int | None = None
    max_seq_len: int = 4096
    batch_tokens: int = 8192
    seed: int = 0
    protocol: str = "paper"
    sites: str = "paper"
    schemes: tuple[str, ...] = ()
    effect: tuple[str, ...] = ()
    deploy: tuple[str, ...] = ()
    limits: str | None = None
    family: str | None = None
    baseline: tuple[str, ...] = ()
    horizon: int | None = None
    cache: str | None = None
    save: str | None = None
    slim: bool = False
    replay: str | None = None
    update: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether a gate was asked for at all."""
        return self.model is not None or self.replay is not None

    @property
    def linear_inputs(self) -> bool:
        """Whether the inputs of linear layers are observed: asked for, or needed by a scheme."""
        return self.sites == "deploy" or bool(self.schemes_measured)

    @property
    def schemes_measured(self) -> tuple[str, ...]:
        """Schemes that the pass quantizes with; where the deploy sites were asked for and no scheme, the usual ones."""
        from pytest_maxact.schemes.table import DEFAULT_SCHEMES

        named = tuple(dict.fromkeys((*self.schemes, *self.deploy, *self.effect)))
        return named or (DEFAULT_SCHEMES if self.sites == "deploy" else ())

    @property
    def effects_measured(self) -> tuple[str, ...]:
        """Schemes whose effect on predictions is measured: asked for, or gated."""
        return tuple(dict.fromkeys((*self.effect, *self.deploy)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: `--maxact-<name>` for pytest, `--<name>` for the command, ini key `maxact_<name>`."""

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
    def is_flag(self) -> bool:
        return self.metavar is None


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def _positive(value: str) -> int:
    try:
        number = int(value.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number above 0")
    return number


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number") from None


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(allowed)}")
        return value

    return parse


def _schemes(value: str) -> tuple[str, ...]:
    from pytest_maxact.schemes.table import scheme_called

    names = [name.strip() for name in value.split(",") if name.strip()]
    try:
        found = tuple(dict.fromkeys(scheme_called(name).name for name in names))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).replace("\n ", ";")) from None
    if not found:
        raise argparse.ArgumentTypeError("names no scheme")
    return found


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a device: auto, cpu, cuda, cuda:1")
    return value


def _boolean(value: str) -> bool:
    if value.lower() in ("true", "1", "yes", "on"):
        return True
    if value.lower() in ("false", "0", "no", "off", ""):
        return False
    raise argparse.ArgumentTypeError(f"{value!r} is not true or false")


OPTIONS = (
    Option(
        name="model",
        metavar="PATH_OR_HUB_ID",
        parse=_text,
        is_path=True,
        help=(
            "the checkpoint to gate: a folder written by save_pretrained, or a hub id; a pattern ('runs/checkpoint-*')"
            " for a series of them"
        ),
    ),
    Option(
        name="revision", metavar="REV", parse=_text, help="branch, tag or commit of a hub id (default: its main branch)"
    ),
    Option(
        name="dtype",
        metavar="DTYPE",
        parse=_choice("auto", "bf16", "fp16", "fp32"),
        help="auto (the checkpoint's own, default), bf16, fp16 or fp32",
    ),
    Option(
        name="device",
        metavar="DEVICE",
        parse=_device,
        help="auto (CUDA if there is one, else CPU; default), cpu, cuda or cuda:N",
    ),
    Option(
        name="trust-remote-code",
        parse=_boolean,
        help="run modelling code that comes with the weights; a hub id then needs --maxact-revision with a commit",
    ),
    Option(
        name="corpus",
        metavar="FILE",
        parse=_text,
        is_path=True,
        help='JSON lines {"text", "category"} or {"input_ids", "category"} (default: the built-in corpus)',
    ),
    Option(
        name="corpus-tokenizer",
        metavar="PATH_OR_HUB_ID",
        parse=_text,
        is_path=True,
        help="tokenizer that a corpus of input_ids was encoded with",
    ),
    Option(
        name="max-samples",
        metavar="N",
        parse=_positive,
        help="a subset of N samples, categories in proportion (default: all)",
    ),
    Option(
        name="max-tokens",
        metavar="N",
        parse=_positive,
        help="at most N tokens, whole samples, categories in proportion (default: all)",
    ),
    Option(
        name="max-seq-len",
        metavar="N",
        parse=_positive,
        help="cut samples after N tokens (default: 4096, or the model's own limit)",
    ),
    Option(
        name="batch-tokens",
        metavar="N",
        parse=_positive,
        help="tokens per forward pass, padding included (default: 8192)",
    ),
    Option(
        name="seed",
        metavar="N",
        parse=_whole,
        help="which subset --maxact-max-samples and --maxact-max-tokens draw (default: 0)",
    ),
    Option(
        name="protocol",
        metavar="NAME",
        parse=_choice("paper", "deployed"),
        help="paper (no special tokens, default) or deployed (special tokens, chat template)",
    ),
    Option(
        name="sites",
        metavar="WHICH",
        parse=_choice("paper", "deploy"),
        help="paper (default), or deploy: the inputs of linear layers too, which is what low-bit kernels quantize",
    ),
    Option(
        name="schemes",
        metavar="NAMES",
        parse=_schemes,
        help=(
            "quantize the inputs of linear layers and their weights with these schemes and report the error, e.g."
            " W8A8,FP8_DYNAMIC"
        ),
    ),
    Option(
        name="effect",
        metavar="NAMES",
        parse=_schemes,
        help="run evaluation samples under these schemes and report what they do to predictions (runs the LM head)",
    ),
    Option(
        name="deploy",
        metavar="NAMES",
        parse=_schemes,
        measures=False,
        help="make fitness for these schemes a set of checks, with the limits of `deploy:` in the limits file",
    ),
    Option(
        name="limits",
        metavar="FILE",
        parse=_text,
        is_path=True,
        measures=False,
        help="limits file (default: the shipped thresholds.yaml)",
    ),
    Option(
        name="family",
        metavar="NAME",
        parse=_text,
        measures=False,
        help="judge by this family's limits, or `generic` (default: by model_type)",
    ),
    Option(
        name="baseline",
        metavar="RECORD_OR_MODEL",
        parse=_text,
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
        parse=_positive,
        measures=False,
        help="of a series: warn of maxima whose growth, continued, crosses a limit before this training step",
    ),
    Option(
        name="cache",
        metavar="DIR",
        parse=_text,
        is_path=True,
        help=(
            "keep Records here by the content they were measured from (default: in .pytest_cache for a series or a"
            " baseline model, else nowhere)"
        ),
    ),
    Option(
        name="save",
        metavar="FILE",
        parse=_text,
        is_path=True,
        help="write the Record of the pass to FILE, those of a series into the folder FILE",
    ),
    Option(
        name="slim", parse=_boolean, help="write Records without histograms: figures only, for verdicts and comparisons"
    ),
    Option(
        name="replay",
        metavar="FILE",
        parse=_text,
        is_path=True,
        measures=False,
        help="judge a saved Record; no model is loaded; a pattern for a series of them",
    ),
    Option(
        name="update",
        metavar="new|all",
        parse=_choice("new", "all"),
        measures=False,
        help="write limits for what has none (new), or for everything (all), to --maxact-limits FILE; refused in CI",
    ),
)


def resolve(
    given: Mapping[str, Any], ini: Callable[[str], str | None] = lambda _: None, folder: Path | None = None
) -> Settings:
    """Settings from parsed command-line values (None where not given) and a reader of ini values, whose paths start
    from `folder`.

    Raises InputError for a bad ini value, options that exclude each other, and options that would silently do nothing:
    those of a gate that nobody asked for, and those of a measurement where a Record is replayed. In an ini file such
    values lie idle.
    """
    values: dict[str, Any] = {}
    explicit = {option.name for option in OPTIONS if given.get(option.field) is not None}
    for option in OPTIONS:
        value = given.get(option.field)
        if value is None and (text := ini(option.field)):
            value = _from_ini(option, text, folder)
        if value is not None:
            values[option.field] = _expanded(option, value)
    for given_name, other in (("replay", "model"), ("model", "replay")):
        if given_name in explicit and other not in explicit:
            values.pop(other, None)
    if "replay" in values and "model" in values:
        raise InputError(
            "--maxact-model measures a checkpoint and --maxact-replay judges a saved Record; give one of them"
        )
    if "update" in values and "update" not in explicit:
        raise InputError(
            "maxact_update in an ini file would rewrite limits at every run\n"
            "  give --maxact-update on the command line, when you mean it"
        )
    if "horizon" in explicit and not has_magic(values.get("replay", values.get("model", "*"))):
        raise InputError(
            "--maxact-horizon looks ahead of a series, and this run has one checkpoint\n"
            "  give a pattern, as in --maxact-model='runs/checkpoint-*'"
        )
    if explicit and "replay" not in values and "model" not in values:
        raise InputError(
            f"--maxact-{min(explicit)} does nothing without --maxact-model or --maxact-replay\n"
            "  give one of them, or leave it out"
        )
    if values.get("slim") and "slim" in explicit and not {"save", "replay"} & values.keys():
        raise InputError("--maxact-slim does nothing without --maxact-save\n  give it a file, or leave it out")
    if "replay" in values:
        if idle := sorted(
            option.name for option in OPTIONS if option.measures and option.name in explicit - {"model", "protocol"}
        ):
            raise InputError(
                f"--maxact-{idle[0]} shapes a measurement, and --maxact-replay makes none\n  leave one of them out"
            )
        values = {
            name: value
            for name, value in values.items()
            if name in _JUDGING or (name in given and given[name] is not None)
        }
    return Settings(**{field.name: values[field.name] for field in fields(Settings) if field.name in values})


def _from_ini(option: Option, text: str, folder: Path | None) -> Any:
    """An ini value, or several, one to a line. Paths start from `folder`; what may be a hub id only where there is such
    a path.
    """
    found = []
    for entry in filter(None, map(str.strip, text.splitlines())) if option.repeatable else [text]:
        try:
            value = option.parse(entry)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"ini option maxact_{option.field}: {error}") from error
        if option.is_path and folder is not None:
            path = folder / Path(value).expanduser()
            value = (
                str(path) if option.name not in ("model", "baseline") or path.exists() or has_magic(value) else value
            )
        found.append(value)
    return found if option.repeatable else found[0]


def _expanded(option: Option, value: Any) -> Any:
    if option.repeatable:
        return tuple(str(Path(entry).expanduser()) for entry in dict.fromkeys(value))
    return str(Path(value).expanduser()) if option.is_path else value


_JUDGING = frozenset(option.field for option in OPTIONS if not option.measures)
