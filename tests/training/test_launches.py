"""Kernel launches of a training step, counted on a pretended GPU: ResNet-20, batches of 256, data path included."""

from __future__ import annotations

import functools

import pytest

from benchmarks.pretend_cuda import StepCounts, spec_of, steady, steps_of


@functools.cache
def steps(method: str) -> list[StepCounts]:
    """Return the counts of the first steps, of which SASSHA's second has no product."""
    parameters = {"sassha": {"lr": 0.15, "weight_decay": 1e-3, "lazy_hessian": 2}, "adahessian": {"weight_decay": 1e-3}}
    given = {"optimizer": {"target": method, "parameters": parameters[method]}} if method in parameters else {}
    return steps_of(spec_of(method, **given), 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "with_product", "at_most"),
    [
        ("sgd", False, 213),
        ("sassha", False, 402),
        ("sassha", True, 950),
        ("adahessian", True, 820),
    ],
)
def test_a_step_launches_no_more_kernels(method: str, with_product: bool, at_most: int) -> None:
    assert steady(steps(method), with_product=with_product).launches <= at_most
