"""Which of several processes this is, as torchrun and launchers like it say by environment variables. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.errors import InputError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of `size` ranks. Rank 0 leads: it reports, and does what is done once. `local`: its number among those of
    its machine, of which there are `beside` with it.
    """

    rank: int
    size: int
    local: int = 0
    beside: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"


def place_of(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place of this process; None where it is the only one. Raises InputError for a place that is none."""
    if not all(environment.get(name) for name in _VARIABLES):
        return None
    try:
        rank, size, local, beside = (int(environment.get(name) or 0) for name in _NUMBERS)
    except ValueError:
        rank, size, local, beside = -1, 0, 0, 0
    beside = beside or local + 1  # of a launcher that does not say it
    if not 0 <= rank < size or not 0 <= local < beside:
        said = ", ".join(f"{name}={environment.get(name)}" for name in _NUMBERS)
        raise InputError(
            f"{said}: no rank of a run of several processes\n"
            "  start them with torchrun, or unset these variables for a run of one"
        )
    return Place(rank=rank, size=size, local=local, beside=beside) if size > 1 else None


def machine() -> str:
    """What tells one machine, or container, from another: where two say the same, each sees the other's processes."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {namespace}"
    except OSError:
        return ""


def is_running(process: int) -> bool:
    """Whether a process of this machine runs; one that ended and was not waited for does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except (OSError, IndexError):
        return True
