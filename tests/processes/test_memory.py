"""What a run holds in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchbench.optim import state
from benchbench.processes import memory
from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import RunResult
from tests.conftest import STUBS
from tests.helpers.specs import run_spec

CPU = torch.device("cpu")
PARAMETERS = 4 * 10  # float32


def stepped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 4)), nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: torch.optim.SGD(p, 0.1), 0),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), PARAMETERS),
        (lambda p: torch.optim.Adam(p, 0.1), 2 * PARAMETERS + 2 * 4),  # and two step counters
    ],
)
def test_the_state_is_the_sum_of_its_tensors(make, expected) -> None:
    optimizer = stepped(make(parameters()))
    assert state.state_bytes(optimizer) == expected
    assert state.parameter_bytes(optimizer) == PARAMETERS


def test_shared_memory_counts_once_and_that_of_parameters_not_at_all() -> None:
    [first, second] = parameters()
    optimizer = torch.optim.SGD([first, second], 0.1)
    shared = torch.ones(6)
    optimizer.state[first] = {"views": [shared[:3], (shared[3:],)], "deep": {"down": shared}, "number": 1}
    optimizer.state[second] = {"same": shared, "parameter": first.detach()}
    assert state.state_bytes(optimizer) == 4 * 6


def test_the_peak_of_a_process_is_in_bytes() -> None:
    before = memory.process_peak()
    assert before > 20 * 2**20  # an interpreter with torch is larger than that
    block = torch.ones(100 * 2**20, dtype=torch.uint8)
    assert memory.process_peak() >= before
    assert memory.process_peak() > block.nbytes


def result_of(path: Path, *, own_process: bool) -> RunResult:
    spec = run_spec("sgd", f"{STUBS}:line", parameters={"lr": 0.1, "momentum": 0.9})
    folder = RunFolder(path)
    folder.prepare(spec)
    return run_in_folder(spec, CPU, folder, own_process=own_process)


def test_a_run_says_what_it_held(tmp_path: Path) -> None:
    held = result_of(tmp_path, own_process=True).memory
    assert (held.parameters, held.state, held.device_peak) == (8, 8, None)
    assert held.host_peak is not None
    assert result_of(tmp_path, own_process=False).memory.host_peak is None
