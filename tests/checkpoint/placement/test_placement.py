"""Which way is taken, by what is needed and what is free."""

from dataclasses import replace

import pytest

from pytest_maxact.checkpoint.placement.mapping import mapped
from pytest_maxact.checkpoint.placement.need import Need
from pytest_maxact.checkpoint.placement.placement import Placement, place, require_room
from pytest_maxact.checkpoint.placement.rooms import GIB, Room
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.ways import OFFLOADED, SPLIT, STREAMED, WHOLE

NEED = Need(
    weights=16 * GIB, largest=GIB // 2, matrix=GIB // 4, activations=4 * GIB, accumulators=GIB // 8, head=GIB // 8,
    copies=0, files=16 * GIB, alone=GIB,
)  # fmt: skip
UNSTREAMED = {STREAMED: "not here"}


def room(device, free, **more):
    return Room(device=device, free=int(free * GIB), total=int(free * GIB), **more)


def test_a_model_that_fits_its_device_is_held_whole_and_the_line_says_how_it_fits():
    found = place(NEED, [room("cpu", 64)], "auto", {})
    assert (found.how, found.device, found.against, found.stated) == (WHOLE, "cpu", "", "")
    assert found.line == "cpu, whole: 22.9 of 64.0 GiB free"


@pytest.mark.parametrize(
    ("free", "refused", "how"),
    [(22, {}, STREAMED), (22, UNSTREAMED, OFFLOADED), (6.5, {}, STREAMED), (6.5, UNSTREAMED, OFFLOADED)],
)
def test_a_model_that_does_not_fit_a_cpu_is_streamed_or_else_offloaded(free, refused, how):
    found = place(NEED, [room("cpu", free)], "auto", refused)
    assert (found.how, found.device, found.against) == (how, "cpu", "")
    assert "whole it would take 22.9 GiB" in found.line


def test_where_nothing_fits_that_is_said_with_what_is_needed_what_there_is_and_what_to_do():
    found = place(NEED, [room("cpu", 2, bound="its control group")], "auto", {})
    assert found.against
    with pytest.raises(
        InputError, match=r"GiB are needed on cpu, 2\.00 GiB are free there \(its control group\)\n"
    ) as told:
        require_room(found)
    assert "batch_tokens" in str(told.value)


def test_one_gpu_is_preferred_where_the_longest_sequence_fits_for_batches_can_be_halved():
    found = place(NEED, [room("cuda:0", 20), room("cpu", 64)], "auto", {})
    assert (found.how, found.device) == (WHOLE, "cuda:0")


def test_the_gpu_that_has_room_is_taken_where_another_is_full():
    found = place(NEED, [room("cuda:0", 3), room("cuda:1", 80), room("cpu", 64)], "auto", {})
    assert (found.how, found.device) == (WHOLE, "cuda:1")


def test_several_gpus_share_what_one_does_not_hold():
    found = place(NEED, [room("cuda:0", 14), room("cuda:1", 14), room("cpu", 64)], "auto", {})
    assert (found.how, found.stated) == (SPLIT, "split")
    assert set(found.limits) == {"cuda:0", "cuda:1"}
    assert sum(found.limits.values()) >= NEED.weights
    assert mapped(found).arguments == {
        "device_map": "auto", "max_memory": {0: found.limits["cuda:0"], 1: found.limits["cuda:1"]}
    }  # fmt: skip


def test_a_gpu_offloads_to_the_memory_of_the_machine_and_the_rest_to_disk():
    found = place(NEED, [room("cuda:0", 10), room("cpu", 8)], "auto", UNSTREAMED)
    assert (found.how, found.device) == (OFFLOADED, "cuda:0")
    assert 0 < found.limits["cuda:0"] < 10 * GIB
    assert 0 < found.limits["cpu"] < 8 * GIB
    told = next(option for option in found.options if option.how == OFFLOADED)
    assert told.on_disk == NEED.weights - found.limits["cuda:0"] - found.limits["cpu"]
    arguments = mapped(found).arguments
    assert arguments["max_memory"] == {0: found.limits["cuda:0"], "cpu": found.limits["cpu"]}


@pytest.mark.parametrize("wanted", ["cpu", "cuda", "cuda:1", SPLIT, OFFLOADED, STREAMED])
def test_what_is_asked_for_by_name_is_done_or_refused_and_nothing_else_is(wanted):
    gpus = [room("cuda:0", 80), room("cuda:1", 80), room("cpu", 64)]
    found = place(NEED, gpus, wanted, {})
    assert not found.against
    assert wanted in (found.device, found.how, found.device.partition(":")[0])
    small = [replace(one, free=GIB) for one in gpus]
    refused = place(NEED, small, wanted, {})
    with pytest.raises(InputError):
        require_room(refused)


@pytest.mark.parametrize("wanted", [SPLIT, "cuda:7"])
def test_devices_that_are_not_there_are_refused(wanted):
    found = place(NEED, [room("cpu", 64)], wanted, {})
    with pytest.raises(InputError, match=r"and here is cpu\n  `device` cpu fits$"):
        require_room(found)


def test_a_way_that_cannot_be_taken_is_refused_with_its_reason():
    found = place(NEED, [room("cpu", 8)], OFFLOADED, {OFFLOADED: "accelerate is not installed"})
    with pytest.raises(InputError, match="accelerate is not installed"):
        require_room(found)


def test_files_that_cannot_all_be_mapped_are_no_model_that_can_be_loaded_whole():
    found = place(NEED, [room("cpu", 30, addresses=10 * GIB)], "auto", UNSTREAMED)
    with pytest.raises(InputError, match="mapped"):
        require_room(found)


def test_a_whole_model_on_a_cpu_is_loaded_as_ever_and_on_a_gpu_past_the_machines_memory():
    assert mapped(None).arguments == {}
    assert mapped(place(NEED, [room("cpu", 64)], "auto", {})).arguments == {}
    assert mapped(place(NEED, [room("cuda:0", 80)], "auto", {})).arguments == {"device_map": {"": "cuda:0"}}


def test_the_folder_for_layers_put_aside_goes_with_the_model():
    class Model:
        pass

    where = mapped(Placement(how=OFFLOADED, device="cpu", line="", limits={"cpu": GIB}))
    folder = where.arguments["offload_folder"]
    model = where.settle(Model(), None)
    del where
    from pathlib import Path

    assert Path(folder).is_dir()
    del model
    assert not Path(folder).exists()
