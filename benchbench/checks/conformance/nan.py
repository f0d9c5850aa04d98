"""A test that a NaN harms its own run alone; it is made in a process of its own.

python -m benchbench.checks.conformance.nan < candidate.json
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch

from benchbench.checks.conformance.candidate import Candidate
from benchbench.checks.conformance.trying import BrokenPromiseError
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import describe_exception
from benchbench.values import Component

TIMEOUT = 120.0
"""Seconds after which the process is taken to hang; a healthy one needs a few."""


def survives_nan(candidate: Candidate) -> str:
    """Raise or go on when loss and gradients are NaN, and leave the process fit for another run.

    Raises:
        BrokenPromiseError: The process hangs or dies, or a fresh optimizer fails in it.
    """
    content = [candidate.factory.component.model_dump(mode="json"), candidate.create_graph, candidate.matrices_only]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchbench.checks.conformance.nan"],
            input=json.dumps(content),
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokenPromiseError(f"hangs: no answer in {TIMEOUT:g} seconds") from None
    answer = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode < 0:
        raise BrokenPromiseError(f"the process dies of signal {-done.returncode}")
    if done.returncode:
        raise BrokenPromiseError(answer or (done.stderr.strip().splitlines() or ["the process ends"])[-1])
    return answer


def main() -> int:
    """Try the optimizer that standard input names; the last line printed says what happened."""
    component, create_graph, matrices_only = json.load(sys.stdin)
    factory = Factory("optimizer", Component(**component))
    answer, works = trial(Candidate(factory, create_graph, matrices_only=matrices_only))
    print(answer)
    return 0 if works else 1


def trial(candidate: Candidate) -> tuple[str, bool]:
    """Give NaNs to an optimizer, then try a fresh one; return what happened, and whether the fresh one works.

    It may harm the process, so a process of its own has to call it.
    """
    # An optimizer that diverges without any NaN must not be blamed on this one.
    healthy, settings = _is_finite_after_steps(candidate), _settings()
    training = candidate.on_network()
    training.run(3)
    try:
        training.run(2, lambda loss, step: loss * float("nan"))
        remark = "goes on"
    except Exception as error:  # noqa: BLE001 - raising is one of the two good answers
        remark = f"raises {describe_exception(error)}"
    works = settings == _settings() and (_is_finite_after_steps(candidate) or not healthy)
    outcome = "a fresh optimizer works" if works else "then a fresh optimizer fails in the same process"
    return f"{remark}; {outcome}", works


def _is_finite_after_steps(candidate: Candidate) -> bool:
    try:
        training = candidate.on_network()
        training.run(3)
    except Exception:  # noqa: BLE001 - foreign code
        return False
    return all(bool(torch.isfinite(weights).all()) for weights in training.weights())


def _settings() -> tuple[object, ...]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()


if __name__ == "__main__":
    sys.exit(main())
