"""Checking an optimizer that stands in no suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from benchbench import suite as suites
from benchbench.problems import BadInputError
from benchbench.values import Component

if TYPE_CHECKING:
    from benchbench.conformance import Verdict


def check_optimizer(
    target: str, settings: Sequence[str] = (), *, create_graph: bool | None = None
) -> Iterator[Verdict]:
    """Check whether an optimizer keeps what the harness relies on.

    Args:
        target: A registered name, `module:attribute` or `path/to/file.py:attribute`.
        settings: Hyperparameters such as `lr=0.1`.
        create_graph: Whether it differentiates gradients itself (default: what it declares).

    Yields:
        One verdict per promise, as soon as it is known.

    Raises:
        BadInputError: There is no such optimizer, or it has no such hyperparameter.
    """
    from benchbench.checks import component_problems
    from benchbench.conformance import verdicts

    component = Component(target=target, parameters=suites.settings(settings))
    found = component_problems("optimizer", component)
    if found:
        raise BadInputError(found)
    yield from verdicts(component, create_graph=create_graph)
