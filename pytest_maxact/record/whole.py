"""Files that are written whole or not at all."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NAMED = 180
"""Bytes of its name, of the 255 that a name may have: what tells it from others follows them."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that lies whole beside the place it is for, and is put there by renaming."""

    partial: Path
    target: Path

    def put(self) -> None:
        """Raises OSError, and then leaves nothing behind, as where it is interrupted."""
        try:
            os.replace(self.partial, self.target)
        except BaseException:  # what interrupts the process too
            self.drop()
            raise

    def drop(self) -> None:
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)


def write_beside(target: Path, content: bytes, mode: int | None = None) -> Written:
    """Write `content`, with the permissions `mode` where they are given. Raises OSError, and then leaves nothing
    behind, as where it is interrupted.

    A process that is killed may leave `.NAME.PID.*.partial` beside `target`, which nobody reads. It is made anew and
    never opened: what lies under that name, a link for one, is not written through.
    """
    begins = os.fsencode(target.name)[:_NAMED].decode(errors="ignore")
    partial = target.with_name(f".{begins}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    written = Written(partial, target)
    try:
        with partial.open("xb") as file:
            file.write(content)
        if mode is not None:
            partial.chmod(mode)
    except BaseException:
        written.drop()
        raise
    return written


def write_whole(target: Path, content: bytes, mode: int | None = None) -> None:
    """As `write_beside`, and put it in place."""
    write_beside(target, content, mode).put()
