"""By what a checkpoint's weights are known: the digest of its files, and stamps that tell whether somebody wrote
there.
"""

import hashlib
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError, setting


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
            f"  point {setting('model')} at the checkpoint itself"
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
