"""Several processes that share every batch make the steps of one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import REPOSITORY
from tests.helpers import rank_training

Found = list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks has at the end, by case."""
    folder = tmp_path_factory.mktemp("ranks")
    commands = [[sys.executable, "-m", "tests.helpers.rank_training", str(rank), str(folder)] for rank in range(2)]
    processes = [subprocess.Popen(command, cwd=REPOSITORY) for command in commands]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", rank_training.CASES)
def test_ranks_keep_the_same_weights(found: Found, case: str) -> None:
    torch.testing.assert_close(found[1][case], found[0][case], rtol=0, atol=0)


@pytest.mark.parametrize("case", [case for case in rank_training.CASES if not case.startswith("per rank")])
def test_ranks_make_the_steps_of_one_process(found: Found, case: str) -> None:
    torch.testing.assert_close(found[0][case], rank_training.trained(case, None), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", ["per rank", "per rank, curvature"])
def test_a_perturbation_per_rank_is_another_one(found: Found, case: str) -> None:
    shared = {"per rank": "sam mlp", "per rank, curvature": "sassha mlp"}[case]
    assert found[0][case]["losses"][0] == found[0][shared]["losses"][0]
    assert not torch.allclose(found[0][case]["losses"], found[0][shared]["losses"])


def test_a_perturbation_per_rank_goes_along_the_gradient_of_its_share(found: Found) -> None:
    task = rank_training.training("per rank", None).task
    weights = list(task.model.parameters())
    start = [weight.detach().clone() for weight in weights]
    images, targets = next(task.batches(1))
    steps: list[list[Tensor]] = []
    for share in (slice(0, 3), slice(3, 6)):
        gradients = torch.autograd.grad(task.loss((images[share], targets[share])), weights)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.add_(rank_training.RHO * gradient / norm)
        steps.append(list(torch.autograd.grad(task.loss((images[share], targets[share])), weights)))
        with torch.no_grad():
            for weight, value in zip(weights, start, strict=True):
                weight.copy_(value)
    expected = [value - 0.1 * (one + other) / 2 for value, one, other in zip(start, *steps, strict=True)]
    torch.testing.assert_close(list(found[0]["per rank"]["first"].values()), expected, rtol=1e-10, atol=1e-12)
