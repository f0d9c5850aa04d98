"""Specs of short runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchbench.values import Component, RunSpec


def run_spec(
    optimizer: str | Component = "sgd",
    workload: str | Component | Mapping[str, Any] = "digits-mlp",
    *,
    parameters: Mapping[str, Any] | None = None,
    workload_parameters: Mapping[str, Any] | None = None,
    **fields: Any,
) -> RunSpec:
    """A run of one epoch with batches of 8; `parameters` are the optimizer's, a rate of 0.1 if none are given."""
    named = {"target": workload, "parameters": workload_parameters or {}}
    chosen = {"target": optimizer, "parameters": {"lr": 0.1} if parameters is None else parameters}
    content = {
        "suite": "test",
        "method": "method",
        "workload_label": "workload",
        "workload": named if isinstance(workload, str) else workload,
        "optimizer": chosen if isinstance(optimizer, str) else optimizer,
        "epochs": 1,
        "batch_size": 8,
        "seed": 0,
    }
    return RunSpec.model_validate({**content, **fields})
