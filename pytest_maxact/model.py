"""A path or hub id to a loaded checkpoint: config, weights, tokenizer, and the identity of each.

Weights are data: safetensors only. `trust_remote_code` is off unless asked for, and for a hub id only with a pinned commit. What the
checkpoint leaves out of the decoder, or holds beyond it, is refused: a half-loaded model would be measured, and pass.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.settings import Settings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "tokenizer*", "merges*", "vocab*"]
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w][\w.-]*)?$")
_LAYER_KEY = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")
_DERIVED_KEYS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(?:masked_)?bias$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a checkpoint lies and what its config says; no weights are loaded yet."""

    name: str
    folder: Path
    revision: str | None
    config: Any
    trust_remote_code: bool
    is_hub: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The base model (no LM head) in evaluation mode, its decoder, and what of the checkpoint stays outside the measurement."""

    model: nn.Module
    decoder: nn.Module
    dtype: str
    device: torch.device
    left_out: tuple[str, ...]


def locate(settings: Settings) -> Checkpoint:
    """Find the checkpoint and read its config. Raises InputError for everything a caller can get wrong before weights are loaded."""
    name = settings.model
    if name is None:
        raise InputError("no model given\n  use --maxact-model=PATH_OR_HUB_ID")
    path = Path(name).expanduser()
    is_hub = not path.exists()
    if is_hub:
        folder = _fetch(name, settings, _SMALL_FILES + (["*.py"] if settings.trust_remote_code else []))
    elif path.is_dir():
        folder = path
    else:
        raise InputError(f"--maxact-model {name} is a file\n  give the folder that holds config.json and the weights")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a model directory: it has no config.json\n  give a folder written by save_pretrained, or a hub id"
        )
    if not is_hub or any(folder.glob("*.safetensors")):
        check_weight_files(folder)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=settings.revision or (folder.name if is_hub and _COMMIT.match(folder.name) else None),
        config=_read_config(folder, settings.trust_remote_code),
        trust_remote_code=settings.trust_remote_code,
        is_hub=is_hub,
    )


def _fetch(name: str, settings: Settings, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if not _HUB_ID.match(name) or name.count("/") > 1:
        raise InputError(
            f"no model at {name}: there is no such folder, and it is not a hub id\n  give a folder with config.json, or a hub id such as org/name"
        )
    if settings.trust_remote_code and not _COMMIT.match(settings.revision or ""):
        raise InputError(
            "--maxact-trust-remote-code runs the repository's own code, so it needs the commit that was reviewed\n"
            "  add --maxact-revision=<40-digit commit>"
        )
    try:
        return Path(snapshot_download(name, revision=settings.revision, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except (OSError, ValueError, RuntimeError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        at = f" at revision {settings.revision}" if settings.revision else ""
        raise InputError(
            f"no model {name}{at}: no such folder here, not in the hub cache, and the hub did not give it ({reason[:160]})\n"
            "  check the path or id, the revision, the network or HF_HOME"
        ) from error


def _read_config(folder: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: not readable as JSON ({error})\n  restore the file from the checkpoint") from error
    has_code = bool(raw.get("auto_map"))
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        if has_code and not trust_remote_code:
            hint = "its code comes with the weights: review it, then add --maxact-trust-remote-code (a hub id needs --maxact-revision too)"
        else:
            hint = "check model_type, or upgrade transformers"
        reason = str(error).strip().splitlines()[0][:160]
        raise InputError(f"{folder / 'config.json'}: transformers cannot read this config ({reason})\n  {hint}") from error


def check_weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, each with a sound header and its full length.

    Raises InputError for pickle-only weights, no weights, a missing shard, and a corrupt or truncated file.
    """
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        pickles = sorted(
            p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern) if p.name != "training_args.bin"
        )
        if pickles:
            raise InputError(
                f"{folder} holds pickled weights only ({pickles[0]}); pickles can run code and are not loaded\n"
                "  convert them to safetensors: save_pretrained(FOLDER, safe_serialization=True)"
            )
        raise InputError(f"{folder} has a config but no weights (*.safetensors)\n  point --maxact-model at the checkpoint itself")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{index}: not a weight index ({error})\n  restore the file from the checkpoint") from error
        missing = sorted(named - {shard.name for shard in shards})
        if missing:
            raise InputError(f"{folder} lacks {len(missing)} of its weight files, the first {missing[0]}\n  finish the download or copy")
    for shard in shards:
        _check_header(shard)
    return shards


def _check_header(shard: Path) -> None:
    size = shard.stat().st_size
    try:
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if size != 8 + length + end:
            raise ValueError(f"it has {size} bytes where its header promises {8 + length + end}")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{shard} is corrupt or truncated: {error}\n  copy or download it again") from error


def weights_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the weight files, and of any code beside them."""
    state = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.py")]):
        state.update(file.name.encode())
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest() if hasattr(hashlib, "file_digest") else _file_digest(stream))
    return state.hexdigest()


def _file_digest(stream: Any) -> bytes:
    state = hashlib.sha256()
    while block := stream.read(1 << 20):
        state.update(block)
    return state.digest()


def skeleton(checkpoint: Checkpoint) -> nn.Module:
    """The model's modules on the meta device: no weights, no memory; what the sites are resolved on before anything is loaded."""
    with torch.device("meta"), _quiet():
        try:
            return _auto_class(checkpoint).from_config(checkpoint.config, trust_remote_code=checkpoint.trust_remote_code)  # type: ignore[no-any-return]
        except Exception as error:
            raise InputError(
                f"transformers cannot build {checkpoint.config.model_type!r} from {checkpoint.folder / 'config.json'}: {_first_line(error)}"
            ) from error


