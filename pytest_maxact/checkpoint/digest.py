"""By what a checkpoint's weights are known: the digest of the files that are loaded, and of any code beside them."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.files import WeightFiles


def weights_digest(files: WeightFiles) -> str:
    """SHA-256 over the names and contents of the loaded weight files, and of any code beside them."""
    state = hashlib.sha256()
    for file in sorted({*files.loaded, *files.folder.glob("*.py")}):
        state.update(files.name(file).encode())
        state.update(bytes.fromhex(file_digest(file)))
    return state.hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content; read once as long as nobody writes there. Raises OSError."""
    told = file.stat()
    return _read(file, (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns))


@functools.lru_cache(maxsize=4096)
def _read(file: Path, told: tuple[int, ...]) -> str:
    with file.open("rb") as stream:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(stream, "sha256").hexdigest()
        return _file_digest(stream).hex()


def _file_digest(stream: Any) -> bytes:
    state = hashlib.sha256()
    while block := stream.read(1 << 20):
        state.update(block)
    return state.digest()
