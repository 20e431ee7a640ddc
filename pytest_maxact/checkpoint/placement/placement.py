"""Which way a model is run: what it needs and the rooms that there are in, one of the ways out, with the reason.

Guard: nothing is chosen that needs more than is free; where nothing fits, that is said before anything is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_maxact.checkpoint.placement.need import Need, with_margin
from pytest_maxact.checkpoint.placement.rooms import Room, gib
from pytest_maxact.errors import InputError, setting
from pytest_maxact.numbers.ways import OFFLOADED, PARALLEL, SPLIT, STREAMED, WHOLE

WAYS = {
    WHOLE: "whole on one device",
    SPLIT: "split over devices, by layers",
    PARALLEL: "tensor-parallel: every layer split over the ranks of torchrun, by channels",
    OFFLOADED: "offloaded: layers are fetched from the machine's memory, or from disk, for every batch",
    STREAMED: "streamed: one layer in memory at a time, the whole corpus through it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to run a model: on which `device` it computes, what that takes of every device in bytes, and why it cannot
    be, empty where it can.
    """

    how: str
    device: str
    takes: Mapping[str, int]
    against: str = ""
    on_disk: int = 0
    """Bytes of weights that are read from disk for every batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The way that is taken. `limits`: by device, what it may hold of weights that are split or offloaded."""

    how: str
    device: str
    line: str
    """What was chosen and why, for a header."""
    options: tuple[Option, ...] = ()
    need: Need | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    against: str = ""
    """Why the model cannot be run here in this way, empty where it can."""
    ranks: int = 1
    """Processes that hold one model together."""

    @property
    def stated(self) -> str:
        """What a Record says of it: the way, without what was free; empty where every figure is that of one device."""
        if self.how == PARALLEL:
            return f"{PARALLEL} over {self.ranks} ranks"
        return "" if self.how in (WHOLE, STREAMED) else self.how


def place(need: Need, rooms: Sequence[Room], wanted: str, refused: Mapping[str, str]) -> Placement:
    """The way that a setting asks for, or, for `auto`, the first that fits. `refused`: ways that cannot be taken,
    whatever is free, with the reason.
    """
    options = tuple(_options(need, rooms, refused))
    fitting = [option for option in options if not option.against]
    asked = [option for option in options if _is_asked(option, wanted)]
    if not asked:
        why = f"{wanted} takes two GPUs at least" if wanted == SPLIT else f"there is no {wanted}"
        here = ", ".join(room.device for room in rooms)
        return Placement(
            how=wanted, device=options[0].device, options=options, need=need, line=f"{wanted}: {why}",
            against=f"{why}, and here is {here}",
        )  # fmt: skip
    chosen = next((option for option in fitting if option in asked), None)
    if chosen is None:
        open_ways = [option for option in asked if option.how not in refused]
        best = min(open_ways or asked, key=lambda option: sum(option.takes.values()))
        return Placement(
            how=best.how, device=best.device, options=options, need=need, limits=_limits(best, need, rooms),
            line=f"{best.device}, {best.how}: {best.against}", against=best.against,
        )  # fmt: skip
    return Placement(
        how=chosen.how, device=chosen.device, options=options, need=need, limits=_limits(chosen, need, rooms),
        line=_line(chosen, rooms, options),
    )  # fmt: skip


def of_a_rank(need: Need, room: Room, ranks: int) -> Placement:
    """The way of one of several ranks that hold a model together; `need`: with the weights that are its own."""
    option = replace(_whole(need, room), how=PARALLEL)
    line = option.against or f"{gib(need.whole)} of {gib(room.free)} GiB free"
    return Placement(
        how=PARALLEL, device=room.device, line=f"{room.device}, {PARALLEL} over {ranks} ranks: {line}",
        options=(option,), need=need, against=option.against, ranks=ranks,
    )  # fmt: skip


def require_room(placement: Placement) -> None:
    """Raise InputError where a model cannot be run as asked, with what is needed, what there is and what to do."""
    if not placement.against:
        return
    fitting = [option for option in placement.options if not option.against]
    others = [f"{one.how}: {one.against}" for one in placement.options if one.against not in ("", placement.against)]
    mend = "a machine with more memory, or lower {batch_tokens} or {max_seq_len}"
    if fitting:
        mend = f"{{device}} {fitting[0].device if fitting[0].how == WHOLE else fitting[0].how} fits"
    raise InputError(
        f"{setting('device')}: {placement.against}{''.join(f'; {other}' for other in dict.fromkeys(others))}\n"
        f"  {mend.format(**{name: setting(name) for name in ('device', 'batch_tokens', 'max_seq_len')})}"
    )


def _is_asked(option: Option, wanted: str) -> bool:
    if wanted == "auto":
        return True
    if wanted in WAYS:
        return option.how == wanted
    of_any = wanted == "cuda" and option.device.startswith("cuda")
    return option.how == WHOLE and (of_any or option.device == wanted)


