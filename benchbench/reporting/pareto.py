"""Quality against cost: which methods no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchbench.reporting.accuracy import cell, places
from benchbench.reporting.currencies import GC_PAPER, UNITS_NOTE, Currency, spent
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, Better, describe
from benchbench.reporting.results import absence_notes, by_category, method_table
from benchbench.reporting.runs import MEAN_AND_STD, Runs, count_seeds, gather, titled
from benchbench.reporting.table import BLANK, Cell, Column, Table, number_cell
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import mean, pareto_front
from benchbench.values import Row, Suite

_CURRENCIES: Mapping[Currency, str] = {"gc": GC_PAPER, "seconds": "seconds"}
_ON_FRONT = "✓"


def pareto_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return each method's result after the final epoch, its whole cost, and whether it is on the front of both."""
    runs = gather(suite, rows)
    methods = by_category(suite.methods)
    columns: list[Column] = []
    cells: dict[str, list[Cell]] = {method.label: [] for method in methods}
    reasons: dict[tuple[str, str], str] = {}
    groups: dict[str, str] = {}
    unranked = not_ranked(suite)
    left_out: list[str] = []
    for place in places(suite, runs):
        name, direction = place.metrics[0], place.directions[0]
        if direction is None:
            left_out.append(f"No front in {suite.heading(place.workload).full_label}: {name}: {UNKNOWN_DIRECTION}.")
        here = runs[place.workload]
        columns.append(Column(label=describe(name).label, group=place.full_label))
        groups[place.full_label] = place.group
        for method, of_method in cells.items():
            quality = cell(here[method], [name])
            of_method.append(quality)
            reasons |= {(method, place.full_label): quality.reason} if quality.reason else {}
        for currency, label in _CURRENCIES.items():
            columns += [Column(label=label, group=place.full_label), Column(label="front", group=place.full_label)]
            compared = {method: found for method, found in here.items() if method not in unranked}
            front = pareto(compared, name, currency, direction)
            for method, found in here.items():
                cost, n = mean_cost(found, currency), len(found.finished)
                cells[method] += [
                    BLANK if cost is None else number_cell(f"{cost:,.4g}", cost, n=n),
                    Cell(remark=_ON_FRONT) if method in front else BLANK,
                ]
    return method_table(
        "pareto",
        titled(suite, "Quality against cost"),
        methods,
        columns,
        cells,
        (
            f"{MEAN_AND_STD} after the final epoch; {count_seeds(suite)} unless a cell "
            f"says otherwise. {GC_PAPER}, seconds: means of whole runs. {UNITS_NOTE}",
            f"{_ON_FRONT}: no other method is at least as good at no more cost. Only methods whose runs all finished.",
            *left_out,
            *absence_notes(reasons, list(cells), groups),
        ),
    )


def mean_cost(runs: Runs, currency: Currency) -> float | None:
    """Return the mean cost of a finished run, `None` where there is none, or its cost was not measured."""
    costs = [spent(run.cost, currency) for run in runs.finished]
    return mean(costs) if costs and all(map(math.isfinite, costs)) else None


def pareto(runs: Mapping[str, Runs], name: str, currency: Currency, better: Better | None) -> frozenset[str]:
    """Return the methods that no other one beats in a metric and in cost; of those whose runs have all finished.

    Args:
        runs: The methods that are compared, on one workload.
        name: The metric.
        currency: What cost is counted in.
        better: Which way the metric is better; none is on the front where that is not known.
    """
    points = {}
    for method, here in runs.items():
        values = here.values(name)
        cost = mean_cost(here, currency)
        if better and cost is not None and len(values) == here.expected:
            points[method] = (cost, mean(values))
    return frozenset(pareto_front(points, lower_is_better=better == "lower"))
