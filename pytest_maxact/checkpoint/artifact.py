"""The artifact that a verdict is about: a folder in, the names of its files and their SHA-256 out. No torch.

More than what is measured: every part of the checkpoint, so that no loader is given what the gate did not see.
"""

from collections.abc import Iterable
from pathlib import Path

from pytest_maxact.checkpoint.digest import file_digest
from pytest_maxact.checkpoint.parts import parts
from pytest_maxact.errors import InputError


def artifact_digests(folder: Path, more: Iterable[Path] = ()) -> dict[str, str]:
    """The SHA-256 of every file, by its path in the folder. `more`: files below it that are loaded too. Raises
    InputError where one cannot be read.
    """
    try:
        files = sorted({*parts(folder), *more})
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})\n  give the folder of a checkpoint") from error
    found = {}
    for file in files:
        try:
            found[file.relative_to(folder).as_posix()] = file_digest(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})\n  finish the download or copy") from error
    return found
