"""Theoretical cost per step beside seconds per epoch, in the layout of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchbench.reporting.currencies import GC_PAPER
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import NOTHING, Runs, count_seeds, gather, titled
from benchbench.reporting.table import Cell, Figure, Table
from benchbench.reporting.timing import circumstances, comparable_seconds, decimals, timing_notes
from benchbench.values import Cost, Row, Suite
from benchbench.values.prices import PAPER_PER_HVP, counted

_PRICES: Mapping[str, tuple[Callable[[float, float], float], str]] = {
    "Descent": (lambda gradients, hvps: min(gradients, 1.0), "GC"),
    "Sharpness": (lambda gradients, hvps: max(gradients - 1.0, 0.0), "GC"),
    "Hessian": (lambda gradients, hvps: hvps, "HVP"),
    "Total": (lambda gradients, hvps: counted(gradients, hvps, "paper").amount, GC_PAPER),
}
"""The parts of a step's cost, from its gradients and Hessian-vector products."""


def cost_summary_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return what a step costs, counted and priced as in the paper, and seconds per epoch on each workload."""
    runs = gather(suite, rows)
    parts = [ResultColumn(workload=_key(part), label=part, group="Cost", metrics=("cost/step",)) for part in _PRICES]
    places = [
        ResultColumn(
            workload=workload, label=heading.label, group=heading.group or "s/epoch", metrics=("cost/seconds",)
        )
        for workload, heading in ((workload, suite.heading(workload)) for workload in suite.workloads)
    ]
    cells = {
        (_key(part), method.label): _price(part, [runs[workload, method.label] for workload in suite.workloads])
        for part in _PRICES
        for method in suite.methods
    }
    for workload in suite.workloads:
        here = {method.label: runs[workload, method.label] for method in suite.methods}
        cells |= _seconds(workload, here, mixed_devices=suite.mixed_devices)
    notes = (
        "Cost per step, counted: Descent is one gradient, Sharpness all others; 1 GC is a gradient computation, "
        f"1 HVP counts {PAPER_PER_HVP} GC in the total, as in the paper.",
        f"Other columns: seconds of training per epoch, evaluation left out, mean over seeds; {count_seeds(suite)}.",
        *timing_notes(suite, runs),
    )
    return lay_out(
        "cost-summary", titled(suite, "Cost per step and epoch"), suite.methods, [*parts, *places], cells, notes
    )


def _key(part: str) -> str:
    """Return what a part of the cost goes by beside the workloads, whose labels have no line breaks."""
    return f"\n{part}"


def _price(part: str, runs: Sequence[Runs]) -> Cell:
    """Return a part of a method's cost, as a range where its steps have other counts on other workloads."""
    price, unit = _PRICES[part]
    prices = [price(*counts) for here in runs if (counts := _counts([run.cost for run in here.finished]))]
    shown = dict.fromkeys(f"{round(value, 2):.4g}" for value in sorted(prices))
    if len(shown) == 1:
        return Cell(figures=(Figure(value=f"{next(iter(shown))} {unit}", mean=prices[0]),))
    return Cell(remark=f"{next(iter(shown))} to {next(reversed(shown))} {unit}" if shown else NOTHING)


def _counts(costs: Sequence[Cost]) -> tuple[float, float] | None:
    """Return gradients and Hessian-vector products per step: totals of all runs divided by their steps."""
    steps = sum(cost.steps for cost in costs)
    if not steps or not all(cost.is_counted for cost in costs):
        return None
    return sum(cost.gradients for cost in costs) / steps, sum(cost.hvps for cost in costs) / steps


def _seconds(workload: str, runs: Mapping[str, Runs], *, mixed_devices: bool) -> dict[tuple[str, str], Cell]:
    seconds = comparable_seconds(runs, mixed_devices=mixed_devices)
    places = decimals(summary.mean for summary in seconds.values() if summary)
    marks = circumstances(runs)
    return {
        (workload, method): Cell(
            figures=(Figure(value=f"{summary.mean:.{places}f}", mean=summary.mean, std=summary.std, n=summary.n),),
            remark=marks.get(method, ""),
        )
        if summary
        else Cell(reason=runs[method].absence("seconds"))
        for method, summary in seconds.items()
    }
