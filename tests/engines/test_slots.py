"""What runs get of this machine: with 0, 1, 2 and 8 GPUs, named by number and by UUID, whole and divided."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchbench.devices.kinds import APPLE, CPU, NVIDIA
from benchbench.devices.visible import Visible, built_for
from benchbench.engines import slots
from benchbench.engines.slots import Placement, apart, available_slots, cpu_slots, gpu_slots, merged, room_for_ranks
from benchbench.problems import BadInputError

MOST_CORES = 16


def gpus(count: int) -> Visible:
    return Visible(NVIDIA, tuple(map(str, range(count))), tuple(f"GPU-{index}a" for index in range(count)))


DIVIDED = Visible(NVIDIA, ("MIG-1", "MIG-2", "GPU-2b"), ("GPU-1a", "MIG-1", "MIG-2", "GPU-2b"))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(MOST_CORES), raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def placed(monkeypatch: pytest.MonkeyPatch, here: Visible, **wishes: Any) -> list[slots.Slot]:
    monkeypatch.setattr(slots, "visible", lambda: here)
    return available_slots(Placement(**wishes))


@pytest.mark.parametrize(
    ("here", "wishes", "names", "sharing"),
    [
        (Visible(CPU), {}, [f"cpu:{index}" for index in range(16)], [16] * 16),
        (gpus(0), {}, [f"cpu:{index}" for index in range(16)], [16] * 16),
        (gpus(0), {"slots": 2}, ["cpu:0", "cpu:1"], [2, 2]),
        (gpus(0), {"slots": 2, "exclusive": True}, ["cpu:0"], [1]),
        (gpus(1), {}, ["gpu:0"], [1]),
        (gpus(1), {"per_device": 2}, ["gpu:0.0", "gpu:0.1"], [2, 2]),
        (gpus(1), {"per_device": 4, "slots": 4}, [f"gpu:0.{place}" for place in range(4)], [4] * 4),
        (gpus(1), {"per_device": 2, "exclusive": True}, ["gpu:0"], [1]),
        (gpus(1), {"slots": 4, "exclusive": True}, ["gpu:0"], [1]),
        (gpus(1), {"devices": ("cpu",), "slots": 2}, ["cpu:0", "cpu:1"], [2, 2]),
        (gpus(2), {"slots": 1}, ["gpu:0"], [1]),
        (gpus(2), {"per_device": 2, "slots": 3}, ["gpu:0.0", "gpu:1.0", "gpu:0.1"], [2, 1, 2]),
        (gpus(2), {"per_device": 2, "slots": 1}, ["gpu:0.0"], [1]),
        (gpus(2), {"devices": ("GPU-1a",)}, ["gpu:GPU-1a"], [1]),
        (gpus(2), {"devices": ("GPU-1", "0")}, ["gpu:GPU-1", "gpu:0"], [1, 1]),
        (gpus(8), {}, [f"gpu:{index}" for index in range(8)], [1] * 8),
        (gpus(8), {"devices": ("2", "3")}, ["gpu:2", "gpu:3"], [1, 1]),
        (gpus(8), {"devices": ("3", "2"), "slots": 1}, ["gpu:3"], [1]),
        (DIVIDED, {}, ["gpu:MIG-1", "gpu:MIG-2", "gpu:GPU-2b"], [1, 1, 1]),
        (DIVIDED, {"devices": ("MIG-2",)}, ["gpu:MIG-2"], [1]),
        (Visible(APPLE, ("0",)), {}, ["gpu:0"], [1]),
    ],
)
def test_runs_are_placed_on_what_is_there_and_asked_for(
    monkeypatch: pytest.MonkeyPatch, here: Visible, wishes: dict[str, Any], names: list[str], sharing: list[int]
) -> None:
    made = placed(monkeypatch, here, **wishes)
    assert [slot.name for slot in made] == names
    assert [slot.sharing for slot in made] == sharing
    assert {slot.threads for slot in made} == {MOST_CORES // len(made)}


@pytest.mark.parametrize(
    ("here", "wishes", "option", "message"),
    [
        (gpus(0), {"devices": ("0",)}, "--devices", "this machine has no GPU: allowed is cpu"),
        (gpus(0), {"per_device": 2}, "--slots-per-device", "there is no GPU to share"),
        (gpus(2), {"devices": ("cpu",), "per_device": 2}, "--slots-per-device", "there is no GPU to share"),
        (gpus(1), {"slots": 4}, "--slots", "room for 1 at a time (GPUs: 1); --slots-per-device"),
        (gpus(2), {"slots": 5, "per_device": 2}, "--slots", "room for 4 at a time (GPUs: 2)"),
        (gpus(2), {"devices": ("7",)}, "--devices", "allowed: cpu alone, or some of 0, 1, or their UUIDs"),
        (gpus(2), {"devices": ("cpu", "0")}, "--devices", "no such device"),
        (gpus(2), {"devices": ("GPU-",)}, "--devices", "no such device"),  # the beginning of both
        (gpus(2), {"devices": ("1", "GPU-1a")}, "--devices", "this is the GPU that 1 names too"),
        (DIVIDED, {"devices": ("MIG-7",)}, "--devices", "no such device"),
        (DIVIDED, {"devices": ("0",)}, "--devices", "no such device"),
    ],
)
def test_what_cannot_be_placed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, here: Visible, wishes: dict[str, Any], option: str, message: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        placed(monkeypatch, here, **wishes)
    [problem] = caught.value.problems
    assert (problem.file, message in str(problem)) == (option, True), str(problem)


@pytest.mark.parametrize(("chosen", "order"), [(None, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}), ("5,7", {})])
def test_the_process_of_a_run_sees_its_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, order: dict[str, str]
) -> None:
    if chosen is not None:  # what the user's numbers mean is left as it is
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    made = placed(monkeypatch, Visible(NVIDIA, ("5", "7")))
    assert [slot.environment for slot in made] == [{"CUDA_VISIBLE_DEVICES": gpu, **order} for gpu in ("5", "7")]


def test_cpu_slots_share_the_cores_out() -> None:
    assert [(slot.name, slot.threads, slot.sharing) for slot in cpu_slots(3, cores=7)] == [
        ("cpu:0", 2, 3),
        ("cpu:1", 2, 3),
        ("cpu:2", 2, 3),
    ]


def test_a_plugin_in_a_cpu_slot_can_pick_no_accelerator() -> None:
    hidden = Visible(built_for()).restriction([])
    assert {tuple(slot.environment.items()) for slot in cpu_slots(2, cores=2)} == {tuple(hidden.items())}
    assert set(hidden.values()) <= {"", "PCI_BUS_ID"}
    if torch.version.cuda:
        assert hidden["CUDA_VISIBLE_DEVICES"] == ""


def test_more_slots_than_cores_get_a_thread_each() -> None:
    assert {slot.threads for slot in cpu_slots(5, cores=2)} == {1}


def test_merged_slots_have_all_that_the_single_ones_have() -> None:
    of_gpus = merged(gpu_slots(gpus(2), ["0", "GPU-1a"], cores=8))
    assert (of_gpus.device, of_gpus.threads, of_gpus.devices) == ("cuda", 8, ("0", "GPU-1a"))
    assert of_gpus.environment["CUDA_VISIBLE_DEVICES"] == "0,GPU-1a"
    cores = cpu_slots(4, cores=8)
    of_cores = merged(cores[:2])
    assert (of_cores.threads, of_cores.sharing, of_cores.environment) == (4, 2, cores[0].environment)


def test_ranks_are_put_on_different_gpus() -> None:
    made = gpu_slots(gpus(2), ["0", "1"], cores=8, per_device=2)
    assert [slot.name for slot in apart(made, 2)] == ["gpu:1.1", "gpu:0.1"]
    assert [slot.name for slot in apart([made[0], made[2]], 2)] == ["gpu:0.1"]
    assert [slot.name for slot in apart(cpu_slots(3, cores=3), 2)] == ["cpu:2", "cpu:1"]


def test_more_ranks_than_gpus_are_one_line() -> None:
    made = gpu_slots(gpus(2), ["0", "1"], cores=8, per_device=2)
    room_for_ranks(made, 2)
    room_for_ranks(cpu_slots(1, cores=1), 4)
    with pytest.raises(BadInputError) as caught:
        room_for_ranks(made, 3)
    line = "ranks: each rank needs a GPU of its own; allowed: up to 2, or any number with --devices cpu (got 3)"
    assert str(caught.value) == line
    with pytest.raises(BadInputError, match="there is one Apple GPU"):
        room_for_ranks(gpu_slots(Visible(APPLE, ("0",)), ["0"], cores=8), 2)
