"""How sharp the solutions are, in the layout of the paper's table of sharpness and generalization."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchbench.reporting.metrics import SHARPNESS, describe, figure
from benchbench.reporting.results import Place, lay_out
from benchbench.reporting.runs import Runs, count_seeds, gather, titled
from benchbench.reporting.table import Cell, Table
from benchbench.values import Row, Suite

_GENERALIZATION = ("test/loss", "test/accuracy", "test/perplexity")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def sharpness_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the measures of sharpness that the results hold after the final epoch, and what the solutions achieve."""
    runs = gather(suite, rows)
    places: list[Place] = []
    cells: dict[tuple[str, str], Cell] = {}
    for workload in suite.workloads:
        here = {method.label: runs[workload, method.label] for method in suite.methods}
        for name in _columns(here.values()):
            key = f"{workload}\n{name}"  # a column of its own; labels have no line breaks
            exponent = _exponent(_means(here.values(), name)) if name.startswith(SHARPNESS) else 0
            places.append(
                Place(workload=key, label=_label(name, exponent), group=_group(suite, workload, name), metrics=(name,))
            )
            for method, found in here.items():
                cells[key, method] = _cell(found, name, exponent, len(suite.seeds))
    notes = [f"Mean ± sample standard deviation (ddof = 1); {count_seeds(suite)} unless a cell says otherwise."]
    if not places:
        notes = ["No result holds a measure of sharpness."]
    return lay_out("sharpness", titled(suite, "Sharpness of the solutions"), suite.methods, places, cells, notes)


def _columns(runs: Iterable[Runs]) -> list[str]:
    held = [name for here in runs for run in here.finished for name in run.final]
    measures = [name for name in dict.fromkeys(held) if name.startswith(SHARPNESS)]
    return [*measures, *(name for name in _GENERALIZATION if name in held)] if measures else []


def _group(suite: Suite, workload: str, name: str) -> str:
    if len(suite.workloads) == 1:
        return "Sharpness" if name.startswith(SHARPNESS) else "Generalization"
    heading = suite.heading(workload)
    return f"{heading.group} / {heading.label}" if heading.group else heading.label


def _label(name: str, exponent: int) -> str:
    metric = describe(name)
    unit = f" ({metric.unit})" if metric.unit else ""
    return metric.label + unit + (f" × 10{str(exponent).translate(_RAISED)}" if exponent else "")


def _means(runs: Iterable[Runs], name: str) -> list[float]:
    return [figure(name, found).mean or 0.0 for here in runs if (found := _values(here, name))]


def _values(runs: Runs, name: str) -> list[float]:
    return [run.final[name] for run in runs.finished if name in run.final]


def _exponent(means: Sequence[float]) -> int:
    """Return the power of ten that a column is shown in: the smallest of its figures has 0.2 to 200 of them."""
    sizes = [abs(value) for value in means if math.isfinite(value) and value]
    return 3 * math.floor((math.log10(min(sizes)) - math.log10(0.2)) / 3) if sizes else 0


def _cell(runs: Runs, name: str, exponent: int, usual_n: int) -> Cell:
    values = _values(runs, name)
    if not values:
        return Cell(reason=runs.absence(name))
    return Cell(figures=(figure(name, values, scale=10.0**-exponent),), remark=runs.remark(len(values), usual_n, name))
