import pytest

from benchbench.engines import slots
from benchbench.engines.slots import apart, cpu_slots, gpu_slots, merged, room_for_ranks
from benchbench.problems import BadInputError


def test_cpu_slots_share_the_cores_out() -> None:
    assert [(slot.name, slot.threads, slot.sharing) for slot in cpu_slots(3, cores=7)] == [
        ("cpu:0", 2, 3),
        ("cpu:1", 2, 3),
        ("cpu:2", 2, 3),
    ]


def test_more_slots_than_cores_get_a_thread_each() -> None:
    assert {slot.threads for slot in cpu_slots(5, cores=2)} == {1}


def test_every_gpu_is_a_slot_whose_process_sees_it_alone() -> None:
    made = gpu_slots(["0", "3", "GPU-4b2"], cores=12)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in made] == ["0", "3", "GPU-4b2"]
    assert {(slot.device, slot.threads, slot.sharing) for slot in made} == {("cuda", 4, 1)}


def test_slots_are_gpus_when_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["0", "1", "2"])
    assert [slot.name for slot in slots.available_slots(2)] == ["gpu:0", "gpu:1"]
    monkeypatch.setattr(slots, "visible_gpus", list)
    assert [slot.name for slot in slots.available_slots(2)] == ["cpu:0", "cpu:1"]


def test_merged_slots_have_all_that_the_single_ones_have() -> None:
    of_gpus = merged(gpu_slots(["0", "GPU-4b2"], cores=8))
    assert (of_gpus.device, of_gpus.threads) == ("cuda", 8)
    assert of_gpus.environment == {"CUDA_VISIBLE_DEVICES": "0,GPU-4b2"}
    of_cores = merged(cpu_slots(4, cores=8)[:2])
    assert (of_cores.threads, of_cores.sharing, of_cores.environment) == (4, 2, {})


def test_ranks_are_put_on_different_gpus() -> None:
    gpus = gpu_slots(["0", "1"], cores=8, per_device=2)
    assert [slot.name for slot in apart(gpus, 2)] == ["gpu:1.1", "gpu:0.1"]
    assert [slot.name for slot in apart([gpus[0], gpus[2]], 2)] == ["gpu:0.1"]
    assert [slot.name for slot in apart(cpu_slots(3, cores=3), 2)] == ["cpu:2", "cpu:1"]


def test_more_ranks_than_gpus_are_one_line() -> None:
    gpus = gpu_slots(["0", "1"], cores=8, per_device=2)
    room_for_ranks(gpus, 2)
    room_for_ranks(cpu_slots(1, cores=1), 4)
    with pytest.raises(BadInputError) as caught:
        room_for_ranks(gpus, 3)
    line = "ranks: each rank needs a GPU of its own; allowed: up to 2, or any number with --devices cpu (got 3)"
    assert str(caught.value) == line


def test_several_runs_can_share_a_gpu_and_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["0", "1", "2"])
    made = slots.available_slots(devices=["2", "0"], per_device=2)
    assert [slot.name for slot in made] == ["gpu:2.0", "gpu:0.0", "gpu:2.1", "gpu:0.1"]
    assert {slot.sharing for slot in made} == {2}
    alone = slots.available_slots(devices=["2", "0"], per_device=2, exclusive=True)
    assert [(slot.name, slot.sharing) for slot in alone] == [("gpu:2", 1), ("gpu:0", 1)]


def test_the_cpu_can_be_chosen_where_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["0"])
    assert [slot.device for slot in slots.available_slots(2, devices=["cpu"])] == ["cpu", "cpu"]
    [whole] = slots.available_slots(4, devices=["cpu"], exclusive=True)
    assert whole.sharing == 1


@pytest.mark.parametrize("gpus", [[], ["0", "1"]])
def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, gpus: list[str]) -> None:
    monkeypatch.setattr(slots, "visible_gpus", lambda: gpus)
    with pytest.raises(BadInputError, match="cpu") as caught:
        slots.available_slots(devices=["7"])
    assert len(caught.value.problems) == 1
