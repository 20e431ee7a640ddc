"""Which files make the artifact that a verdict is about, and their digests: a folder in, names and SHA-256 out. No
torch.

More than what is measured: weights of every format, configs, tokenizer, templates and code, so that no loader is given
what the gate did not see. What a training run or a person leaves beside them is not part of it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pytest_maxact.checkpoint.digest import file_digest
from pytest_maxact.errors import InputError

_PARTS = re.compile(
    r"^(?:.*config\.json|.*\.index\.json|special_tokens_map\.json|added_tokens\.json|dict\.txt|modules\.json"
    r"|params\.json|tokenizer.*|tekken.*|vocab.*|merges.*|chat_template.*"
    r"|.*\.(?:model|spm|tiktoken|jinja|codes|bpe|vocab|py)"
    r"|.*\.(?:safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx))$"
)
_TRAINING = re.compile(r"^(?:training_args|optimizer|scheduler|scaler|rng_state|events)\b.*|^rng_state.*")
"""What trainers save beside a model, to go on."""


def artifact_files(folder: Path) -> list[Path]:
    """In the order of their names."""
    templates = folder / "additional_chat_templates"
    try:
        inside = [*folder.iterdir(), *(templates.iterdir() if templates.is_dir() else ())]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})\n  give the folder of a checkpoint") from error
    return sorted(
        file for file in inside if _PARTS.match(file.name) and not _TRAINING.match(file.name) and not file.is_dir()
    )


def artifact_digests(folder: Path, more: Iterable[Path] = ()) -> dict[str, str]:
    """The SHA-256 of every file, by its path in the folder. `more`: files below it that are loaded too. Raises
    InputError where one cannot be read.
    """
    found = {}
    for file in sorted({*artifact_files(folder), *more}):
        try:
            found[file.relative_to(folder).as_posix()] = file_digest(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})\n  finish the download or copy") from error
    return found