def _options(need: Need, rooms: Sequence[Room], refused: Mapping[str, str]) -> Iterator[Option]:
    """In the order in which they are preferred: what computes fastest first."""
    gpus, host = [room for room in rooms if not room.is_host], next((r for r in rooms if r.is_host), None)
    least = need.halved()
    for room in gpus:
        yield _whole(least, room)
    if len(gpus) > 1:
        yield _refused(_split(least, gpus), refused)
    main = max(gpus, key=lambda room: room.free) if gpus else host
    if not gpus and host:
        yield _whole(need, host)
    if main is not None:
        yield _refused(_streamed(need, main), refused)
        yield _refused(_offloaded(need, gpus or [main], None if main is host else host), refused)
    if gpus and host:
        yield _whole(need, host)


def _refused(option: Option, refused: Mapping[str, str]) -> Option:
    if why := refused.get(option.how):
        return Option(how=option.how, device=option.device, takes=option.takes, against=why, on_disk=option.on_disk)
    return option


def _whole(need: Need, room: Room) -> Option:
    against = _lack(need.whole, room) or _unmapped(need, room)
    return Option(how=WHOLE, device=room.device, takes={room.device: need.whole}, against=against)


def _split(need: Need, gpus: Sequence[Room]) -> Option:
    """Every device holds what a batch needs, beside its part of the weights."""
    holds = {room.device: _holds(need, room) for room in gpus}
    share = -(-need.weights // len(gpus)) + need.largest
    against = ""
    if sum(size - need.largest for size in holds.values()) < need.weights:
        free = sum(room.free for room in gpus)
        against = f"{gib(need.weights)} GiB of weights and {gib(need.beside)} GiB on each of {len(gpus)} devices are "
        against += f"needed, {gib(free)} GiB are free"
    return Option(
        how=SPLIT, device=gpus[0].device, takes={r.device: with_margin(share + need.beside) for r in gpus},
        against=against,
    )  # fmt: skip


def _streamed(need: Need, room: Room) -> Option:
    return Option(
        how=STREAMED, device=room.device, takes={room.device: need.a_part}, on_disk=need.weights,
        against=_lack(need.a_part, room),
    )  # fmt: skip


def _offloaded(need: Need, devices: Sequence[Room], host: Room | None) -> Option:
    """What the devices do not hold lies in the machine's memory as far as that goes, the rest is read from disk."""
    room = max(devices, key=lambda room: room.free)
    holds = {room.device: _holds(need, room) for room in devices}
    held = min(need.weights, sum(holds.values()))
    aside = max(0, min(need.weights - held, int(host.free / (1 + 2 * 1 / 8)))) if host else 0
    takes = {
        device: min(need.whole, max(need.a_part, with_margin(size + need.beside))) for device, size in holds.items()
    }
    if host:
        takes[host.device] = aside
    return Option(
        how=OFFLOADED, device=room.device, takes=takes, on_disk=need.weights - held - aside,
        against=_lack(need.a_part, room) or _unmapped(need, room),
    )  # fmt: skip


def _holds(need: Need, room: Room) -> int:
    """Bytes of weights that a device may hold beside what a batch needs and the part that is fetched."""
    return max(0, int((room.free - with_margin(need.beside)) * 8 / 9) - need.largest)


def _limits(option: Option, need: Need, rooms: Sequence[Room]) -> dict[str, int]:
    """By device, what of the weights it may hold."""
    if option.how == SPLIT:
        return {room.device: _holds(need.halved(), room) for room in rooms if not room.is_host}
    if option.how != OFFLOADED:
        return {}
    found = {room.device: _holds(need, room) for room in rooms if room.is_host == (option.device == "cpu")}
    host = next((room for room in rooms if room.is_host and room.device != option.device), None)
    return found | ({host.device: option.takes[host.device]} if host else {})


def _lack(needed: int, room: Room) -> str:
    if needed <= room.free:
        return ""
    bound = f" ({room.bound})" if room.bound else ""
    return f"{gib(needed)} GiB are needed on {room.device}, {gib(room.free)} GiB are free there{bound}"


def _unmapped(need: Need, room: Room) -> str:
    """Where mapped files count, they are all mapped while a model is loaded."""
    if room.addresses is None or need.files + need.beside <= room.addresses:
        return ""
    return (
        f"{gib(need.files)} GiB of files are mapped while they are loaded, and the limit of this process leaves "
        f"{gib(room.addresses)} GiB"
    )


def _line(chosen: Option, rooms: Sequence[Room], options: Sequence[Option]) -> str:
    """As in `cpu, whole: 0.27 of 18.2 GiB free`."""
    free = {room.device: room.free for room in rooms}
    taken = ", ".join(
        (f"{device} " if len(chosen.takes) > 1 else "") + f"{gib(size)} of {gib(free[device])} GiB free"
        for device, size in chosen.takes.items()
    )
    where = chosen.device if chosen.how != SPLIT else f"{len(chosen.takes)} GPUs"
    disk = f", {gib(chosen.on_disk)} GiB read from disk" if chosen.on_disk else ""
    whole = next((option for option in options if option.how == WHOLE and option.device == chosen.device), None)
    why = f"; whole it would take {gib(whole.takes[whole.device])} GiB" if whole and chosen.how != WHOLE else ""
    return f"{where}, {chosen.how}: {taken}{disk}{why}"
