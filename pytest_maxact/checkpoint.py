"""A path or hub id to a checkpoint's folder, config and weight files; everything that can be wrong before weights are
loaded.

Weights are data: safetensors only. `trust_remote_code` is off unless asked for, and for a hub id only with a pinned
commit.
"""

import hashlib
import json
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError, first_line
from pytest_maxact.settings import Settings

_SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "tokenizer*", "merges*", "vocab*"]
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_WEIGHT = re.compile(r"(?:\.weight|_proj)$")
_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w][\w.-]*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a checkpoint lies and what its config says; no weights are loaded yet."""

    name: str
    folder: Path
    revision: str | None
    config: Any
    trust_remote_code: bool
    is_hub: bool


def locate(settings: Settings, weights: bool = True) -> Checkpoint:
    """Find the checkpoint and read its config. Raises InputError for everything a caller can get wrong before weights
    are loaded.

    Without `weights` a folder need not hold any, and the config file itself may be named.
    """
    name = settings.model
    if name is None:
        raise InputError("no model given\n  use --maxact-model=PATH_OR_HUB_ID")
    path = Path(name).expanduser()
    is_hub = not path.exists()
    if is_hub:
        folder = fetch(name, settings)
    elif path.is_dir():
        folder = path
    elif not weights and path.suffix == ".json":
        return Checkpoint(
            name=name, folder=path.parent, revision=None, config=_read_config(path, settings.trust_remote_code),
            trust_remote_code=settings.trust_remote_code, is_hub=False,
        )  # fmt: skip
    else:
        raise InputError(
            f"{name} is a file\n  give the folder that holds config.json and the weights"
            + ("" if weights else ", or the config.json itself")
        )
    if reason := of_adapters(folder):
        raise InputError(f"{folder} is not a model directory: {reason}")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a model directory: it has no config.json\n"
            "  give a folder written by save_pretrained, or a hub id"
        )
    if weights and (not is_hub or any(folder.glob("*.safetensors"))):
        check_weight_files(folder)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=folder.name if is_hub else None,
        config=_read_config(folder / "config.json", settings.trust_remote_code),
        trust_remote_code=settings.trust_remote_code,
        is_hub=is_hub,
    )


def with_weights(checkpoint: Checkpoint, settings: Settings) -> Path:
    """The folder of a located checkpoint, its weights downloaded where they were not, and sound. Raises InputError."""
    folder = checkpoint.folder
    if checkpoint.is_hub:
        folder = fetch(checkpoint.name, replace(settings, revision=checkpoint.revision), weights=True)
    check_weight_files(folder)
    return folder


def of_adapters(folder: Path) -> str:
    """Why a folder is no model where it holds adapters, alone or beside weights that they would change; "" where it
    holds none.
    """
    if not (folder / "adapter_config.json").is_file():
        return ""
    return (
        "it holds adapters (adapter_config.json)\n"
        "  merge them into their base model and save that, as with PeftModel.merge_and_unload() and save_pretrained, "
        "and give that folder"
    )


def fetch(name: str, settings: Settings, weights: bool = False) -> Path:
    """The local snapshot of a hub id: its small files, code where that is trusted, the weights where asked for. Raises
    InputError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if not _HUB_ID.match(name) or name.count("/") > 1:
        raise InputError(
            f"no model at {name}: there is no such folder, and it is not a hub id\n"
            "  give a folder with config.json, or a hub id such as org/name"
        )
    if settings.trust_remote_code and not _COMMIT.match(settings.revision or ""):
        raise InputError(
            "--maxact-trust-remote-code runs the repository's own code, so it needs the commit that was reviewed\n"
            "  add --maxact-revision=<40-digit commit>"
        )
    patterns = [
        *_SMALL_FILES,
        *(["*.py"] if settings.trust_remote_code else []),
        *(["*.safetensors"] if weights else []),
    ]
    try:
        return Path(
            snapshot_download(name, revision=settings.revision, allow_patterns=patterns, ignore_patterns=["*/*"])
        )
    except (OSError, ValueError, RuntimeError, HFValidationError) as error:
        at = f" at revision {settings.revision}" if settings.revision else ""
        raise InputError(
            f"no model {name}{at}: no such folder here, not in the hub cache, and the hub did not give it "
            f"({first_line(error)})\n"
            "  check the path or id, the revision, the network or HF_HOME"
        ) from error


