"""By what a checkpoint's weights are known: the digest of the files that are loaded, and of any code beside them."""

import hashlib
from typing import Any

from pytest_maxact.checkpoint.files import WeightFiles


def weights_digest(files: WeightFiles) -> str:
    """SHA-256 over the names and contents of the loaded weight files, and of any code beside them."""
    state = hashlib.sha256()
    for file in sorted({*files.loaded, *files.folder.glob("*.py")}):
        state.update(files.name(file).encode())
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
