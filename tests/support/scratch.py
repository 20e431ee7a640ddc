"""Folders that outlive a test and not the run: what several tests share and no fixture hands them."""

import atexit
import shutil
import tempfile
from pathlib import Path


def folder(prefix: str) -> Path:
    """A new folder of this process, removed as it ends."""
    made = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
