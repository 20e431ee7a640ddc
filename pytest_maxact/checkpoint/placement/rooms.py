"""What memory is free: this process's limits, its control group, the machine and its GPUs in; rooms out.

Guard: what counts is the least of all that may stop this process, so that a plan does not end in the OOM killer.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pytest_maxact.errors import InputError

GIB = 1 << 30
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": GIB}
_UNITS |= {"TIB": 1 << 40, "K": 1 << 10, "M": 1 << 20, "G": GIB, "T": 1 << 40, "": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_ROOM = re.compile(r"(cpu|cuda)(?:\*(\d+))?:(.+)")
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The memory of a device, in bytes: `free` of `total`. `bound` names what leaves no more than that. `addresses`:
    what is left where files that are mapped count too, None where nothing bounds that.
    """

    device: str
    free: int
    total: int
    bound: str = ""
    addresses: int | None = None

    @property
    def is_host(self) -> bool:
        return self.device == "cpu"


def rooms(processes: int = 1, own: str = "") -> tuple[Room, ...]:
    """The GPUs of this machine in their order, then its own memory: what each of so many processes may take of them.
    `own`: a device that no other of these uses.
    """
    return (*(room if room.device == own else _parted(room, processes) for room in gpus()), host(processes))


def gpus() -> Iterator[Room]:
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        yield Room(device=f"cuda:{index}", free=int(free), total=int(total))


def host(processes: int = 1) -> Room:
    """The machine's memory as far as this process may still take it, one of so many that take the same."""
    least = min(_bounds(processes), key=lambda room: room.free)
    return replace(least, addresses=min((room.free for room in _limits()), default=None))


def stated(text: str) -> tuple[Room, ...]:
    """Rooms as a user states them, `cpu:16GiB,cuda:80GiB,cuda:80GiB` or `cuda*8:80GiB`. Raises InputError."""
    found: list[Room] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        matched = _ROOM.fullmatch(part)
        if matched is None:
            raise InputError(f"--devices {part}: no device with its memory\n  give them as in cpu:16GiB,cuda:80GiB")
        kind, times, size = matched[1], int(matched[2] or 1), size_of(matched[3])
        if kind == "cpu" and (times > 1 or any(room.is_host for room in found)):
            raise InputError(f"--devices {text}: a machine has one memory of its own\n  name cpu once")
        for _ in range(times):
            index = sum(not room.is_host for room in found)
            device = "cpu" if kind == "cpu" else f"cuda:{index}"
            found.append(Room(device=device, free=size, total=size, bound="as stated"))
    if not found:
        raise InputError("--devices names no device\n  give them as in cpu:16GiB,cuda:80GiB")
    return tuple(sorted(found, key=lambda room: room.is_host))


def size_of(text: str) -> int:
    """Bytes of `16GiB`, `80GB`, `1.5T`. Raises InputError for what is no size, or nothing."""
    matched = _SIZE.fullmatch(text.strip())
    if matched is None or matched[2].upper() not in _UNITS or not float(matched[1]):
        raise InputError(f"{text}: no size of a memory\n  give one as in 16GiB")
    return int(float(matched[1]) * _UNITS[matched[2].upper()])


def gib(size: int) -> str:
    """Bytes in GiB, for people."""
    number = size / GIB
    if size >= _UNLIMITED:
        return "unknown"
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def _bounds(processes: int) -> Iterator[Room]:
    """All that bounds this process, each as a room of the host; limits of a process are its own."""
    total, available = _machine()
    yield _parted(Room(device="cpu", free=available, total=total), processes)
    yield from (_parted(room, processes) for room in _groups(total))
    yield from _limits()


def _parted(room: Room, processes: int) -> Room:
    """The part of one of so many processes."""
    if processes == 1 or room.free >= _UNLIMITED:
        return room
    shared = f"shared by {processes} ranks"
    return replace(room, free=room.free // processes, bound=f"{room.bound}, {shared}" if room.bound else shared)


def _machine() -> tuple[int, int]:
    """Total and available memory of the machine."""
    told = _table(Path("/proc/meminfo"), 1024)
    if "MemAvailable" in told:
        return told["MemTotal"], told["MemAvailable"]
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNLIMITED, _UNLIMITED  # nothing is refused by what is not known
    return total, total  # what of it is free is not told, and refuses nothing


def _groups(total: int) -> Iterator[Room]:
    """What the control groups around this process leave, of version 2 and of version 1."""
    for folder, limit, usage, idle in _folders():
        bound = _number(folder / limit)
        if bound is None or bound >= min(total, _UNLIMITED):
            continue
        used = _number(folder / usage) or 0
        reclaimed = _table(folder / "memory.stat", 1).get(idle, 0)
        free = max(0, bound - max(0, used - reclaimed))
        yield Room(device="cpu", free=free, total=bound, bound="its control group")


def _folders() -> Iterator[tuple[Path, str, str, str]]:
    """Folders of the groups that this process is in, upwards, with the names of their files."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if "memory" in kinds.split(","):
            top, names = Path("/sys/fs/cgroup/memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
            idle = "total_inactive_file"
        elif not kinds:
            top, names, idle = Path("/sys/fs/cgroup"), ("memory.max", "memory.current"), "inactive_file"
        else:
            continue
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(top):
                yield folder, *names, idle


def _limits() -> Iterator[Room]:
    """What the limits of this process leave, of addresses and of its data; mapped files count in both."""
    try:
        import resource
    except ImportError:
        return
    used = _table(Path("/proc/self/status"), 1024)
    for name, limit, taken in (
        ("RLIMIT_AS", resource.RLIMIT_AS, "VmSize"),
        ("RLIMIT_DATA", resource.RLIMIT_DATA, "VmData"),
    ):
        bound, _ = resource.getrlimit(limit)
        if bound != resource.RLIM_INFINITY and bound < _UNLIMITED:
            free = max(0, bound - used.get(taken, 0))
            yield Room(device="cpu", free=free, total=bound, bound=name)


def _number(file: Path) -> int | None:
    """What a file of one number holds; None where it is not there, or says that there is no limit."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _table(file: Path, unit: int) -> dict[str, int]:
    """Names and numbers of a file that holds a pair a line, in so many bytes each."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (re.match(r"(\w+(?:\(\w+\))?):?\s+(\d+)", line) for line in lines)
    return {pair[1]: int(pair[2]) * unit for pair in pairs if pair}
