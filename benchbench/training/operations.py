"""Measurement of what a step takes in floating-point operations, in units of one gradient."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree

from benchbench.devices import use
from benchbench.optim.flops import FlopMeter
from benchbench.plugins.factories import Factories
from benchbench.plugins.names import describe_exception
from benchbench.training.steps import Training
from benchbench.values import RunSpec
from benchbench.workloads import DATA

PLAIN_STEPS = 10
"""Steps that are averaged over when there are no Hessian-vector products."""

LONGEST_WAIT = 100
"""Steps that the next Hessian-vector product is waited for."""

PERIODS = 2
"""Hessian periods that are averaged over."""


class Measured(NamedTuple):
    """Gradient equivalents per step, or `None` and the reason why there is no such number."""

    gc: float | None
    unmetered: str = ""


class _Step(NamedTuple):
    flops: int
    hvps: int
    shapes: tuple[Any, ...]


def gradient_equivalents(
    spec: RunSpec, factories: Factories, device: torch.device, data: Path = DATA, *, hessian: bool
) -> Measured:
    """Measure how many gradients of its workload a step of an optimizer is worth, by floating-point operations.

    A copy of the run is set up and makes its first steps. From the first Hessian-vector product on, their
    operations over two Hessian periods are divided by those of plain gradients on the same batches. The run
    itself is not touched, and torch's random state is put back.

    Args:
        spec: The run.
        factories: Those of its workload and its optimizer.
        device: Where to set it up.
        data: The folder in which data sets lie.
        hessian: Whether the run has had Hessian-vector products, so that they have to be waited for.

    Returns:
        The number, or why there is none: an operation without a formula, an exception, a period that is too long.
    """
    step, gradient = FlopMeter(), FlopMeter()
    try:
        # The fused kernels for attention have formulas of their own, or none; the plain one is matrix products.
        with use.forked_random_state(device), sdpa_kernel(SDPBackend.MATH):
            # Eager, for the operations inside compiled code are not seen; they are the same. Alone, for the ranks share
            # the operations of one process.
            plain = spec.execution.model_copy(update={"compile": False, "ranks": 1})
            training = Training(spec.model_copy(update={"execution": plain}), factories, device, data)
            gc = _measure(training, step, gradient, hessian)
    except Exception as error:  # noqa: BLE001 - foreign code, and the run itself has long succeeded
        traceback.print_exc()
        return Measured(None, f"the probe failed: {describe_exception(error)}")
    if gc is None:
        return Measured(None, f"no two Hessian-vector products within {LONGEST_WAIT} steps of each other")
    if step.without_formula:
        rest = "" if gradient.without_formula else f" (the rest: {gc:.2f} GC (FLOPs))"
        return Measured(None, f"no formula for {', '.join(sorted(step.without_formula))}{rest}")
    return Measured(gc)


def window(hvps: Sequence[int], *, hessian: bool) -> range | None:
    """Return which steps to average over, once enough of them are known.

    Args:
        hvps: Hessian-vector products of each step so far.
        hessian: Whether there have to be some.

    Returns:
        `PERIODS` periods from the first step with a product; the first `PLAIN_STEPS` steps when there are none;
        an empty range when the next product has not come after `LONGEST_WAIT` steps; `None` while more steps
        are needed.
    """
    if not hessian:
        return range(PLAIN_STEPS) if len(hvps) >= PLAIN_STEPS else None
    found = [step for step, products in enumerate(hvps) if products]
    if len(found) < 2:
        waited = len(hvps) - (found[0] + 1 if found else 0)
        return None if waited < LONGEST_WAIT else range(0)
    end = found[0] + PERIODS * (found[1] - found[0])
    return range(found[0], end) if len(hvps) >= end else None


def _measure(training: Training, step: FlopMeter, gradient: FlopMeter, hessian: bool) -> float | None:
    """Return gradient equivalents per step of a fresh training, or `None` when there is no window to average over."""
    steps: list[_Step] = []
    batches: dict[tuple[Any, ...], Any] = {}
    for batch in (batch for epoch in count(1) for batch in training.task.batches(epoch)):
        shapes = tuple(leaf.shape for leaf in _pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor))
        batches.setdefault(shapes, batch)
        flops, hvps = step.flops, training.ledger.hvps
        with step:
            training.step(batch)
        steps.append(_Step(step.flops - flops, training.ledger.hvps - hvps, shapes))
        chosen = window([made.hvps for made in steps], hessian=hessian)
        if chosen is not None:
            break
    if not chosen:
        return None
    # The last batch of an epoch may be smaller: every step is measured in gradients on a batch like its own.
    units = {}
    for shapes, batch in batches.items():
        flops = gradient.flops
        with gradient:
            training.objective(batch)()
        units[shapes] = gradient.flops - flops
    return statistics.fmean(steps[i].flops / units[steps[i].shapes] for i in chosen)
