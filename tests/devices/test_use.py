"""What a run does with its device, shown on the CPU, and on an accelerator that takes notes."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchbench.devices import use
from benchbench.devices.kinds import AMD, APPLE, CPU, INTEL, NVIDIA, kind_of

HOST = torch.device("cpu")


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have started CUDA."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: asked.append("_lazy_init"))
    monkeypatch.setattr(torch.cuda, "_lazy_call", lambda *args, **kwargs: asked.append("_lazy_call"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: asked.append("device_count") or 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append("is_available") or True)
    return asked


def test_a_cpu_run_starts_no_accelerator(starts: list[str]) -> None:
    with use.forked_random_state(HOST):
        use.seed(HOST, 3)
        use.synchronise(HOST)
        use.make_current(HOST)
        use.reset_peak(HOST)
    assert use.peak(HOST) is None
    assert use.description(HOST) == f"cpu ({platform.processor() or platform.machine()})"
    assert (use.collective(HOST), use.pins_memory(HOST), use.lacks(HOST, "float64")) == ("gloo", False, None)
    assert starts == []


def test_random_state_is_put_back() -> None:
    before = torch.get_rng_state()
    with use.forked_random_state(HOST):
        use.seed(HOST, 1)
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    use.seed(HOST, 1)
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("name", ["cuda:1", "cuda", "xpu:1"])
def test_only_the_runs_own_device_is_seeded_and_forked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    done: list[Any] = []
    current = [0]

    class Current:
        def __init__(self, device: torch.device) -> None:
            self.index = device.index

        def __enter__(self) -> None:
            self.before, current[0] = current[0], self.index

        def __exit__(self, *_: object) -> None:
            current[0] = self.before

    pretend = SimpleNamespace(
        init=lambda: done.append("init"),
        device=Current,
        manual_seed=lambda number: done.append(("seed", current[0], number)),
        get_rng_state=lambda device: done.append(("get", device)),
        set_rng_state=lambda state, device: done.append(("set", device)),
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: pretend)
    device = torch.device(name)
    with use.forked_random_state(device):
        use.seed(device, 5)
    seeded: list[Any] = [("seed", 0, 5)] if device.index is None else ["init", ("seed", 1, 5)]
    assert done == [("get", device), *seeded, ("set", device)]
    assert current == [0]


@pytest.mark.parametrize(("name", "inside"), [("cuda:2", [2]), ("cuda", []), ("cpu", [])])
def test_the_runs_device_is_current_inside(monkeypatch: pytest.MonkeyPatch, name: str, inside: list[int]) -> None:
    current: list[int] = []

    @contextmanager
    def device_index(index: int) -> Iterator[None]:
        current.append(index)
        yield
        current.remove(index)

    monkeypatch.setattr(torch.accelerator, "device_index", device_index)
    with use.current(torch.device(name)):
        assert current == inside
    assert current == []


@pytest.mark.parametrize("hip", [None, "6.4"])
def test_what_torch_calls_cuda_may_be_amds(monkeypatch: pytest.MonkeyPatch, hip: str | None) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    assert kind_of("cuda") is (AMD if hip else NVIDIA)
    assert [kind_of(name) for name in ("cpu", "xpu", "mps")] == [CPU, INTEL, APPLE]


def test_what_a_device_cannot_do_is_one_line() -> None:
    assert "no float64" in (use.lacks(torch.device("mps"), "float64") or "")
    assert use.lacks(torch.device("cuda"), "float64") is None


def test_starting_the_cpu_starts_nothing(starts: list[str]) -> None:
    use.start(HOST, 4)
    assert not starts


@pytest.mark.parametrize(
    ("raised", "there", "message"),
    [
        (
            RuntimeError("Found no NVIDIA driver on your system. Please check\nthat you have one"),
            2,
            "cuda does not start: Found no",
        ),
        (AssertionError("Torch not compiled with CUDA enabled"), 0, "cuda does not start: Torch not compiled"),
        (RuntimeError(), 2, "cuda does not start: RuntimeError"),
        (None, 1, "2 devices of the kind cuda are needed, and there are 1"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, there: int, message: str
) -> None:
    def ones(*_: Any, **__: Any) -> torch.Tensor:
        if raised is not None:
            raise raised
        return torch.zeros(1)

    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(use.DeviceMissingError) as caught:
        use.start(torch.device("cuda"), 2)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.__cause__ is raised  # which may say that memory has run out
