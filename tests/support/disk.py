"""A disk without room for some files: opening one of them to write is an error, as the system gives it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def without_room(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """None from here on for files with any of these in their names."""
    opened = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if set(mode) & set("wax") and any(part in self.name for part in parts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
