"""Optimizers put together from small parts: whatever they are made of, the same invariants hold."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbench.runs.folder import RunFolder
from tests.training.test_attempt import numbers, perform, small, stop_after

SIGNATURES = {
    "closure": "def step(self, closure)",
    "objective": "def step(self, *, objective)",
    "anything": "def step(self, *args)",
    "none": "def step(self)",
}
GROUPS = {
    "one": "params",
    "each": "[{'params': [p]} for p in params]",
    "halves": "[{'params': params[:3]}, {'params': iter(params[3:])}]",
    "shapes": "[{'params': [p for p in params if p.ndim > 1]}, {'params': [p for p in params if p.ndim < 2]}]",
}
STATES = {
    "none": ("pass", "1"),
    "state": ("s = self.state[p]; s['n'] = s.get('n', 0) + 1", "self.state[p]['n'] ** -0.5"),
    "group": ("group['n'] = group.get('n', 0) + 1", "group['n'] ** -0.5"),
    "hidden": ("self.n += 1", "self.n ** -0.5"),
}
CLOSURES = {
    "reads": "call()",
    "backward": "self.zero_grad(); call().backward()",
    "grad": "loss = call(); gs = torch.autograd.grad(loss, ps)\n        for p, g in zip(ps, gs): p.grad = g",
    "twice": "call(); call()",
}
CODE = """
import torch

class Made(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 0.05):
        self.n = 0
        super().__init__({groups}, {{"lr": lr}})

    {signature}:
        ps = [p for group in self.param_groups for p in group["params"]]
        {closure}
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    {note}
                    p -= group["lr"] * ({factor}) * p.grad
"""
CALLS = {
    "closure": "call = closure",
    "objective": "call = objective",
    "anything": "[call] = args",
    "none": "call = None",
}

parts = st.tuples(*(st.sampled_from(sorted(each)) for each in (SIGNATURES, GROUPS, STATES, CLOSURES)))
fresh = itertools.count()


def code(signature: str, groups: str, state: str, closure: str) -> str:
    note, factor = STATES[state]
    body = "pass" if signature == "none" else f"{CALLS[signature]}\n        {CLOSURES[closure]}"
    return CODE.format(signature=SIGNATURES[signature], groups=GROUPS[groups], note=note, factor=factor, closure=body)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=parts)
def test_whatever_an_optimizer_is_made_of(made: tuple[str, str, str, str], tmp_path: Path) -> None:
    folder = tmp_path / str(next(fresh))
    folder.mkdir()
    (folder / "made.py").write_text(code(*made))
    chosen: Any = small(f"{folder / 'made.py'}:Made", parameters={}, epochs=2)
    whole = perform(folder / "whole", chosen)
    assert whole.outcome == "finished", whole.message
    evaluations = 2 if made[3] == "twice" and made[0] != "none" else 1
    steps = whole.cost.steps
    assert (whole.cost.forwards, whole.cost.gradients, whole.cost.hvps) == (evaluations * steps, evaluations * steps, 0)
    # Continued equals undisturbed, from a checkpoint or anew.
    stopped = perform(folder / "stopped", chosen, stop_after(7))
    assert ("checkpoints" in stopped.environment) == (made[2] == "hidden")
    assert numbers(perform(folder / "stopped", chosen)) == numbers(whole)
    # With a rate of zero, weights are those of any other method, and buffers have moved as often.
    still = [small(name, parameters={"lr": 0.0}, epochs=1) for name in (f"{folder / 'made.py'}:Made", "sgd")]
    for number, each in enumerate(still):
        perform(folder / f"still{number}", each)
    weights = [torch.load(RunFolder(folder / f"still{number}").weights_file) for number in (0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
