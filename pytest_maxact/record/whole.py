"""Files that are written whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(target: Path, content: bytes, mode: int | None = None) -> None:
    """Put `content` in place by renaming, with the permissions `mode` where they are given. Raises OSError, and then
    leaves nothing behind, as where it is interrupted.

    A process that is killed may leave `.NAME.PID.*.partial` beside `target`, which nobody reads. It is made anew and
    never opened: what lies under that name, a link for one, is not written through.
    """
    partial = target.with_name(f".{target.name[:180]}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
        if mode is not None:
            partial.chmod(mode)
        os.replace(partial, target)
    except BaseException:  # what interrupts the process too
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
