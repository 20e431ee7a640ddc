"""Files that are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(target: Path, content: bytes, mode: int | None = None) -> None:
    """Put `content` in place by renaming, with the permissions `mode` where they are given. Raises OSError, and then
    leaves nothing behind.

    A process that is killed may leave `.NAME.PID.partial` beside `target`, which nobody reads.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        if mode is not None:
            partial.chmod(mode)
        os.replace(partial, target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