def _read_config(file: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})\n  restore the file from the checkpoint") from error
    if not isinstance(raw, dict):
        raise InputError(
            f"{file}: {type(raw).__name__} where an object was expected\n  restore the file from the checkpoint"
        )
    auto_map = raw.get("auto_map") or {}
    if trust_remote_code and "--" in str(auto_map):
        raise InputError(
            f"{file}: auto_map points to code in another repository, which no revision pins\n"
            "  copy that code beside the weights, review it, and point auto_map at the copy"
        )
    has_code = bool(auto_map)
    try:
        return AutoConfig.from_pretrained(
            file.parent if file.name == "config.json" else file, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        if has_code and not trust_remote_code:
            hint = (
                "its code comes with the weights: review it, then add --maxact-trust-remote-code (a hub id needs"
                " --maxact-revision too)"
            )
        else:
            hint = "check model_type, or upgrade transformers"
        raise InputError(f"{file}: transformers cannot read this config ({first_line(error)})\n  {hint}") from error


def check_weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, each with a sound header and its full length.

    Raises InputError for pickle-only weights, no weights, a missing shard, and a corrupt or truncated file.
    """
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        pickles = sorted(
            p.name
            for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt")
            for p in folder.glob(pattern)
            if p.name != "training_args.bin"
        )
        if pickles:
            raise InputError(
                f"{folder} holds pickled weights only ({pickles[0]}); pickles can run code and are not loaded\n"
                "  convert them to safetensors: save_pretrained(FOLDER, safe_serialization=True)"
            )
        raise InputError(
            f"{folder} has a config but no weights (*.safetensors)\n  point --maxact-model at the checkpoint itself"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{index}: not a weight index ({error})\n  restore the file from the checkpoint"
            ) from error
        missing = sorted(named - {shard.name for shard in shards})
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of its weight files, the first {missing[0]}\n"
                "  finish the download or copy"
            )
    for shard in shards:
        _header(shard)
    return shards


def low_bit_weights(folder: Path) -> list[tuple[str, str]]:
    """Weights that the files hold as integers or eight-bit floats, with their dtype: a checkpoint that does not say it
    is quantized has none.
    """
    held = [
        (name, str(entry["dtype"]))
        for shard in sorted(folder.glob("*.safetensors"))
        for name, entry in _header(shard).items()
    ]
    return [
        (name, dtype) for name, dtype in held if _WEIGHT.search(name) and dtype not in ("BF16", "F16", "F32", "F64")
    ]


def _header(shard: Path) -> dict[str, Any]:
    """The tensors that a file says it holds. Raises InputError unless it is whole."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if size != 8 + length + end:
            raise ValueError(f"it has {size} bytes where its header promises {8 + length + end}")
        return {name: entry for name, entry in header.items() if name != "__metadata__"}
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{shard} is corrupt or truncated: {error}\n  copy or download it again") from error


def weight_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of everything that `weights_digest` reads: it differs where somebody wrote
    there.
    """
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.py")])
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]


def weights_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the weight files, and of any code beside them."""
    state = hashlib.sha256()
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.py")])
    if not any(file.suffix == ".safetensors" for file in files):
        raise InputError(
            f"{folder} has no weights (*.safetensors) to identify the checkpoint by\n"
            "  point --maxact-model at the checkpoint itself"
        )
    for file in files:
        state.update(file.name.encode())
        with file.open("rb") as stream:
            state.update(
                hashlib.file_digest(stream, "sha256").digest()
                if hasattr(hashlib, "file_digest")
                else _file_digest(stream)
            )
    return state.hexdigest()


def _file_digest(stream: Any) -> bytes:
    state = hashlib.sha256()
    while block := stream.read(1 << 20):
        state.update(block)
    return state.digest()
