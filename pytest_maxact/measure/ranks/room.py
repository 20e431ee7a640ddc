"""What one rank may take of the memory of its machine: all ranks of a machine plan for the same moment, before any of
them loads, so each takes its part of what is free.
"""

import torch

from pytest_maxact.checkpoint.placement.rooms import Room, rooms
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.numbers.ways import PARALLEL


def rooms_for(device: str, here: Place | None) -> tuple[Room, ...]:
    """The rooms of this process, which measures on a device. A GPU of its own it shares with no other rank."""
    if here is None:
        return rooms()
    own = f"cuda:{here.local}"
    has_own = device in (own, PARALLEL) and torch.cuda.device_count() >= here.beside
    return rooms(here.beside, own if has_own else "")
