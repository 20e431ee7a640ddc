"""The folder in which the processes of a run meet: what is said where it cannot be written, as on a full disk.

Guards that a run which cannot share what it found fails, and by a message. No torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_maxact.errors import MeasureError


def unshared(folder: Path | str, error: OSError) -> str:
    """Why nothing can be shared there, and how to mend that."""
    return (
        f"what the processes of this run share cannot be written in {folder}: {error.strerror or error}\n"
        "  free space there, or let TMPDIR name a folder that has some"
    )


@contextmanager
def sharing(folder: Path) -> Iterator[None]:
    """Raise MeasureError where what is written there meanwhile cannot be."""
    try:
        yield
    except OSError as error:
        raise MeasureError(unshared(folder, error)) from error
