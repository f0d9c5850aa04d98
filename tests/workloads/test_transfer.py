"""Tensors reach a device in one copy, as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from benchbench.workloads.transfer import moved, prefetched
from tests.accelerator import CPU, current_device, every_device, has

OTHER = torch.device("mps")

TENSORS = [
    torch.arange(7),
    torch.tensor([True, False, True]),
    torch.tensor([[0.1, -torch.inf, torch.nan]], dtype=torch.float64),
    torch.empty(0, 3),
    torch.arange(12, dtype=torch.uint8).reshape(3, 4).T,
    torch.tensor(2.5, dtype=torch.bfloat16),
    torch.tensor([1 + 2j]),
]


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def test_on_the_cpu_nothing_is_copied() -> None:
    assert all(one is other for one, other in zip(moved(TENSORS, CPU), TENSORS, strict=True))


@every_device
def test_tensors_arrive_as_they_were() -> None:
    tensors = [tensor for tensor in TENSORS if tensor.dtype != torch.float64 or has(torch.float64)]
    arrived = moved(tensors, current_device())
    assert {each.device.type for each in arrived} == {current_device().type}
    assert all(same(one.cpu(), other) for one, other in zip(arrived, tensors, strict=True))


def test_tensors_of_any_type_and_shape_travel_together(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Tensor] = []

    def copy(tensor: Tensor, *_where: Any, **_how: Any) -> Tensor:
        copied.append(tensor.clone())
        tensor.fill_(255)
        return copied[-1]

    monkeypatch.setattr(torch.Tensor, "to", copy)  # no other device is here: what arrives lies on the CPU
    arrived = moved(TENSORS, OTHER)
    assert len(copied) == 1
    assert all(same(one, other) for one, other in zip(arrived, TENSORS, strict=True))
    assert all(each.is_contiguous() for each in arrived)
    assert {each.untyped_storage().data_ptr() for each in arrived} == {copied[0].untyped_storage().data_ptr()}
    assert moved([], OTHER) == []


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is moved to another device lie on the CPU."""
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_where, **_how: tensor.clone())


@pytest.mark.usefixtures("pretended")
def test_batches_are_made_ahead_by_one_thread_and_in_their_order() -> None:
    made: list[int] = []
    threads: set[str] = set()

    def batches() -> Iterator[dict[str, Tensor]]:
        for number in range(5):
            made.append(number)
            threads.add(threading.current_thread().name)
            yield {"x": torch.full((2, 3), number), "y": torch.full((2,), number / 2)}

    seen = [(batch["x"].tolist(), batch["y"].tolist()) for batch in prefetched(batches(), OTHER)]
    assert seen == [([[n] * 3] * 2, [n / 2] * 2) for n in range(5)]
    assert made == list(range(5))
    [thread] = threads
    assert thread != threading.current_thread().name
    assert thread not in {each.name for each in threading.enumerate()}


@pytest.mark.usefixtures("pretended")
def test_what_fails_in_the_thread_fails_where_the_batch_is_asked_for() -> None:
    def batches() -> Iterator[list[Tensor]]:
        yield []
        raise KeyError("lost")

    arriving = prefetched(batches(), OTHER)
    assert next(arriving) == []
    with pytest.raises(KeyError, match="lost"):
        next(arriving)


@pytest.mark.usefixtures("pretended")
def test_an_epoch_that_is_given_up_leaves_no_thread() -> None:
    before = threading.active_count()
    arriving = prefetched(iter([[] for _ in range(100)]), OTHER)
    assert next(arriving) == []
    arriving.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_the_cpu_makes_its_batches_itself() -> None:
    [(batch, thread)] = prefetched(iter([(TENSORS[0], threading.active_count())]), torch.device("cpu"))
    assert batch is TENSORS[0]
    assert thread == threading.active_count()
