"""What is free: the least of what the machine, control groups and limits of the process leave."""

import subprocess
import sys

import pytest
import torch

from pytest_maxact.checkpoint.placement import rooms
from pytest_maxact.checkpoint.placement.rooms import GIB, gib, host, size_of, stated
from pytest_maxact.errors import InputError


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Files of /proc and /sys as a machine has them, in the place of those of this one."""

    def put(**held):
        for path, text in held.items():
            place = tmp_path / path.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    monkeypatch.setattr(rooms, "Path", lambda path: tmp_path / path.lstrip("/"))
    put(proc__meminfo="MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n", proc__self__status="VmSize: 1048576 kB\n")
    return lambda text: put(proc__self__cgroup=text), tmp_path


def write(folder, **held):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in held.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_machine_without_limits_has_what_it_says_is_available(files):
    assert (host().free, host().total, host().bound) == (4 * GIB, 8 * GIB, "")


@pytest.mark.parametrize("depth", ["job", "", "job/step"])
def test_a_control_group_of_version_2_bounds_wherever_above_the_process_it_is_set(files, depth):
    group, root = files
    group("0::/job/step\n")
    write(
        root / "sys/fs/cgroup" / depth, memory__max=str(3 * GIB), memory__current=str(2 * GIB),
        memory__stat=f"anon 5\ninactive_file {GIB}\n",
    )  # fmt: skip
    assert (host().free, host().bound) == (2 * GIB, "its control group")


def test_a_control_group_of_version_1_bounds_and_its_idle_files_are_free(files):
    group, root = files
    group("4:memory:/docker/ab\n0::/\n")
    write(
        root / "sys/fs/cgroup/memory/docker/ab", memory__limit_in_bytes=str(GIB),
        memory__usage_in_bytes=str(GIB), memory__stat=f"total_inactive_file {GIB // 4}\n",
    )  # fmt: skip
    assert host().free == GIB // 4


@pytest.mark.parametrize("limit", ["max", str(1 << 63), str(64 * GIB)])
def test_a_control_group_without_a_limit_below_the_machine_bounds_nothing(files, limit):
    group, root = files
    group("0::/job\n")
    write(root / "sys/fs/cgroup/job", memory__max=limit, memory__current="1")
    assert host().free == 4 * GIB


def test_a_limit_of_addresses_bounds_by_what_is_left_of_it():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "from pytest_maxact.checkpoint.placement.rooms import host\n"
        "room = host(); print(room.addresses, room.free)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    addresses, free = map(int, done.stdout.split())
    assert GIB < addresses < 8 * GIB
    assert free <= addresses


def test_processes_of_one_machine_share_what_the_machine_and_its_groups_leave_and_not_limits_of_their_own(files):
    group, root = files
    assert (host(4).free, host(4).bound) == (GIB, "shared by 4 ranks")
    group("0::/job\n")
    write(root / "sys/fs/cgroup/job", memory__max=str(2 * GIB), memory__current="0", memory__stat="inactive_file 0\n")
    assert (host(2).free, host(2).bound) == (GIB, "its control group, shared by 2 ranks")
    limits = rooms.Room(device="cpu", free=GIB // 8, total=GIB, bound="RLIMIT_AS")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_limits", lambda: iter([limits]))
        assert (host(2).free, host(2).bound, host(2).addresses) == (GIB // 8, "RLIMIT_AS", GIB // 8)


def test_what_is_not_known_is_not_shared(files, monkeypatch):
    monkeypatch.setattr(rooms, "_machine", lambda: (1 << 60, 1 << 60))
    assert host(2).free == host(1).free == 1 << 60


def test_gpus_tell_their_own_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((10 + index) * GIB, 80 * GIB))
    assert [(room.device, room.free) for room in rooms.rooms()[:2]] == [("cuda:0", 10 * GIB), ("cuda:1", 11 * GIB)]
    assert rooms.rooms()[-1].device == "cpu"


def test_rooms_are_stated_one_by_one_or_so_many_times():
    assert [(room.device, room.free // GIB) for room in stated("cpu:16GiB, cuda*2:80GiB,cuda:40GiB")] == [
        ("cuda:0", 80), ("cuda:1", 80), ("cuda:2", 40), ("cpu", 16)
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "gpu:1GiB", "cpu:0", "cpu:-1GiB", "cpu:1XB", "cpu", "cpu:1GiB,cpu:2GiB", "cpu:e"])
def test_what_states_no_room_is_refused(text):
    with pytest.raises(InputError):
        stated(text)


@pytest.mark.parametrize(("text", "size"), [("16GiB", 16 * GIB), ("80GB", 80 * 10**9), ("1.5T", 3 << 39), ("512", 512)])
def test_sizes_are_read_in_the_units_people_write(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize(
    ("size", "text"), [(GIB // 4, "0.25"), (16 * GIB, "16.0"), (405 * GIB, "405"), (1 << 62, "unknown")]
)
def test_sizes_are_told_in_gib(size, text):
    assert gib(size) == text
