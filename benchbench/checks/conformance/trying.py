"""Trying a promise: the verdict on it, and the global random generators meanwhile."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from benchbench.plugins.names import describe_exception
from benchbench.problems import printable

Grade = Literal["ok", "FAIL", "differs", "unknown"]
"""`FAIL` is a broken promise; `differs` is what some methods do by design, and this harness can live with; `unknown` is
what cannot be told of this plugin."""


class BrokenPromiseError(Exception):
    """A promise is broken; the message says how."""


class NotApplicableError(Exception):
    """A promise that cannot be tried with this optimizer; the message says why."""


class DiffersByDesignError(Exception):
    """Something is done otherwise than by most optimizers, as some methods are meant to; the message says what."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of trying a promise.

    Attributes:
        promise: What is promised.
        grade: `ok`, `FAIL`, `differs` or `unknown`.
        reason: Why, or a remark, in one line.
    """

    promise: str
    grade: Grade
    reason: str = ""


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the global generators back afterwards, and keep warnings off the report."""
    python, numpy = random.getstate(), np.random.get_state()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def random_states(*, with_torch: bool = False) -> dict[str, str]:
    """Return the states of the global generators of Python and NumPy, and of torch if wanted, as text."""
    torch_state = {"torch": repr(torch.get_rng_state().tolist())} if with_torch else {}
    numpy_state = [np.asarray(part).tolist() for part in np.random.get_state()]
    return {**torch_state, "Python": repr(random.getstate()), "NumPy": repr(numpy_state)}


def seed_all(number: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def verdict(promise: str, is_kept: Callable[[], str]) -> Verdict:
    """Return what comes of trying a promise, which returns a remark when it is kept, and raises otherwise.

    Global generators are put back afterwards.
    """
    try:
        with generators_kept():
            return Verdict(promise, "ok", printable(is_kept()))
    except NotApplicableError as reason:
        return Verdict(promise, "unknown", printable(str(reason)))
    except DiffersByDesignError as reason:
        return Verdict(promise, "differs", printable(str(reason)))
    except BrokenPromiseError as reason:
        return Verdict(promise, "FAIL", printable(str(reason)))
    except Exception as error:  # noqa: BLE001 - foreign code
        return Verdict(promise, "FAIL", printable(describe_exception(error)))