def load(checkpoint: Checkpoint, settings: Settings) -> LoadedModel:
    """Load the weights. Raises MeasureError where they are incomplete, do not fit the config, or do not fit into memory."""
    folder = checkpoint.folder
    if checkpoint.is_hub:
        patterns = [*_SMALL_FILES, "*.safetensors", *(["*.py"] if checkpoint.trust_remote_code else [])]
        folder = _fetch(checkpoint.name, settings, patterns)
    check_weight_files(folder)
    device = pick_device(settings.device)
    with _quiet():
        try:
            model, info = _auto_class(checkpoint).from_pretrained(
                folder,
                dtype=DTYPES.get(settings.dtype, "auto"),
                trust_remote_code=checkpoint.trust_remote_code,
                use_safetensors=True,
                output_loading_info=True,
            )
            model = model.eval().to(device)
        except Exception as error:
            raise MeasureError(
                f"cannot load the weights of {checkpoint.name}: {_first_line(error)}\n  see that the files are whole and fit the memory of {device}"
            ) from error
    decoder = decoder_of(model)
    left_out = _refuse_partial(model, decoder, info, checkpoint)
    floats = {p.dtype for p in decoder.parameters() if p.is_floating_point()}
    dtype = model.dtype if model.dtype in floats else next(iter(floats))
    return LoadedModel(model=model, decoder=decoder, dtype=str(dtype).removeprefix("torch."), device=device, left_out=left_out)


def decoder_of(model: nn.Module) -> nn.Module:
    """The language backbone: of a composite model its text part, of a model with a head its base."""
    base = getattr(model, "base_model", model)
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else base  # type: ignore[operator]
    return decoder if isinstance(decoder, nn.Module) else base


def pick_device(wanted: str) -> torch.device:
    """The device named, or for "auto" CUDA where there is one, else the CPU. Raises InputError for one this machine lacks."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--maxact-device {wanted}: not available here ({_first_line(error)})\n  use cpu, or auto") from error
    return device


def load_tokenizer(source: str | Path, trust_remote_code: bool, revision: str | None = None) -> Any:
    """The tokenizer beside the weights, or of a hub id. Raises InputError where there is none."""
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, revision=revision)
        except Exception as error:
            raise InputError(
                f"no tokenizer in {source}: {_first_line(error)}\n  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
            ) from error
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            f"no tokenizer in {source}: none of its files holds a vocabulary\n  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
        )
    return tokenizer


def _auto_class(checkpoint: Checkpoint) -> Any:
    """`AutoModel` where the architecture has a headless class, else `AutoModelForCausalLM`, whose head is then not run."""
    from transformers import AutoModel, AutoModelForCausalLM

    remote = getattr(checkpoint.config, "auto_map", None) or {}
    if checkpoint.trust_remote_code and remote and "AutoModel" not in remote:
        return AutoModelForCausalLM
    known = type(checkpoint.config) in AutoModel._model_mapping
    return AutoModel if known or "AutoModel" in remote else AutoModelForCausalLM


def _refuse_partial(model: nn.Module, decoder: nn.Module, info: dict[str, Any], checkpoint: Checkpoint) -> tuple[str, ...]:
    prefix = next((f"{name}." if name else "" for name, module in model.named_modules() if module is decoder), "")
    inside = [key for key in info["missing_keys"] if key.startswith(prefix)]
    if inside:
        raise _partial(checkpoint, f"lack {len(inside)} tensors that the config calls for", inside)
    mismatched = [str(entry[0]) if isinstance(entry, (tuple, list)) else str(entry) for entry in info.get("mismatched_keys") or ()]
    if mismatched:
        raise _partial(checkpoint, f"have {len(mismatched)} tensors of another shape than the config calls for", mismatched)
    if problems := list(info.get("error_msgs") or ()):
        raise _partial(checkpoint, "did not load", problems)
    text = checkpoint.config.get_text_config()
    depth, extra = text.num_hidden_layers, int(getattr(text, "num_nextn_predict_layers", 0) or 0)
    unexpected = [key for key in info["unexpected_keys"] if not _DERIVED_KEYS.search(key)]
    layer_keys = [
        (int(match.group(1)), key)
        for key in unexpected
        if (match := _LAYER_KEY.search(key)) and "vision" not in key and "visual" not in key
    ]
    predictors = {layer for layer, _ in layer_keys if depth <= layer < depth + extra}
    stray = sorted(key for layer, key in layer_keys if layer not in predictors)
    if stray:
        raise _partial(checkpoint, f"hold {len(stray)} decoder tensors that the config does not use", stray)
    left_out = [f"layers.{layer}: multi-token prediction" for layer in sorted(predictors)]
    others = sorted({key.split(".")[0] for key in unexpected if not _LAYER_KEY.search(key)})
    left_out += [f"{name}: not part of the decoder" for name in others]
    if model is not decoder:
        left_out += [f"{name}: not part of the decoder" for name, child in model.named_children() if decoder not in child.modules()]
    return tuple(left_out)


def _partial(checkpoint: Checkpoint, what: str, names: Iterable[str]) -> MeasureError:
    listed = sorted(names)
    return MeasureError(
        f"the weights of {checkpoint.name} {what}, the first {listed[0]}\n"
        "  config.json and the weight files do not belong together; export the checkpoint again"
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers without progress bars and reports; what matters of them is checked and raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
