"""Suites and rows made by hand."""

import itertools

from benchbench.values import Cost, Memory, Method, Outcome, Row, RunResult, RunSpec, Suite
from tests.helpers.specs import run_spec

PAPER = {
    "SGD": "First-order",
    "AdamW": "First-order",
    "SAM-SGD": "First-order",
    "SAM-AdamW": "First-order",
    "AdaHessian": "Second-order",
    "Sophia-H": "Second-order",
    "Shampoo": "Second-order",
    "SASSHA": "Second-order",
}


PLAIN = Cost(steps=10, gradients=10, train_seconds=2.0)
NO_MEMORY = Memory()


def spec(method: str, workload: str, seed: int) -> RunSpec:
    fields = {"suite": "made", "method": method, "workload_label": workload, "epochs": 2, "seed": seed}
    return run_spec(method, workload, parameters={}, **fields)


def suite(
    methods: dict[str, str],
    workloads: tuple[str, ...] = ("digits",),
    seeds: tuple[int, ...] = (0, 1, 2),
    tables: tuple[str, ...] = ("accuracy", "cost"),
    title: str = "Made by hand",
) -> Suite:
    """A suite from a mapping of each method's label to its category."""
    return Suite(
        name="made",
        title=title,
        seeds=seeds,
        methods=tuple(Method(label=label, category=category) for label, category in methods.items()),
        workloads=workloads,
        tables=tables,
        specs=tuple(spec(m, w, s) for w, m, s in itertools.product(workloads, methods, seeds)),
    )


def row(
    method: str,
    seed: int,
    accuracy: float | None = None,
    *,
    workload: str = "digits",
    outcome: Outcome = "finished",
    best: float | None = None,
    cost: Cost = PLAIN,
    memory: Memory = NO_MEMORY,
    gc_measured: float | None = None,
    unmetered: str = "",
    **environment: str,
) -> Row:
    """One run: its accuracy after the final and (where it differs) after the best epoch."""
    this = spec(method, workload, seed)
    result = RunResult(
        key=this.key,
        outcome=outcome,
        selection_metric="validation/accuracy",
        epochs=2,
        final={} if accuracy is None else {"test/accuracy": accuracy},
        best={} if accuracy is None else {"test/accuracy": accuracy if best is None else best},
        best_epoch=1,
        cost=cost,
        gc_measured=gc_measured,
        unmetered=unmetered,
        memory=memory,
        environment=environment or {"device": "cpu", "concurrent_runs": "1"},
    )
    return Row(spec=this, result=result)


def rows(method: str, *accuracies: float, workload: str = "digits") -> list[Row]:
    """Finished runs with seeds from 0."""
    return [row(method, seed, accuracy, workload=workload) for seed, accuracy in enumerate(accuracies)]
