"""Checkpoint files: complete or not used, and never executed."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.optim.equality import same
from benchbench.runs.checkpoint import KEPT, Checkpoints, UnusableCheckpointError, save_tensors

CONTENT: dict[str, Any] = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)},
    "steps": [1, 2.5, None, "text"],
}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def steps(checkpoints: Checkpoints) -> list[int]:
    return [int(path.name.partition("-")[0]) for path in checkpoints.files()]


def test_what_is_saved_is_loaded(checkpoints: Checkpoints) -> None:
    path = checkpoints.save(7, CONTENT)
    assert same(checkpoints.load(path), CONTENT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_last_ones_are_kept(checkpoints: Checkpoints) -> None:
    for step in range(9, 13):
        checkpoints.save(step, CONTENT)
    assert steps(checkpoints) == [12, 11]
    assert KEPT == 2
    assert len(list(checkpoints.files()[0].parent.iterdir())) == 2
    checkpoints.clear()
    checkpoints.clear()
    assert not checkpoints.files()


def test_one_of_an_abandoned_attempt_does_not_stay_the_newest(checkpoints: Checkpoints) -> None:
    for step in (10, 20):
        checkpoints.save(step, CONTENT)
    newest = checkpoints.save(15, {**CONTENT, "attempt": 2})
    assert checkpoints.files()[0] == newest
    assert steps(checkpoints) == [15, 10]
    again = checkpoints.save(15, {**CONTENT, "attempt": 3})
    assert checkpoints.files()[0] == again
    assert steps(checkpoints) == [15, 10]


@pytest.mark.parametrize("place", [0, 0.3, 0.7, -1])
def test_one_flipped_bit_is_found(checkpoints: Checkpoints, place: float) -> None:
    path = checkpoints.save(1, CONTENT)
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if place >= 0 else -1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnusableCheckpointError, match="damaged"):
        checkpoints.load(path)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_file_that_was_cut_short_is_found(checkpoints: Checkpoints, kept: int) -> None:
    path = checkpoints.save(1, CONTENT)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnusableCheckpointError, match="damaged"):
        checkpoints.load(path)


def test_a_write_that_was_cut_off_is_no_checkpoint(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(1, CONTENT)

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(2, CONTENT)
    assert steps(checkpoints) == [1]


class Hostile:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self._marker),))


def test_a_hostile_file_is_refused_and_not_executed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    path = checkpoints.save(1, {"weights": Hostile(marker)})  # with a digest that is right
    with pytest.raises(UnusableCheckpointError, match="not loadable"):
        checkpoints.load(path)
    assert not marker.exists()
    # The file is as dangerous as intended:
    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()


def test_equality_is_that_of_bits() -> None:
    nan = float("nan")
    assert same({"a": [nan, torch.tensor([nan, 1.0])]}, {"a": [nan, torch.tensor([nan, 1.0])]})
    for other in (
        [torch.tensor([1.0])],
        [torch.tensor([1.0], dtype=torch.float64), 2],
        [torch.tensor([[1.0]]), 2],
        [torch.tensor([1.0 + 2**-23]), 2],
        [torch.tensor([1.0]), 3],
        {"a": torch.tensor([1.0])},
    ):
        assert not same([torch.tensor([1.0]), 2], other)
    assert not same(0.0, nan)
    assert not same(nan, 0.0)


def test_large_tensors_are_hashed_as_they_lie_in_the_file(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "weights.pt"
    digest = save_tensors(path, {"large": torch.zeros(1_000_000), "empty": torch.zeros(0)})
    assert hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == digest
