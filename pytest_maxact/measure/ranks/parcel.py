"""The state of one rank on its way to another: a head of plain data, then tensor after tensor, over gloo.

A connection is made for one exchange and closed after it, so that nothing of it is left in a process in which a model
or another library keeps processes of its own together. Raises BrokenOffError where a peer breaks off or says nothing.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from pytest_maxact.errors import BrokenOffError, MeasureError, first_line
from pytest_maxact.measure.observe.reduction import Entry, How, State
from pytest_maxact.measure.ranks.board import store_of_the_run
from pytest_maxact.measure.ranks.place import Place

PATIENCE = 300.0
"""Seconds in which a peer that is there has to send or take what it should."""
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


@contextmanager
def connected(place: Place, name: str, backend: str = "gloo") -> Iterator[None]:
    """All ranks connected, for one exchange of this name; `backend`: by which, where it goes past the host."""
    if dist.is_initialized():
        raise MeasureError(
            "torch.distributed is in use already, by the model or by another library, and ranks cannot share a corpus\n"
            "  measure with one process, or by parts as jobs of their own"
        )
    store = dist.PrefixStore(f"pytest-maxact/{name}", store_of_the_run())  # type: ignore[attr-defined, arg-type]
    try:
        dist.init_process_group(
            backend, store=store, rank=place.rank, world_size=place.size, timeout=timedelta(seconds=PATIENCE)
        )
        yield
    except (RuntimeError, ConnectionError) as error:
        raise BrokenOffError(f"the exchange with the other ranks broke off: {first_line(error)}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def sockets() -> frozenset[str]:
    """Connections of this process, by what the system calls them; none where it does not tell."""
    return frozenset(_sockets())


def hang_up(but: frozenset[str]) -> None:
    """End all connections but these, so that nobody waits for what this process will not send any more: those of gloo
    live as long as any group that a model's code holds.
    """
    for name, descriptor in _sockets().items():
        if name not in but:
            with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.getpeername()  # raises for one that only listens, and gloo ends the process if that one goes
                connection.shutdown(socket.SHUT_RDWR)


def _sockets() -> dict[str, int]:
    """By name the number by which this process has it."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                name = os.readlink(f"/proc/self/fd/{descriptor}")
                if name.startswith("socket:"):
                    found[name] = int(descriptor)
    return found


def send(state: State, rank: int) -> None:
    tensors = {name: entry.value for name, entry in state.items() if isinstance(entry.value, torch.Tensor)}
    head = [
        (
            [name, entry.how, str(tensors[name].dtype), list(tensors[name].shape)]
            if name in tensors
            else [name, entry.how, None, entry.value]
        )
        for name, entry in state.items()
    ]
    raw = torch.frombuffer(bytearray(json.dumps(head).encode()), dtype=torch.uint8)
    dist.send(torch.tensor([raw.numel()]), rank)
    dist.send(raw, rank)
    for tensor in tensors.values():
        if tensor.numel():
            dist.send(_bytes(tensor), rank)


def receive(rank: int) -> State:
    size = torch.zeros(1, dtype=torch.int64)
    dist.recv(size, rank)
    raw = torch.empty(int(size), dtype=torch.uint8)
    dist.recv(raw, rank)
    state: dict[str, Entry] = {}
    for name, how, dtype, what in json.loads(bytes(raw.tolist())):
        if dtype is None:
            state[name] = Entry(what, How(how))
            continue
        tensor = torch.empty(what, dtype=_DTYPES[dtype])
        if tensor.numel():
            dist.recv(_bytes(tensor), rank)
        state[name] = Entry(tensor, How(how))
    return state


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a tensor of the host, as bytes."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
