"""Sparse and complex gradients: clipped as torch clips them, and recorded."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchbench.optim.objective import Objective
from benchbench.optim.perturbation import global_norm
from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import Diagnostics
from tests.training import small_tasks


class Lookup(nn.Module):
    """A table with sparse gradients, of which some rows are looked up several times."""

    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(7, 4, sparse=sparse), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table((x.abs() * 3).long().clamp(max=6)).sum(1))


class Waves(nn.Module):
    """Complex weights; one of them gets a gradient that is a conjugate view."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 4, dtype=torch.complex64))
        self.phase = nn.Parameter(torch.randn(4, dtype=torch.complex64))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(((x.to(torch.complex64) @ self.weight) * self.phase.conj()).abs())


class Both(nn.Module):
    """One after the other, and a parameter without use."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = Lookup(), Waves(), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


MODELS: dict[str, Callable[[], nn.Module]] = {"sparse": Lookup, "complex": Waves, "both": Both}
both = small_tasks.workload(Both)


def loss_of(model: nn.Module) -> Tensor:
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
    return 5 * nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("limit", [0.01, 1e6])
@pytest.mark.parametrize("create_graph", [False, True])
def test_clipped_as_torch_clips(name: str, limit: float, create_graph: bool) -> None:
    model = MODELS[name]()
    plain = copy.deepcopy(model)
    loss_of(plain).backward()
    for parameter in plain.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.resolve_conj()  # which torch's clipping refuses
    torch.nn.utils.clip_grad_norm_(plain.parameters(), limit)
    Objective(lambda: loss_of(model), model.parameters(), clip_norm=limit, create_graph=create_graph)()
    for ours, torchs in zip(model.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (torchs.grad is None)
        if ours.grad is not None and torchs.grad is not None:
            assert ours.grad.layout == torchs.grad.layout
            torch.testing.assert_close(ours.grad.detach().to_dense(), torchs.grad.to_dense())


def test_the_norm_of_a_sparse_gradient_is_that_of_the_dense_one() -> None:
    torch.manual_seed(0)
    model, dense = Lookup(), Lookup(sparse=False)
    dense.load_state_dict(model.state_dict())
    for each in (model, dense):
        loss_of(each).backward()
    gradients = [[p.grad for p in each.parameters() if p.grad is not None] for each in (model, dense)]
    torch.testing.assert_close(global_norm(gradients[0]), global_norm(gradients[1]))


@pytest.mark.parametrize("execution", [{"clip_norm": 0.5}, {"clip_norm": 0.5, "accumulate": 3}])
def test_a_run_is_clipped_and_recorded(execution: dict[str, float], tmp_path: Path) -> None:
    record = ("update_norm", "gradient_norm", "update_cosine", "distance_from_start", "perturbation_norm")
    diagnostics = Diagnostics(every=1, record=record)
    chosen = small_tasks.spec(small_tasks.here(__file__, "both"), execution=execution)
    chosen = chosen.model_copy(update={"diagnostics": diagnostics})
    folder = RunFolder(tmp_path)
    folder.prepare(chosen)
    result = run_in_folder(chosen, small_tasks.CPU, folder)
    assert result.outcome == "finished", result.message
    values = [each.values for each in folder.diagnostics()]
    assert len(values) == 3
    assert all(math.isfinite(number) for each in values for number in each.values())
    for each in values:
        assert each["gradient_norm"] <= 0.5 * 1.0001
        assert each["update_norm"] == pytest.approx(0.1 * each["gradient_norm"], rel=1e-4)
    assert values[0]["distance_from_start"] == pytest.approx(values[0]["update_norm"])
    assert -1 <= values[1]["update_cosine"] <= 1
