"""Lion against its formula in NumPy, and against what the harness relies on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchbench_lion import Lion, spirals

from benchbench.checks.conformance import verdicts
from benchbench.values import Component
from benchbench.workloads import Setup
from benchbench.workloads.streams import Streams


def test_it_follows_the_formula() -> None:
    start, curvature = np.array([1.0, -2.0, 0.5]), np.array([1.0, 3.0, 0.2])
    lr, beta1, beta2, decay = 0.01, 0.9, 0.99, 0.1
    weights = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = Lion([weights], lr=lr, betas=(beta1, beta2), weight_decay=decay)
    x, momentum = start, np.zeros(3)
    for _ in range(50):
        optimizer.zero_grad()
        (torch.from_numpy(curvature) * weights.square()).sum().div(2).backward()
        optimizer.step()
        gradient = curvature * x
        x = x - lr * (np.sign(beta1 * momentum + (1 - beta1) * gradient) + decay * x)
        momentum = beta2 * momentum + (1 - beta2) * gradient
    np.testing.assert_allclose(weights.detach().numpy(), x, rtol=1e-12)


def test_it_keeps_what_the_harness_relies_on() -> None:
    assert not [each for each in verdicts(Component(target="benchbench_lion:Lion")) if each.grade == "FAIL"]


@pytest.mark.parametrize("setting", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}])
def test_wrong_hyperparameters_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Lion([torch.nn.Parameter(torch.ones(1))], **setting)


def test_the_spirals_are_the_same_for_every_optimizer() -> None:
    setup = Setup(torch.device("cpu"), 64, Streams(0))
    tasks = [spirals.build(setup) for _ in range(2)]
    for ours, theirs in zip(*(task.batches(1) for task in tasks), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert set(tasks[0].evaluate("validation")) == {"loss", "accuracy"}
