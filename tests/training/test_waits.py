"""No step of a run waits for its GPU: counted on a pretended one, from the batch to the sum of the losses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchbench.training.attempt import Progress
from benchbench.values import RunSpec
from benchbench.workloads import DATA
from benchmarks.pretend_cuda import CUDA, PretendCuda

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    "adamw": {"lr": 0.01},
    "sam": {"lr": 0.1, "momentum": 0.9, "adaptive": True},
    "sassha": {"lr": 0.05, "lazy_hessian": 2, "weight_decay": 1e-3},
    "msassha": {"lr": 0.05, "lazy_hessian": 2, "absolute": False},
    "adahessian": {"lr": 0.05, "n_samples": 2},
    "sophia_h": {"lr": 0.01, "lazy_hessian": 2},
}


def spec(
    optimizer: str = "sgd",
    parameters: dict[str, Any] | None = None,
    workload: str = "digits-resnet8",
    **entries: Any,
) -> RunSpec:
    parameters = OPTIMIZERS[optimizer] if parameters is None else parameters
    return RunSpec.model_validate(
        {
            "suite": "pretend",
            "method": optimizer,
            "workload_label": workload,
            "workload": {"target": workload, "parameters": {"width": 2} if workload == "digits-resnet8" else {}},
            "optimizer": {"target": optimizer, "parameters": parameters},
            "epochs": 1,
            "batch_size": 64,
            "seed": 0,
            **entries,
        }
    )


def waits(chosen: RunSpec, steps: int = 2) -> list[Counter[str]]:
    """Return what each step of a run waits for, data path and sum of losses included.

    The first four are left out: first steps, and those like them, are waited for to be timed as warm-up.
    """
    found = []
    with PretendCuda() as cuda:
        progress = Progress(chosen, CUDA, DATA, None, lambda record: None)
        batches = progress.training.task.batches(1)
        for _ in range(4):
            progress.step(next(batches))
        for _ in range(steps):
            with cuda.counted() as counts:
                progress.step(next(batches))
            found.append(counts.waits)
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_optimizer_of_ours_waits(optimizer: str) -> None:
    assert not sum(waits(spec(optimizer, schedule={"lr": {"name": "cosine"}})), Counter())


@pytest.mark.slow
def test_eigendecompositions_are_all_that_shampoo_waits_for() -> None:
    """torch looks at the outcome of each; those of the grafted one are due every second step here."""
    paper, grafted = (
        waits(spec(name, parameters))
        for name, parameters in (("shampoo", {"lr": 0.1}), ("shampoo_grafted", {"lr": 0.1, "update_freq": 2}))
    )
    assert all({*step} == {"_linalg_eigh"} for step in (*paper, *grafted[::2]))
    assert not sum(grafted[1::2], Counter())


@pytest.mark.slow
@pytest.mark.parametrize(
    "entries",
    [
        {"clip_norm": 1.0},
        {"accumulate": 3, "clip_norm": 1.0},
        {"autocast": "bf16"},
        {"autocast": "fp16", "accumulate": 2},
        {"channels_last": True, "deterministic": True},
        {"cudnn_benchmark": True, "tf32": True},
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "sassha"])
def test_no_way_of_computing_gradients_waits(optimizer: str, entries: dict[str, Any]) -> None:
    assert not sum(waits(spec(optimizer, execution=entries)), Counter())


def test_diagnostics_wait_on_the_steps_that_they_record_alone() -> None:
    """On the others they follow the state, and keep an update to compare with, without a look at the clock."""
    diagnostics = {"every": 4, "record": ["update_norm", "update_cosine"], "state": ["exp_hessian", "exp_avg"]}
    found = waits(spec("sassha", diagnostics=diagnostics), 5)
    assert [bool(step) for step in found] == [False, False, False, True, False]
    assert found[3]["_local_scalar_dense"] > 0
