"""Suites, results and histories made by hand, for figures of every kind with any labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import JsonValue

from benchbench.tracking.histories import History
from benchbench.values import (
    Component,
    Cost,
    DiagnosticRecord,
    EpochRecord,
    Histogram,
    Method,
    Outcome,
    Row,
    RunResult,
    RunSpec,
    Suite,
)
from benchbench.values.sharpness.values import Landscape, SpectralDensity

LABELS = ("SGD", "AdamW", "SAM-SGD", "SAM-AdamW", "AdaHessian", "Sophia-H", "Shampoo", "SASSHA")
NASTY = (
    "100%_|$",
    "<script>alert(1)</script>",
    "a&b",
    "$\\frac{1}{2}$ and $",
    "_hidden",
    "line\nbreak\x1b[31m",
    "a very long name of a method that has many words, none of which says much about what it does",
    "onelongwordwithoutanyplacetobreak" * 4,
    "é ñ ß ‖x‖",
    " ",
)
STEPS = 10
EDGES = (
    *(-(10.0 ** (-i / 2)) for i in range(-2, 13)),
    *(10.0 ** (i / 2) for i in range(-12, 3)),
)


def suite(
    methods: Sequence[Method], workload: str = "digits", seeds: Sequence[int] = (0, 1, 2), title: str = "Made by hand"
) -> Suite:
    """A suite of methods on one workload."""
    specs = tuple(
        RunSpec(
            suite="made",
            method=method.label,
            workload_label=workload,
            workload=Component(target="digits"),
            optimizer=Component(target=method.label, parameters=method.swept),
            epochs=6,
            batch_size=8,
            seed=seed,
        )
        for method, seed in itertools.product(methods, seeds)
    )
    return Suite(
        name="made", title=title, seeds=tuple(seeds), methods=tuple(methods), workloads=(workload,), tables=(),
        specs=specs,
    )  # fmt: skip


def plain(labels: Sequence[str]) -> list[Method]:
    """Methods that sweep nothing."""
    return [Method(label=label) for label in labels]


def swept(base: str, values: Mapping[str, Sequence[JsonValue]]) -> list[Method]:
    """All combinations of a sweep."""
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return [
        Method(label=f"{base} ({', '.join(f'{k}={v}' for k, v in chosen.items())})", base=base, swept=chosen)
        for chosen in combinations
    ]


def result(spec: RunSpec, accuracy: float, outcome: Outcome = "finished", gradients: int = 1, hvps: int = 0) -> Row:
    """How a run ended."""
    steps = STEPS * spec.epochs
    final = {} if math.isnan(accuracy) else {"test/accuracy": accuracy}
    return Row(
        spec=spec,
        result=RunResult(
            key=spec.key,
            outcome=outcome,
            selection_metric="validation/accuracy",
            epochs=spec.epochs,
            final=final,
            cost=Cost(
                steps=steps, gradients=gradients * steps, hvps=hvps * steps // 10, train_seconds=0.1 * steps * gradients
            ),
        ),
    )


def everything(
    made: Suite, *, plane: bool = False, diverging: Sequence[str] = ()
) -> tuple[list[Row], dict[str, History]]:
    """Results and histories of all runs of a suite; the first seed of some methods, or all of theirs, diverged."""
    rows, histories = [], {}
    order = {method.label: i for i, method in enumerate(made.methods)}
    for spec in made.specs:
        i, generator = order[spec.method], np.random.default_rng(100 * order[spec.method] + spec.seed)
        ends = spec.method in diverging and (spec.seed != made.seeds[-1] or i % 2 == 0)
        accuracy = 0.9 + 0.01 * (i % 8) + 0.01 * generator.standard_normal()
        outcome: Outcome = "diverged" if ends else "finished"
        rows.append(result(spec, math.nan if ends else min(accuracy, 1.0), outcome, 1 + i % 2, 10 * (i % 3)))
        histories[spec.key] = history(i, generator, accuracy, diverged=ends, plane=plane)
    return rows, histories


def history(i: int, generator: np.random.Generator, accuracy: float, *, diverged: bool, plane: bool) -> History:
    """A plausible history of the method at position `i`."""
    epochs = [
        EpochRecord(
            epoch=epoch,
            metrics={
                "train/loss": math.nan if diverged and epoch > 4 else 10 ** (2 * diverged * epoch / 4) * 2.3
                * math.exp(-epoch * (0.3 + 0.05 * i)) * (1 + 0.1 * generator.random()),
                "validation/accuracy": accuracy * (1 - math.exp(-epoch * (0.4 + 0.05 * i))),
            },
            cost=Cost(steps=STEPS * epoch, gradients=STEPS * epoch * (1 + i % 2), train_seconds=epoch * (1 + i % 2)),
        )
        for epoch in range(1, 7)
    ]  # fmt: skip
    diagnostics = [_record(step, i, generator, diverged=diverged) for step in range(5, 61, 5)]
    finite = not diverged
    return History(
        epochs=tuple(epochs),
        diagnostics=tuple(diagnostics),
        spectrum=_spectrum(i, generator) if finite else None,
        landscape=_surface(i, generator, plane=plane) if finite else None,
    )


def _record(step: int, i: int, generator: np.random.Generator, *, diverged: bool) -> DiagnosticRecord:
    entries = generator.standard_normal(4000) * 10 ** generator.uniform(-4, -1 - step / 60 - 0.1 * (i % 8), 4000)
    counts, _ = np.histogram(entries, EDGES)
    return DiagnosticRecord(
        step=step,
        epoch=(step - 1) // STEPS + 1,
        values={
            "update_norm": 10 ** (step / 20 if diverged else -step / 40) * (1 + i) * (1 + 0.2 * generator.random()),
            "gradient_norm": 1 + 0.3 * generator.random() + 0.1 * i,
            "perturbation_norm": 0.2,
            "state/hessian/median": -1e-5 * step,
        },
        histograms={"state/hessian": Histogram(edges=EDGES, counts=tuple(counts.tolist()))},
    )


def _spectrum(i: int, generator: np.random.Generator) -> SpectralDensity:
    top = 10 ** (1.5 + 0.5 * (i % 8)) * (1 + 0.1 * generator.random())
    grid = np.linspace(-0.1 * top, top, 200)
    values = sum(
        w * np.exp(-(((grid - m * top) / (0.01 * top)) ** 2) / 2) for m, w in ((0, 1), (0.2, 0.01), (0.9, 1e-4))
    )
    values = values / np.trapezoid(values, grid)
    return SpectralDensity(probes=(), width=1.0, grid=tuple(grid.tolist()), values=tuple(values.tolist()), products=0)


def _surface(i: int, generator: np.random.Generator, *, plane: bool) -> Landscape:
    x = np.linspace(-1, 1, 21)
    y = x if plane else np.zeros(1)
    rise = (1 + 0.5 * i) * (1 + 0.1 * generator.random())
    losses = 0.1 + 0.02 * i + rise * (x[None] ** 2 + 0.5 * y[:, None] ** 2 + 0.2 * x[None] * y[:, None])
    rows = tuple(tuple(row) for row in losses.tolist())
    return Landscape(seed=0, x=tuple(x.tolist()), y=tuple(y.tolist()), losses=rows)
