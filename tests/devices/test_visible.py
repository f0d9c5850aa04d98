"""Devices are found by their management library, without starting one."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.devices import nvml, visible
from benchbench.devices.kinds import NVIDIA
from benchbench.devices.nvml import Gpu, Machine
from benchbench.devices.visible import Visible
from benchbench.problems import BadInputError
from tests.conftest import pretend_gpus

WHOLE = Machine((Gpu("GPU-1a"), Gpu("GPU-2b"), Gpu("GPU-2c")), driver="580.65.06")
DIVIDED = Machine((Gpu("GPU-1a", ("MIG-1", "MIG-2")), Gpu("GPU-2b")))


@pytest.fixture(autouse=True)
def nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "built_for", lambda: NVIDIA)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def seen(monkeypatch: pytest.MonkeyPatch, machine: Machine | None, chosen: str | None) -> Visible:
    monkeypatch.setattr(nvml, "machine", lambda: machine)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    return visible.visible()


@pytest.mark.parametrize(
    ("machine", "chosen", "expected"),
    [
        (WHOLE, None, ["0", "1", "2"]),
        (WHOLE, "2, 0", ["2", "0"]),
        (WHOLE, "1,1", ["1"]),
        (WHOLE, "GPU-2c,GPU-1", ["GPU-2c", "GPU-1"]),
        (WHOLE, "", []),
        (WHOLE, "-1", []),
        (WHOLE, "NoDevFiles", []),
        (WHOLE, "1,-1,2", ["1"]),
        (WHOLE, "none", []),
        (WHOLE, "1,", ["1"]),
        (WHOLE, "01,1", ["1"]),
        (WHOLE, "GPU-1a,GPU-1", ["GPU-1a"]),
        (WHOLE, "MIG-of-an-older-driver", ["MIG-of-an-older-driver"]),
        (DIVIDED, None, ["MIG-1", "MIG-2", "GPU-2b"]),
        (DIVIDED, "MIG-2", ["MIG-2"]),
        (Machine(()), None, []),
    ],
)
def test_a_process_may_use_what_its_variable_says(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, chosen: str | None, expected: list[str]
) -> None:
    assert list(seen(monkeypatch, machine, chosen).identifiers) == expected


@pytest.mark.parametrize(
    ("machine", "chosen", "wrong"),
    [
        (WHOLE, "0,3", "3"),
        (WHOLE, "GPU-3", "GPU-3"),
        (DIVIDED, "MIG-7", "MIG-7"),
        (Machine(()), "0", "0"),
        (WHOLE, "0 1", "0 1"),
        (WHOLE, "0;1", "0;1"),
        (WHOLE, "gpu-1a", "gpu-1a"),
        (WHOLE, "all", "all"),
        (WHOLE, "²", "²"),
        (WHOLE, "GPU-2", "GPU-2"),
        (WHOLE, "1,GPU-1a", "GPU-1a"),
        (WHOLE, "GPU-1a,1", "1"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, chosen: str, wrong: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        seen(monkeypatch, machine, chosen)
    [problem] = refused.value.problems
    assert (problem.file, problem.value) == ("CUDA_VISIBLE_DEVICES", wrong)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("1", "1"), ("3", None), ("GPU-1a", "GPU-1a"), ("GPU-2c", "GPU-2c"), ("GPU-2", None), ("cpu", None)],
)
def test_a_device_has_several_names(monkeypatch: pytest.MonkeyPatch, name: str, identifier: str | None) -> None:
    assert seen(monkeypatch, WHOLE, None).named(name) == identifier


def test_of_what_is_hidden_there_are_no_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, WHOLE, "GPU-2b").named("GPU-1a") is None


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "_has_driver", lambda kind: False)
    assert seen(monkeypatch, None, None).identifiers == ()
    assert seen(monkeypatch, None, "0").identifiers == ()


def test_where_nvml_is_silent_another_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "_has_driver", lambda kind: True)
    monkeypatch.setattr(visible, "_counted", lambda type_, chosen: 2)
    assert seen(monkeypatch, None, None).identifiers == ("0", "1")
    assert seen(monkeypatch, None, "5, 7").identifiers == ("5", "7")


@pytest.mark.parametrize(("gpus", "instances", "count"), [(0, 0, 0), (8, 0, 8), (2, 3, 6)])
def test_the_library_is_asked_and_nothing_is_started(nvml_folder: Path, gpus: int, instances: int, count: int) -> None:
    code = (
        "import os, torch; from benchbench.devices import nvml, visible; seen = visible.visible();"
        "print(len(seen.identifiers), all(map(seen.named, seen.uuids)), nvml.machine().driver, flush=True);"
        "os.fork() or (print(torch.cuda._is_in_bad_fork(), flush=True), os._exit(0)); os.wait()"
    )
    environment = pretend_gpus(nvml_folder, gpus, instances=instances)
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(count), "True", "580.65.06", "False"]


def test_gpus_of_a_broken_driver_are_no_reason_to_take_the_cpu(nvml_folder: Path, tmp_path: Path) -> None:
    # A driver is there; what it holds is never asked.
    (tmp_path / "libcuda.so.1").write_bytes((nvml_folder / "libnvidia-ml.so.1").read_bytes())
    environment = pretend_gpus(nvml_folder, 2, fault=18)
    environment["LD_LIBRARY_PATH"] += f":{tmp_path}"
    code = "from benchbench.engines import slots; slots.available_slots(slots.Placement(devices=DEVICES)); print(1)"
    default, on_cpu = (
        subprocess.run(
            [sys.executable, "-c", code.replace("DEVICES", devices)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for devices in ("()", "('cpu',)")
    )
    said = "the driver of NVIDIA's GPUs does not answer: nvmlInit_v2: Driver/library version mismatch; `--devices cpu`"
    assert said in default.stderr.splitlines()[-1]
    assert on_cpu.stdout == "1\n"


@pytest.mark.parametrize(("fault", "chosen"), [(9, None), (4, None), (18, ""), (18, "-1")])
def test_a_driver_without_gpus_for_this_process_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, nvml_folder: Path, fault: int, chosen: str | None
) -> None:
    environment = pretend_gpus(nvml_folder, 2, fault=fault) | (
        {} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}
    )
    code = "from benchbench.devices import visible; print(visible.visible().identifiers)"
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "()"
