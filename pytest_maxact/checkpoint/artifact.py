"""The artifact that a verdict is about: a folder in, the names of its files and their SHA-256 out. No torch.

More than what is measured: every part of the checkpoint, so that no loader is given what the gate did not see.
"""

from collections.abc import Iterable
from pathlib import Path

from pytest_maxact.checkpoint.digest import file_digest
from pytest_maxact.checkpoint.parts import is_small, parts
from pytest_maxact.errors import InputError
from pytest_maxact.settings.userfiles import refuse_stand_in, unreadable


def refuse_stand_ins(folder: Path) -> None:
    """Raise InputError where a small file of the artifact is a pointer to one, or may not be read: a template would be
    taken for what it points to.
    """
    for file in filter(is_small, _parts(folder)):
        refuse_stand_in(file)


def artifact_digests(folder: Path, more: Iterable[Path] = ()) -> dict[str, str]:
    """The SHA-256 of every file, by its path in the folder. `more`: files below it that are loaded too. Raises
    InputError where one cannot be read.
    """
    found = {}
    for file in sorted({*_parts(folder), *more}):
        try:
            found[file.relative_to(folder).as_posix()] = file_digest(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})\n  finish the download or copy") from error
    return found


def _parts(folder: Path) -> list[Path]:
    try:
        return parts(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
