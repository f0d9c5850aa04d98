"""Tests of the promises of an optimizer that the harness relies on: the report of `benchbench check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchbench.checks.conformance import promises
from benchbench.checks.conformance.candidate import Candidate
from benchbench.checks.conformance.nan import survives_nan
from benchbench.checks.conformance.trying import Grade, Verdict, generators_kept, verdict
from benchbench.optim import stepping
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import describe_exception
from benchbench.problems import printable
from benchbench.values import Component

__all__ = ["PROMISES", "WORKS", "Grade", "Verdict", "verdicts"]

WORKS = "is constructed and makes steps"

PROMISES: dict[str, Callable[[Candidate], str]] = {
    "makes progress on a quadratic and on a small network": promises.makes_progress,
    "is deterministic under a seed": promises.is_deterministic,
    "leaves other random streams alone": promises.leaves_random_streams_alone,
    "continues bit by bit from its state_dict": promises.continues_from_its_state,
    "honours parameter groups": promises.honours_parameter_groups,
    "lets its Hessian-vector products have an effect": promises.uses_its_curvature,
    "declares what is metered": promises.declares_what_it_needs,
    "tolerates frozen and unused parameters": promises.tolerates_idle_parameters,
    "survives NaN without harm to the process": survives_nan,
}
"""Everything that is promised in addition to `WORKS`, without which the others say nothing."""


def verdicts(component: Component, *, create_graph: bool | None = None) -> Iterator[Verdict]:
    """Check an optimizer, one promise after the other.

    Args:
        component: Its target and hyperparameters.
        create_graph: Whether it differentiates gradients itself; `None` leaves it to its own declaration.

    Yields:
        One verdict per promise.
    """
    try:
        with generators_kept():
            candidate = _tried(Candidate(Factory("optimizer", component), create_graph))
    except Exception as error:  # noqa: BLE001 - foreign code
        yield Verdict(WORKS, "FAIL", printable(describe_exception(error)))
        yield from (Verdict(promise, "unknown", "it makes no steps") for promise in PROMISES)
        return
    yield Verdict(
        WORKS,
        "ok",
        "on matrices alone: it refuses other shapes, which `by_role` gives to another optimizer"
        if candidate.matrices_only
        else "",
    )
    for promise, is_kept in PROMISES.items():
        yield verdict(promise, partial(is_kept, candidate))


def _tried(candidate: Candidate) -> Candidate:
    """Make a first step, and return the candidate with what that has shown."""
    try:
        candidate.on_network()
    except Exception:  # noqa: BLE001 - foreign code
        replace(candidate, matrices_only=True).on_network()
        candidate = replace(candidate, matrices_only=True)
    try:
        candidate.on_network().run(1)
    except stepping.MissingGraphError:
        candidate = replace(candidate, undeclared_need=True)
        candidate.on_network().run(1)
    return candidate
