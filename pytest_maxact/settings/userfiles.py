"""Files that settings name: a path in; its text, or an InputError that says what lies there in place of the file, and
how to get it.

Guard: a pointer of Git LFS, a web page or a file that may not be read is never called corrupt, nor taken for what it
stands for.
"""

import codecs
import errno
import os
import re
import stat
from pathlib import Path

from pytest_maxact.errors import InputError, cut, shown

BOM = codecs.BOM_UTF8
_BEGINNING = 512
_OPEN = re.compile(r"/dev/(fd/\d+|stdin)|/proc/(self|\d+)/fd/\d+")
_MOST_PIPED = 1 << 30
_of_pipes: dict[tuple[str, int, int], bytes] = {}
_LFS = re.compile(rb"version https?://(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)/")
_LFS_SIZE = re.compile(rb"^size (\d+)\s*$", re.MULTILINE)
_ANNEX = re.compile(rb"/annex/objects/")
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<\?xml\b)", re.IGNORECASE)


def text_of(path: Path) -> str:
    """The text of a file, without the byte order mark that some editors begin it with. Raises OSError and
    UnicodeDecodeError.
    """
    return plain_text(content_of(path))


def content_of(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, of a large one `most` and one more; of a pipe that the shell opened, what it gave when it
    was first read. Raises OSError; of what is no file, unopened: a named pipe would be waited for, and a device need
    not end.
    """
    if is_piped(path):
        return _piped(path, most)
    if not stat.S_ISREG(path.stat().st_mode):
        raise NoFileError(errno.EINVAL, f"it is {kind_of(path)}", str(path))
    with path.open("rb") as file:
        return file.read(most + 1 if most >= 0 else -1)


def is_piped(path: Path) -> bool:
    """Whether it is a pipe that is open already, as `<(COMMAND)` of a shell gives it, and no one to wait for."""
    try:
        return bool(_OPEN.fullmatch(str(path))) and stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def short_name(file: str) -> str:
    """What a file is called in a sentence: by its name alone, a pipe as the user gave it."""
    return file if _OPEN.fullmatch(file) else Path(file).name


def _piped(path: Path, most: int) -> bytes:
    """A pipe can be read once, and what is read of it is asked for again."""
    told = path.stat()
    key = (str(path), told.st_dev, told.st_ino)
    if key not in _of_pipes:
        with path.open("rb") as file:
            _of_pipes[key] = file.read((most if most >= 0 else _MOST_PIPED) + 1)
    if most < 0 and len(_of_pipes[key]) > _MOST_PIPED:
        raise NoFileError(errno.EFBIG, f"it is a pipe that gives more than {_MOST_PIPED >> 20} MiB", str(path))
    return _of_pipes[key]


class NoFileError(OSError):
    """Something else than a file lies there."""


def kind_of(path: Path) -> str:
    """What lies at a path, in words; empty for nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return f"a link that leads nowhere ({shown(os.readlink(path))})" if path.is_symlink() else ""
    return _KINDS.get(stat.S_IFMT(mode), "a file")


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def lying(path: Path) -> str:
    """The same for the end of a sentence that says that what is wanted is not there."""
    kind = kind_of(path)
    return f", which is {kind}" if kind else ""


def plain_text(content: bytes) -> str:
    return content.decode("utf-8-sig")


def reachable(path: Path) -> Path:
    """The path. Raises InputError where the system does not let us see whether it is there."""
    try:
        path.stat()
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError):
        pass
    return path


def refuse_stand_in(path: Path) -> None:
    """Raise InputError where what lies at a path is no file of its name, whatever that is, or may not be read."""
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            begins = file.read(_BEGINNING).removeprefix(BOM)
    except OSError as error:
        raise unreadable(path, error) from error
    if _LFS.match(begins):
        size = _LFS_SIZE.search(begins)
        stands = f" that stands for {int(size[1])} bytes" if size else ""
        raise InputError(
            f"{path} is a pointer of Git LFS{stands}, not the file itself\n"
            f"  fetch the files: git -C {path.parent} lfs pull (or download them again)"
        )
    if _ANNEX.match(begins):
        raise InputError(
            f"{path} is a pointer of git-annex, not the file itself\n  fetch it: git annex get {path.name}"
        )
    if _PAGE.match(begins):
        raise InputError(
            f"{path} is a web page or the answer of a server ({_first_word(begins)}), not the file itself\n"
            "  download the file: on the hub its address has `resolve` where that of its page has `blob`"
        )


def refuse_unreadable(path: Path) -> None:
    """As `refuse_stand_in`, for a file that was found to be none of its kind: an empty one is told too."""
    refuse_stand_in(path)
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty\n  copy or download it again")


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a path that the system does not let us read."""
    if isinstance(error, PermissionError):
        return InputError(
            f"{path} may not be read by this user ({error.strerror})\n"
            "  give the user who runs this the right to read it (chmod, chown), or run as one who may"
        )
    mend = "give a file" if isinstance(error, NoFileError) else "copy or download it again, or give another"
    return InputError(f"{path} cannot be read: {error.strerror or error}\n  {mend}")


def refuse_mark(path: Path) -> None:
    """Raise InputError for a file of a checkpoint that begins with a byte order mark, where its loaders want none."""
    if begins_with_mark(path):
        raise InputError(
            f"{path} begins with a byte order mark (BOM), which transformers and what serves it do not read\n"
            f"  remove it: sed -i '1s/^\\xEF\\xBB\\xBF//' {path}"
        )


def begins_with_mark(path: Path) -> bool:
    """Whether a file begins with a byte order mark."""
    try:
        with path.open("rb") as file:
            return file.read(len(BOM)) == BOM
    except OSError:
        return False


def _first_word(begins: bytes) -> str:
    return cut(begins.split()[0].decode("ascii", "replace"), 20) + " ..."
