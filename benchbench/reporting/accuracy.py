"""Results of the methods of a suite on its workloads, in the shape of the paper's Tables 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchbench.reporting.metrics import Better, better, describe, figure, headline_metrics
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import (
    MEAN_AND_STD,
    Epoch,
    Runs,
    SuiteRuns,
    all_results,
    all_runs,
    count_seeds,
    gather,
    titled,
)
from benchbench.reporting.significance import order, significance_note, values_by_seed, with_ties
from benchbench.reporting.table import NOTHING, Cell, Figure, Table
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import Ranking
from benchbench.values import Row, Suite

_DIRECTIONS: Mapping[Better | None, str] = {
    "higher": "higher is better",
    "lower": "lower is better",
    None: "neither way is marked as better: the workload does not say",
}

_SELECTED_ON = {
    "holdout": "on a part of the training data that is not trained on; the test data were read once, at the end.",
    "paper": "on the test data, evaluated after every epoch (protocol `paper`): figures after the best epoch are "
    "optimistic.",
}


def accuracy_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return test results after the final epoch."""
    return _table(suite, rows, "accuracy", "final")


def best_epoch_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return test results after the epoch that did best by the selection metric of the suite's protocol."""
    table = _table(suite, rows, "best-epoch accuracy", "best")
    metrics = sorted({run.selection_metric for run in all_results(all_runs(gather(suite, rows)))} - {""})
    by = f"by {' or '.join(metrics)} " if metrics else ""
    protocols = list(dict.fromkeys(spec.protocol for spec in suite.specs)) or [suite.protocol]
    note = " ".join(f"The best epoch of a run is chosen {by}{_SELECTED_ON[protocol]}" for protocol in protocols)
    return table.model_copy(update={"notes": (*table.notes, note)})


def places(suite: Suite, runs: SuiteRuns) -> list[ResultColumn]:
    """Return the columns of a suite: its workloads, with the metrics that it names or that the results hold."""
    results = {workload: all_results(here.values()) for workload, here in runs.items()}
    metrics = {
        workload: suite.heading(workload).metrics or headline_metrics(found) or ("test/accuracy",)
        for workload, found in results.items()
    }
    alone = len(set(metrics.values())) == 1 and all(len(names) == 1 for names in metrics.values())
    return [
        ResultColumn(
            workload=workload,
            label=" ".join(
                [
                    suite.heading(workload).label,
                    *([] if alone else [" / ".join(describe(name).label for name in names)]),
                ]
            ),
            group=suite.heading(workload).group,
            metrics=names,
            better=tuple(better(name, results[workload]) for name in names),
        )
        for workload, names in metrics.items()
    ]


def cell(runs: Runs, names: Sequence[str], after: Epoch = "final", *, scale: float = 1.0) -> Cell:
    """Return the cell of one method on one workload.

    Args:
        runs: The method's runs there.
        names: The metrics to show.
        after: After which epoch results count.
        scale: What values are multiplied with beside the metric's own scale.
    """
    values = {name: runs.values(name, after) for name in names}
    lacking = " and ".join(name for name, found in values.items() if len(found) < len(runs.finished))
    if not any(values.values()):
        return Cell(reason=runs.absence(lacking))
    return Cell(
        figures=tuple(
            figure(name, found, scale=scale) if found else Figure(value=NOTHING) for name, found in values.items()
        ),
        remark=runs.remark(min(map(len, values.values())), lacking),
    )


def _table(suite: Suite, rows: Sequence[Row], name: str, after: Epoch) -> Table:
    runs = gather(suite, rows)
    columns: list[ResultColumn] = []
    rankings: list[Ranking | None] = []
    unranked = not_ranked(suite)
    for place in places(suite, runs):
        here = runs[place.workload]
        orders = [
            order(direction, values_by_seed(here, name, after), unranked)
            for name, direction in zip(place.metrics, place.directions, strict=True)
        ]
        found = {method: cell(of_method, place.metrics, after) for method, of_method in here.items()}
        columns.append(place.model_copy(update={"cells": with_ties(found, orders)}))
        rankings += orders
    shown = {name for place in columns for name in place.metrics}
    what = describe(shown.pop()).full_title if len(shown) == 1 else "Test results"
    table = lay_out(name, titled(suite, f"{what} after the {after} epoch"), suite.methods, columns, unranked=unranked)
    usual = [
        figure.n == runs[place.workload][method].usual
        for place in columns
        for method, cell in place.cells.items()
        for figure in cell.figures
    ]
    seeds = f"{MEAN_AND_STD if len(suite.seeds) > 1 else 'One run each'}; {count_seeds(suite)}"
    notes = (
        *([f"{seeds}{'' if all(usual) else ' unless a cell says otherwise'}."] if usual else []),
        *_unit_notes(columns),
        *_baseline_notes(columns, runs),
        *significance_note(rankings),
        *table.notes,
    )
    return table.model_copy(update={"notes": notes})


def _unit_notes(columns: Sequence[ResultColumn]) -> list[str]:
    """Return what the headers of columns with different metrics leave unsaid: units, and which way is better."""
    shown: dict[str, dict[Better | None, list[str]]] = {}
    for place in columns:
        for name, direction in zip(place.metrics, place.directions, strict=True):
            shown.setdefault(name, {}).setdefault(direction, []).append(place.full_label)
    if len(shown) == 1 and set(*shown.values()) == {"higher"}:
        return []
    parts = []
    for name, found in shown.items():
        metric = describe(name)
        unit = f" in {metric.unit}" if metric.unit else ""
        named = f"{metric.label}: {name}{unit}, " if metric.label != name else f"{name}: "
        ways = [
            _DIRECTIONS[direction] + (f" in {', '.join(where)}" if len(found) > 1 else "")
            for direction, where in found.items()
        ]
        parts.append(f"{named}{', '.join(ways)}")
    return [f"{'; '.join(parts)}."]


def _baseline_notes(columns: Sequence[ResultColumn], runs: SuiteRuns) -> list[str]:
    """Return what the figures of a column have to beat, where the results hold that."""
    notes = []
    for place in columns:
        for name in filter(None, (describe(shown).baseline for shown in place.metrics)):
            values = [value for here in runs[place.workload].values() for value in here.values(name)]
            if values:
                spread = figure(name, values)
                text = spread.value if min(values) == max(values) else spread.text
                notes.append(f"To be beaten in {place.full_label}: {describe(name).title.lower()}, {text}.")
    return notes
