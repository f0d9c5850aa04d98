"""What a run on Ray asks for, as far as no cluster is needed to see it."""

from __future__ import annotations

from typing import Any

import pytest

from benchbench.devices.kinds import NVIDIA
from benchbench.devices.visible import Visible
from benchbench.engines import EngineError, ray
from benchbench.engines.ray import RayEngine
from benchbench.engines.slots import cpu_slots, gpu_slots

HERE = Visible(NVIDIA, ("0", "1", "2", "3"))


@pytest.mark.parametrize(
    ("cores", "options", "share", "expected"),
    [
        (None, {}, 1.0, {"num_cpus": 1.0, "num_gpus": 0.0}),
        (8.5, {}, 1.0, {"num_cpus": 8.0, "num_gpus": 1.0}),
        (8.0, {}, 0.5, {"num_cpus": 4.0, "num_gpus": 0.5}),
        (8.0, {}, 0.0, {"num_cpus": 1.0, "num_gpus": 0.0}),
        (8.0, {}, 1 / 3, {"num_cpus": 2.0, "num_gpus": 0.3333}),
        (0.5, {}, 1.0, {"num_cpus": 1.0, "num_gpus": 1.0}),
        (8.0, {"num_gpus": 2}, 1.0, {"num_cpus": 16.0, "num_gpus": 2.0}),
        (8.0, {"num_cpus": 3, "num_gpus": 0}, 1.0, {"num_cpus": 3.0, "num_gpus": 0.0}),
        (None, {"num_gpus": 1}, 1.0, {"num_cpus": 1.0, "num_gpus": 1.0}),
    ],
)
def test_a_gpu_of_a_cluster_comes_with_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    cores: float | None,
    options: dict[str, Any],
    share: float,
    expected: dict[str, float],
) -> None:
    monkeypatch.setattr(ray, "_cores_per_gpu", lambda: cores)
    assert ray._per_rank([], options, share) == expected


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, float], dict[str, str]]]:
    """What a cluster that is started here is to have, and the variables that it inherits."""
    found: list[tuple[dict[str, float], dict[str, str]]] = []

    def connect(resources: dict[str, float], address: str | None, environment: dict[str, str]) -> bool:
        found.append((dict(resources), environment))
        return False

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(ray, "_connect", connect)
    return found


def test_a_cluster_of_this_machine_has_its_chosen_gpus(
    asked: list[tuple[dict[str, float], dict[str, str]]],
) -> None:
    engine = RayEngine(gpu_slots(HERE, ["2", "3"], 8, per_device=2), share=0.5)
    resources, environment = asked[0]
    assert resources == {"num_cpus": 8, "num_gpus": 2}
    assert environment == {"CUDA_VISIBLE_DEVICES": "2,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert engine._per_rank == {"num_cpus": 2.0, "num_gpus": 0.5}


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("gpus", [["2"], []])
def test_more_gpus_than_there_are_is_one_line(gpus: list[str]) -> None:
    slots = gpu_slots(HERE, gpus, 8) if gpus else cpu_slots(1, 8)
    with pytest.raises(EngineError, match=f"ray: num_gpus: 2 for a rank, and there are {len(gpus)} to be used here"):
        RayEngine(slots, options={"num_gpus": 2})
