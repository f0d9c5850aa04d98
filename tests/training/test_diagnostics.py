"""Records beside the training: right by independent formulas, the same after a resumption, and without any effect."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from benchbench.optim.equality import same
from benchbench.plugins.factories import Factories
from benchbench.runs.checkpoint import load_tensors
from benchbench.runs.folder import RunFolder
from benchbench.training import diagnostics
from benchbench.training.clock import Clock
from benchbench.training.diagnostics import (
    EDGES,
    DiagnosticsRecorder,
    curvature_change,
    distribution,
    population,
    state_names,
)
from benchbench.training.steps import Training
from benchbench.values import DiagnosticRecord, Diagnostics, RunSpec
from benchbench.workloads import DATA
from tests.conftest import STUBS
from tests.training.test_attempt import OPTIMIZERS, assert_equal, perform, small, stop_after
from tests.training.test_trainer import CPU, numbers, spec

EVERYTHING = (
    "update_norm",
    "gradient_norm",
    "perturbation_norm",
    "update_cosine",
    "distance_from_start",
    "curvature_change",
)
SASSHA = {"lr": 0.05, "rho": 0.2, "lazy_hessian": 3}


def asked(every: int = 3, record: tuple[str, ...] = EVERYTHING, state: tuple[str, ...] = ()) -> Diagnostics:
    return Diagnostics.model_validate({"every": every, "record": record, "state": state})


def recorded(folder: Path) -> list[DiagnosticRecord]:
    return list(RunFolder(folder).diagnostics())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lbfgs", "sassha", "sam", "schedulefree:AdamWScheduleFree"])
def test_a_run_has_the_same_bits_with_and_without(optimizer: str, tmp_path: Path) -> None:
    """With batch norm, dropout, several evaluations per step, and weights that are not those of the training."""
    chosen = small(optimizer)
    watched = chosen.model_copy(update={"diagnostics": asked(2, state=("exp_avg", "exp_hessian"))})
    results = [perform(tmp_path / "without", chosen), perform(tmp_path / "with", watched)]
    assert results[1].outcome == "finished", results[1].message
    assert numbers(results[0]) == {**numbers(results[1]), "key": results[0].key}
    assert results[0].cost.hvps == results[1].cost.hvps
    assert same(*(load_tensors(tmp_path / name / "weights.pt") for name in ("without", "with")))
    assert [record.step for record in recorded(tmp_path / "with")] == [2, 4, 6, 8, 10, 12, 14]
    assert [record.epoch for record in recorded(tmp_path / "with")] == [1, 1, 2, 2, 2, 3, 3]
    assert set(recorded(tmp_path / "with")[0].values) >= set(EVERYTHING)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([each.detach().reshape(-1).double() for each in tensors])


class _Run:
    """A training that is stepped by hand; the weights after every step stay."""

    def __init__(self, chosen: RunSpec) -> None:
        self.training = Training(chosen, Factories.of(chosen), CPU, DATA)
        self.weights = [_flat(self.training.parameters)]
        self.batches = [batch for epoch in (1, 2, 3) for batch in self.training.task.batches(epoch)]

    def step(self) -> None:
        self.training.step(self.batches[len(self.weights) - 1])
        self.weights.append(_flat(self.training.parameters))


def test_norms_and_angles_are_those_of_a_run_by_hand(tmp_path: Path) -> None:
    chosen = small("sassha", parameters=SASSHA, diagnostics=asked(3))
    perform(tmp_path, chosen)
    run = _Run(chosen)
    for _ in range(15):
        run.step()
    for record in recorded(tmp_path):
        after, before, earlier = (run.weights[record.step - back].numpy() for back in range(3))
        update, previous = after - before, before - earlier
        cosine = update @ previous / np.linalg.norm(update) / np.linalg.norm(previous)
        assert record.values["update_norm"] == pytest.approx(np.linalg.norm(update), rel=1e-4)
        assert record.values["update_cosine"] == pytest.approx(cosine, rel=1e-4, abs=1e-4)
        assert record.values["distance_from_start"] == pytest.approx(
            np.linalg.norm(after - run.weights[0].numpy()), rel=1e-5
        )
        assert record.values["perturbation_norm"] == pytest.approx(SASSHA["rho"], rel=1e-5)


def test_the_gradient_is_the_one_at_the_start_of_the_step(tmp_path: Path) -> None:
    chosen = small("sassha", parameters=SASSHA, workload="digits-mlp", diagnostics=asked(4, ("gradient_norm",)))
    perform(tmp_path, chosen.model_copy(update={"batch_size": 128, "epochs": 1}))
    [first, *_] = recorded(tmp_path)
    run = _Run(chosen.model_copy(update={"batch_size": 128, "epochs": 1}))
    for _ in range(3):
        run.step()
    inputs, labels = run.batches[3]
    gradients = torch.autograd.grad(F.cross_entropy(run.training.task.model(inputs), labels), run.training.parameters)
    assert first.values == {"gradient_norm": pytest.approx(_flat(gradients).norm().item(), rel=1e-5)}


def test_a_method_that_evaluates_at_the_weights_alone_has_no_perturbation(tmp_path: Path) -> None:
    perform(tmp_path, small(diagnostics=asked(5, ("perturbation_norm",), ("exp_avg",))))
    assert [record.values for record in recorded(tmp_path)] == 3 * [{"perturbation_norm": 0.0}]


def test_the_relative_change_is_between_successive_hessians(tmp_path: Path) -> None:
    chosen = small("sassha", parameters=SASSHA, diagnostics=asked(1, (), ("exp_hessian",)))
    perform(tmp_path, chosen)
    run, hessians = _Run(chosen), []
    for _ in range(15):
        run.step()
        hessians.append(_flat([state["exp_hessian"] for state in run.training.optimizer.state.values()]))
    for step, record in enumerate(recorded(tmp_path), start=1):
        latest = 3 * ((step - 1) // 3)  # Hessians are computed in the steps 1, 4, 7, ...
        found = record.values.get("state/exp_hessian/relative_change")
        if latest == 0:
            assert found is None
        else:
            now, before = hessians[latest], hessians[latest - 1]
            assert found == pytest.approx(((now - before).norm() / before.norm()).item(), rel=1e-4)


FLOATS = st.floats(-1e9, 1e9, width=32) | st.sampled_from([0.0, -0.0, 1e-13, -1e-13, 1e-12, 1e30, -1e30])


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_a_distribution_is_numpys(entries: list[float]) -> None:
    values = np.array(entries, dtype=np.float64)
    found, histogram = distribution(torch.tensor(entries, dtype=torch.float64))
    for name, share in {"min": 0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1}.items():
        assert found[name].item() == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-20)
    assert found["negative_share"].item() == pytest.approx(np.mean(values < 0))
    assert found["zero_share"].item() == pytest.approx(np.mean(values == 0))
    inside = np.clip(values, EDGES[0], np.nextafter(EDGES[-1], 0))
    assert list(histogram.counts) == np.histogram(inside, EDGES)[0].tolist()


def test_a_distribution_shows_what_is_not_finite() -> None:
    found, histogram = distribution(torch.tensor([math.nan, 1.0, math.inf, -math.inf]))
    assert (found["min"].item(), math.isnan(found["max"].item())) == (-math.inf, True)
    assert (histogram.counts[0], histogram.counts[-1], sum(histogram.counts)) == (1, 1, 3)


def test_edges_are_quarters_of_decades_around_zero() -> None:
    assert len(EDGES) == 2 * (18 * 4 + 1)
    assert (EDGES[0], EDGES[72], EDGES[73], EDGES[-1]) == (-1e6, -1e-12, 1e-12, 1e6)
    assert np.log10(EDGES[73:]) == pytest.approx(np.arange(-12, 6.1, 0.25))


def test_a_population_is_all_tensors_of_a_name_in_single_precision() -> None:
    first, second = (torch.nn.Parameter(torch.ones(2, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32))
    optimizer = torch.optim.SGD([first, second], lr=0.1)
    optimizer.state[second] = {"a": torch.tensor([3.0, 4.0]), "b": 1, "c": [torch.ones(1)]}
    optimizer.state[first] = {"a": torch.tensor([[1.0], [2.0]], dtype=torch.bfloat16), "count": torch.tensor(7)}
    found = population(optimizer, "a")
    assert found is not None
    assert (found.tolist(), found.dtype) == ([1.0, 2.0, 3.0, 4.0], torch.float32)
    assert population(optimizer, "b") is None
    assert state_names(optimizer) == {"a", "count"}


class _Cubic:
    """The loss sum(x^3) / 6, whose Hessian is diag(x)."""

    def __init__(self, training: Training) -> None:
        self.parameters = training.parameters

    def __call__(self, batch: object) -> Tensor:
        return torch.stack([p.pow(3).sum() for p in self.parameters]).sum() / 6


def test_the_curvature_change_of_a_cubic_is_known() -> None:
    """||(diag(x + r u) - diag(x)) z|| / ||diag(x) z|| = r / ||x||, for z has entries +1 and -1 and u has length 1."""
    training = Training((chosen := small()), Factories.of(chosen), CPU, DATA)
    training.task.loss = _Cubic(training)  # type: ignore[method-assign]
    found = curvature_change(training, training.parameters, None, radius=0.01)
    assert found.item() == pytest.approx(0.01 / _flat(training.parameters).norm().item(), rel=1e-3)


def test_the_curvature_change_leaves_no_trace() -> None:
    training = Training((chosen := small()), Factories.of(chosen), CPU, DATA)
    batch = next(iter(training.task.batches(1)))
    training.step(batch)
    before = {name: value.clone() for name, value in training.task.model.state_dict().items()}
    gradients, random = [p.grad for p in training.parameters], torch.get_rng_state()
    first = curvature_change(training, training.parameters, batch, radius=0.1)
    assert first == curvature_change(training, training.parameters, batch, radius=0.1) > 0
    assert all(torch.equal(value, before[name]) for name, value in training.task.model.state_dict().items())
    assert all(p.grad is gradient for p, gradient in zip(training.parameters, gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("optimizer", ["sassha", "adamw"])
@pytest.mark.parametrize("every", [1, 3])
def test_a_stopped_run_ends_with_the_same_records(optimizer: str, every: int, tmp_path: Path) -> None:
    settings = asked(every, state=("exp_avg", "exp_hessian", "step"))
    chosen = small(optimizer, **OPTIMIZERS[optimizer], diagnostics=settings, checkpoint_minutes=1e-9)
    perform(tmp_path / "undisturbed", chosen)
    for steps in (2, 5, 3, 1):
        perform(tmp_path / "stopped", chosen, stop_after(steps))
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")
    files = [RunFolder(tmp_path / name).diagnostics() for name in ("undisturbed", "stopped")]
    assert files[0] == files[1]
    assert len(files[0]) == 15 // every


@pytest.mark.parametrize("every", [1, 3])
def test_its_time_is_not_the_trainings(every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock)

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def take_a_minute(*arguments: Any, **keywords: Any) -> Any:
            nonlocal clock
            clock += 60.0
            return function(*arguments, **keywords)

        return take_a_minute

    for name in ("curvature_change", "distribution", "population", "global_norm"):
        monkeypatch.setattr(diagnostics, name, slow(getattr(diagnostics, name)))
    result = perform(tmp_path, small("adamw", diagnostics=asked(every, state=("exp_avg",))))
    assert clock > 0
    assert result.cost.train_seconds == 0


def test_a_run_that_diverges_shows_it(tmp_path: Path) -> None:
    chosen = spec(
        f"{STUBS}:Exploding", f"{STUBS}:line", epochs=9, diagnostics=asked(1, ("update_norm", "gradient_norm"))
    )
    assert perform(tmp_path, chosen).outcome == "diverged"
    assert not all(math.isfinite(record.values["update_norm"]) for record in recorded(tmp_path))


def test_a_recorder_needs_no_folder() -> None:
    training = Training((chosen := small("sgd")), Factories.of(chosen), CPU, DATA)
    noted: list[DiagnosticRecord] = []
    clock = Clock(CPU, training.ledger, lambda: False)
    recorder = DiagnosticsRecorder(asked(1, ("update_norm",)), training, clock, note=noted.append)
    recorder.step(next(iter(training.task.batches(1))), epoch=1)
    assert noted == recorder.records
    assert noted[0].values["update_norm"] > 0


def test_diagnostics_are_part_of_the_key() -> None:
    keys = {small(diagnostics=each).key for each in (None, asked(1), asked(2), asked(2, state=("exp_avg",)))}
    assert len(keys) == 4
