"""What the runs of a suite will cost, estimated before any of them starts: small experiments instead of training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench import registry, stepping
from benchbench.cost.flops import FlopMeter
from benchbench.cost.ledger import Ledger
from benchbench.devices import use
from benchbench.execution.parts import divide, size
from benchbench.objective import Objective
from benchbench.training.probe import window
from benchbench.training.steps import Training
from benchbench.values import Cost, RunSpec
from benchbench.workloads import DATA

FEWEST = 2
"""Examples of a batch that a gradient is measured on at first; more follow as long as it is quick."""

QUICK_SECONDS = 0.2

GRADIENTS_PER_HVP = 2.0
"""What a Hessian-vector product takes in operations, in gradients, when it comes with one (docs/cost.md)."""

Pair = tuple[str, str]
"""Labels of a workload and a method."""


class Work(NamedTuple):
    """What one gradient of a workload takes.

    Attributes:
        steps_per_epoch: Batches of an epoch.
        flops: Floating-point operations of a gradient on a whole batch.
        seconds: Time that it takes, where the model is large scaled up from a part of the batch.
    """

    steps_per_epoch: int
    flops: float
    seconds: float


class Evaluations(NamedTuple):
    """What an optimizer asks for in a step, on average."""

    gradients: float
    hvps: float


class Estimate(NamedTuple):
    """What a run will cost.

    Attributes:
        cost: Counts, and seconds of training.
        flops: Floating-point operations.
    """

    cost: Cost
    flops: float


def of_runs(specs: Mapping[Pair, RunSpec], device: torch.device, data: Path = DATA) -> dict[Pair, Estimate]:
    """Estimate one run of each workload and method.

    Args:
        specs: A run by (workload, method).
        device: Where to measure.
        data: The folder in which data sets lie, for workloads that cannot make up their own.

    Returns:
        The estimates. One is missing where the workload cannot be set up, or where the optimizer does not run on a
        problem of a few numbers.
    """
    works: dict[str, Work | None] = {}
    found = {}
    for (label, method), spec in specs.items():
        if label not in works:
            works[label] = work(spec, device, data)
        one, asked = works[label], evaluations(spec)
        if one is not None and asked is not None:
            found[label, method] = estimate(spec, one, asked)
    return found


def work(spec: RunSpec, device: torch.device, data: Path = DATA) -> Work | None:
    """Measure one gradient of a run's workload, on made-up data where the workload can make them up.

    Args:
        spec: A run of the workload.
        device: Where to measure it.
        data: The folder in which data sets lie.

    Returns:
        What it takes, or `None` when the workload cannot be set up.
    """
    made_up = bool(registry.resolve("workload", spec.workload.target).synthetic)
    with use.forked_random_state(device):
        try:
            training = Training(spec.model_copy(update={"synthetic": made_up}), device, data)
        except Exception:  # noqa: BLE001 - foreign code, data may be missing
            return None
        batch = next(iter(training.task.batches(1)))
        shares = max(1, size(batch) // FEWEST)
        flops = shares * _flops(training, divide(batch, shares)[0])
        seconds = _seconds(training, divide(batch, shares)[0])
        while shares > 1 and seconds < QUICK_SECONDS:
            shares //= 2
            seconds = _seconds(training, divide(batch, shares)[0])
    return Work(training.task.steps_per_epoch, flops, shares * seconds)


def evaluations(spec: RunSpec) -> Evaluations | None:
    """Return what a run's optimizer asks for in a step, found on a problem of a few numbers.

    Returns:
        The averages over two Hessian periods, or `None` when the optimizer does not run on that problem.
    """
    model = nn.ParameterList([nn.Parameter(torch.full((2, 2), 0.5))])
    parameters = list(model.parameters())
    create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
    ledger, hvps, gradients = Ledger(), list[int](), list[int]()
    try:
        optimizer = registry.build_optimizer(spec.optimizer, parameters, seed=0, model=model)
        stepping.training(optimizer)
        while (chosen := window(hvps, hessian=True)) is None:
            before = ledger.gradients, ledger.hvps
            objective = Objective(
                lambda: parameters[0].square().mul(0.5).sum(), parameters, ledger=ledger, create_graph=create_graph
            )
            with ledger.metered():
                stepping.step(optimizer, objective)
            gradients.append(ledger.gradients - before[0])
            hvps.append(ledger.hvps - before[1])
    except Exception:  # noqa: BLE001 - foreign code on a problem that it was not made for
        return None
    chosen = chosen or (window(hvps, hessian=False) if not any(hvps) else None)
    if not chosen:
        return None
    return Evaluations(*(sum(counts[i] for i in chosen) / len(chosen) for counts in (gradients, hvps)))


def estimate(spec: RunSpec, one: Work, asked: Evaluations) -> Estimate:
    """Return what a run will cost, from what a gradient takes and how many are asked for."""
    steps = spec.epochs * one.steps_per_epoch
    in_gradients = steps * (asked.gradients + GRADIENTS_PER_HVP * asked.hvps)
    gradients = round(steps * asked.gradients)
    cost = Cost(
        steps=steps,
        forwards=gradients,
        gradients=gradients,
        hvps=round(steps * asked.hvps),
        train_seconds=in_gradients * one.seconds,
    )
    return Estimate(cost, in_gradients * one.flops)


def _flops(training: Training, batch: Any) -> int:
    # The fused kernels for attention have formulas of their own, or none; the plain one is matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopMeter() as meter:
        training.objective(batch)()
    flops: int = meter.flops
    return flops


def _seconds(training: Training, batch: Any) -> float:
    started = time.perf_counter()
    training.objective(batch)().item()  # waits for the device
    return time.perf_counter() - started
