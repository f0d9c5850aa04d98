"""Estimates of the cost of a suite's runs, by small experiments before any of them starts."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.devices import use
from benchbench.optim import stepping
from benchbench.optim.execution.parts import divide, size
from benchbench.optim.flops import FlopMeter
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.optim.roles import part_sizes
from benchbench.plugins.factories import Factories, Factory
from benchbench.training.operations import window
from benchbench.training.steps import Training
from benchbench.values import Cost, RunSpec
from benchbench.workloads import DATA

FEWEST = 2
"""Examples of a batch that a gradient is measured on at first; more follow as long as it is quick."""

QUICK_SECONDS = 0.2

_REPETITIONS = 2

Pair = tuple[str, str]
"""Labels of a workload and a method."""


class Effort(NamedTuple):
    """Seconds and operations of a computation.

    Attributes:
        flops: Floating-point operations.
        seconds: Time, where the model is large scaled up from a part of the batch.
    """

    flops: float
    seconds: float


class Work(NamedTuple):
    """Cost of one gradient and one Hessian-vector product of a workload, on a whole batch.

    Attributes:
        steps_per_epoch: Batches of an epoch.
        gradient: What a gradient takes.
        product: What a product takes on top of the gradient that it comes with; `None` where it cannot be computed, or
            was not asked for.
    """

    steps_per_epoch: int
    gradient: Effort
    product: Effort | None


class EvaluationCounts(NamedTuple):
    """Gradients and products that an optimizer asks for in a step, on average."""

    gradients: float
    hvps: float


class RunEstimate(NamedTuple):
    """Estimated cost of a run.

    Attributes:
        cost: Counts, and seconds of training.
        flops: Floating-point operations.
        sharpness_seconds: The most that measuring the solution's sharpness takes; 0 where that is not asked for, `None`
            where it is not known.
        parts: Numbers that each part of an optimizer moves, where it treats parameters by their roles.
    """

    cost: Cost
    flops: float
    sharpness_seconds: float | None = 0.0
    parts: Mapping[str, int] = {}


def of_runs(specs: Mapping[Pair, RunSpec], device: torch.device, data: Path = DATA) -> dict[Pair, RunEstimate]:
    """Estimate one run of each workload and method.

    Args:
        specs: A run by (workload, method).
        device: Where to measure.
        data: The folder in which data sets lie, for workloads that cannot make up their own.

    Returns:
        The estimates. One is missing where the workload cannot be set up, or where the optimizer does not run on a
        problem of a few numbers.
    """
    factories = {pair: Factories.of(spec) for pair, spec in specs.items()}
    asked = {pair: evaluations(factories[pair].optimizer, spec.create_graph) for pair, spec in specs.items()}
    alike: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair, spec in specs.items():
        if asked[pair] is not None:
            alike[pair[0], spec.execution.model_dump_json()].append(pair)
    found = {}
    for pairs in alike.values():
        products = any(each.hvps for pair in pairs if (each := asked[pair]) is not None)
        products |= any("sharpness" in specs[pair].measure for pair in pairs)
        one = work(specs[pairs[0]], factories[pairs[0]], device, data, products=products)
        for pair in pairs:
            made = estimate(specs[pair], one, each) if one is not None and (each := asked[pair]) is not None else None
            if made is not None:
                found[pair] = made._replace(parts=_parts(specs[pair], factories[pair], device, data))
    return {pair: found[pair] for pair in specs if pair in found}


def _parts(spec: RunSpec, factories: Factories, device: torch.device, data: Path) -> dict[str, int]:
    """Return how many numbers each part of an optimizer moves in a run, for one that has parts."""
    if not factories.optimizer.wants_roles:
        return {}
    made_up = spec.model_copy(update={"synthetic": bool(factories.workload.code.synthetic)})
    with use.forked_random_state(device):
        return part_sizes(Training(made_up, factories, device, data).optimizer)


def work(
    spec: RunSpec, factories: Factories, device: torch.device, data: Path = DATA, *, products: bool = True
) -> Work | None:
    """Measure a gradient of a run's workload and a product, on made-up data where the workload can make them up.

    Args:
        spec: A run of the workload.
        factories: Those of its workload and its optimizer.
        device: Where to measure it.
        data: The folder in which data sets lie.
        products: Whether products are asked for.

    Returns:
        What it takes, or `None` when the workload cannot be set up.
    """
    made_up = bool(factories.workload.code.synthetic)
    with use.forked_random_state(device):
        try:
            training = Training(spec.model_copy(update={"synthetic": made_up}), factories, device, data)
        except Exception:  # noqa: BLE001 - foreign code, data may be missing
            return None
        batch = next(iter(training.task.batches(1)))
        most = shares = max(1, size(batch) // FEWEST)
        gradient, product = (lambda part: training.objective(part)()), partial(_gradient_and_product, training)
        flops = _flops(gradient, divide(batch, most)[0])
        seconds = _seconds(gradient, divide(batch, shares)[0])
        while shares > 1 and seconds < QUICK_SECONDS:
            shares //= 2
            seconds = _seconds(gradient, divide(batch, shares)[0])
        one = Effort(most * flops, shares * seconds)
        both = None
        if products:
            with suppress(Exception):  # foreign code, whose derivatives cannot be differentiated again
                part = divide(batch, shares)[0]
                both = Effort(most * _flops(product, divide(batch, most)[0]), shares * _seconds(product, part))
    more = None if both is None else Effort(both.flops - one.flops, max(0.0, both.seconds - one.seconds))
    return Work(training.task.steps_per_epoch, one, more)


def evaluations(factory: Factory, declared: bool | None = None) -> EvaluationCounts | None:
    """Return what an optimizer asks for in a step, found on a problem of a few numbers.

    Args:
        factory: Its factory.
        declared: Whether it differentiates gradients itself; `None` leaves it to its own declaration.

    Returns:
        The averages over two Hessian periods, or `None` when the optimizer does not run on that problem.
    """
    model = nn.ParameterList([nn.Parameter(torch.full((2, 2), 0.5))])
    parameters = list(model.parameters())
    create_graph = factory.needs_graph(declared)
    ledger, hvps, gradients = Ledger(), list[int](), list[int]()
    try:
        optimizer = factory.build_optimizer(parameters, seed=0, model=model)
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
    return EvaluationCounts(*(sum(counts[i] for i in chosen) / len(chosen) for counts in (gradients, hvps)))


def estimate(spec: RunSpec, one: Work, asked: EvaluationCounts) -> RunEstimate | None:
    """Return what a run will cost, from what gradients and products take and how many are asked for.

    Returns:
        The estimate, or `None` when products are asked for and nothing is known of them.
    """
    product = one.product if asked.hvps else Effort(0.0, 0.0)
    if product is None:
        return None
    steps = spec.epochs * one.steps_per_epoch
    gradients = round(steps * asked.gradients)
    cost = Cost(
        steps=steps,
        forwards=gradients,
        gradients=gradients,
        hvps=round(steps * asked.hvps),
        train_seconds=steps * (asked.gradients * one.gradient.seconds + asked.hvps * product.seconds),
    )
    flops = steps * (asked.gradients * one.gradient.flops + asked.hvps * product.flops)
    return RunEstimate(cost, flops, _sharpness_seconds(spec, one))


def _sharpness_seconds(spec: RunSpec, one: Work) -> float | None:
    """Return the most that a measurement of sharpness takes, in the arithmetic that was measured."""
    if "sharpness" not in spec.measure:
        return 0.0
    settings = spec.sharpness
    if one.product is None or settings.dtype != "float32":
        return None
    losses, gradients, products = settings.most_passes
    batches = one.steps_per_epoch
    if settings.examples is not None:
        batches = min(batches, math.ceil(settings.examples / spec.batch_size))
    # A loss alone is a third of a gradient, as its operations are.
    return batches * ((losses / 3 + gradients) * one.gradient.seconds + products * one.product.seconds)


def _gradient_and_product(training: Training, batch: Any) -> Tensor:
    objective = training.objective(batch)
    loss, _ = objective.with_hvp([[torch.ones_like(parameter) for parameter in objective.parameters]])
    return loss


def _flops(evaluate: Callable[[Any], Tensor], batch: Any) -> int:
    # The fused kernels for attention have formulas of their own, or none; the plain one is matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopMeter() as meter:
        evaluate(batch)
    flops: int = meter.flops
    return flops


def _seconds(evaluate: Callable[[Any], Tensor], batch: Any) -> float:
    """Return the seconds of an evaluation once everything is loaded, chosen and compiled: the least of a few."""
    evaluate(batch).item()
    shortest = _timed(evaluate, batch)
    for _ in range(_REPETITIONS if shortest < QUICK_SECONDS else 0):
        shortest = min(shortest, _timed(evaluate, batch))
    return shortest


def _timed(evaluate: Callable[[Any], Tensor], batch: Any) -> float:
    started = time.perf_counter()
    evaluate(batch).item()  # waits for the device
    return time.perf_counter() - started
