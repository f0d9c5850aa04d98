"""Workloads put together from small parts: whatever they are made of, the same invariants hold."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchbench.runs.folder import RunFolder
from tests.training.small_tasks import spec
from tests.training.test_attempt import numbers, perform, stop_after

LAYERS = {
    "nothing": "nn.Identity()",
    "normalised": "nn.BatchNorm1d(6)",
    "frozen": "nn.BatchNorm1d(6).eval()",
    "without statistics": "nn.BatchNorm1d(6, track_running_stats=False)",
    "counting": "Counting()",
    "spectral": "spectral_norm(nn.Linear(6, 6))",
    "random": "nn.Dropout(0.3)",
}
METRICS = {"accuracy": True, "error (%)": False, "acc@1": True, "a/b": False}
LOSSES = {"plain": "", "penalised": " + 1e-3 * sum(p.square().sum() for p in self.model.parameters())"}
CODE = """
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from benchbench.workloads.classification import TensorClassification
from tests.training.small_tasks import around, workload


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("largest", torch.zeros(6), persistent=False)

    def forward(self, x):
        if self.training:
            self.count += 1
            self.largest = torch.maximum(self.largest, x.detach().abs().amax(0))
        return x / (1 + self.count / 100)


class Task(TensorClassification):
    selection_metric = {metric!r}
    higher_is_better = {higher}

    def loss(self, batch):
        return super().loss(batch){penalty}

    def evaluate(self, split):
        found = super().evaluate(split)
        return {{"loss": found["loss"], {metric!r}: found["accuracy"] if {higher} else 1 - found["accuracy"]}}


made = workload(lambda: nn.Sequential(nn.Linear(8, 6), {layer}, nn.ReLU(), nn.Linear(6, 2)), Task)
"""

parts = st.tuples(*(st.sampled_from(sorted(each)) for each in (LAYERS, METRICS, LOSSES)))
fresh = itertools.count()


def written(folder: Path, layer: str, metric: str, loss: str) -> str:
    """Write a workload, and return its target."""
    code = CODE.format(layer=LAYERS[layer], metric=metric, higher=METRICS[metric], penalty=LOSSES[loss])
    (folder / "made.py").write_text(code)
    return f"{folder / 'made.py'}:made"


@pytest.mark.slow
@settings(max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=parts)
def test_whatever_a_workload_is_made_of(made: tuple[str, str, str], tmp_path: Path) -> None:
    folder = tmp_path / str(next(fresh))
    folder.mkdir()
    target, metric = written(folder, *made), f"validation/{made[1]}"
    chosen = spec(target, "sgd", epochs=3, momentum=0.9)
    whole = perform(folder / "whole", chosen)
    assert whole.outcome == "finished", whole.message
    # Which way is better travels with the result, and chooses the best epoch, the first of equals.
    assert (whole.selection_metric, whole.higher_is_better) == (metric, METRICS[made[1]])
    scores = [record.metrics[metric] for record in RunFolder(folder / "whole").records()]
    assert whole.best_epoch == 1 + scores.index(max(scores) if METRICS[made[1]] else min(scores))
    # Continued equals undisturbed.
    perform(folder / "stopped", chosen, stop_after(5))
    continued = perform(folder / "stopped", chosen)
    assert continued.environment["resumed"] == "1"
    assert numbers(continued) == numbers(whole)
    # With a rate of zero, weights and buffers do not depend on how often a method evaluates.
    still = {"sgd": {}, "sam": {"base": "sgd", "rho": 0.1}, "sassha": {"rho": 0.1}}
    for name, parameters in still.items():
        perform(folder / name, spec(target, name, epochs=2, **{"lr": 0.0, **parameters}))
    weights = [torch.load(RunFolder(folder / name).weights_file) for name in still]
    assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:] for name in weights[0])
