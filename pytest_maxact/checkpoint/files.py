"""The weight files of a checkpoint: which there are, whether they are whole, and what their headers say."""

import json
import re
from pathlib import Path

from pytest_maxact.checkpoint.headers import FLOATS, Header, headers_of
from pytest_maxact.errors import InputError, setting

_WEIGHT = re.compile(r"(?:\.weight|_proj)$")


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
            f"{folder} has a config but no weights (*.safetensors)\n  point {setting('model')} at the checkpoint itself"
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
        _headers(shard)
    return shards


def low_bit_weights(folder: Path) -> list[tuple[str, str]]:
    """Weights that the files hold as integers or eight-bit floats, with their dtype: a checkpoint that does not say it
    is quantized has none.
    """
    held = [header for shard in sorted(folder.glob("*.safetensors")) for header in _headers(shard)]
    return [(one.key, one.dtype) for one in held if _WEIGHT.search(one.key) and one.dtype not in FLOATS]


def _headers(shard: Path) -> list[Header]:
    try:
        return headers_of(shard)
    except ValueError as error:
        raise InputError(f"{shard} is corrupt or truncated: {error}\n  copy or download it again") from error
