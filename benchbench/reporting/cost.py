"""Cost of training: counted, measured and timed, and the part that the paper's Table 4 shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchbench.reporting.currencies import GC_FLOPS, GC_PAPER
from benchbench.reporting.results import ResultColumn, absence_notes, by_category, lay_out, method_table
from benchbench.reporting.runs import Runs, SuiteRuns, all_runs, count_seeds, gather, titled
from benchbench.reporting.table import BLANK, NOTHING, Cell, Column, Table, number_cell
from benchbench.reporting.timing import (
    circumstances,
    comparable_seconds,
    decimals,
    device_notes,
    sharing_note,
    warm_up_notes,
    warm_up_seconds,
)
from benchbench.values import Row, RunResult, Suite
from benchbench.values.prices import PAPER_PER_HVP, counted

_WARM_UP = "warm-up s"
_MEMORY_NOTES = {
    "device MB": "device MB: most memory of tensors while training.",
    "host MB": "host MB: most resident memory of a run's process, interpreter, libraries and data included.",
    "state": "state: memory of the optimizer's state at the end, relative to the parameters.",
}
_COLUMNS = ("grads", "HVPs", GC_PAPER, GC_FLOPS, "s/epoch", "relative", _WARM_UP, *_MEMORY_NOTES)
_ONLY_WITH_DATA = {GC_FLOPS, _WARM_UP, *_MEMORY_NOTES}
_MB = 10**6


def cost_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return counts per step, their price by two conventions, seconds per epoch, and memory."""
    methods = by_category(suite.methods)
    runs = gather(suite, rows)
    found = {workload: _workload_cells(suite, here) for workload, here in runs.items()}
    columns = [
        column
        for column in _COLUMNS
        if column not in _ONLY_WITH_DATA
        or any(cells[column] != BLANK for of_methods in found.values() for cells in of_methods.values())
    ]
    return method_table(
        "cost",
        titled(suite, "Cost of training"),
        methods,
        [Column(label=label, group=suite.heading(workload).full_label) for workload in found for label in columns],
        {
            method.label: [cells[method.label][column] for cells in found.values() for column in columns]
            for method in methods
        },
        _notes(suite, runs, columns),
    )


def _reference(suite: Suite, runs: Mapping[str, Runs]) -> str:
    """Return the method that seconds are given relative to: the first one of the suite that has any."""
    seconds = comparable_seconds(runs, mixed_devices=suite.mixed_devices)
    return next((label for label, found in seconds.items() if found and found.mean > 0), suite.methods[0].label)


def _workload_cells(suite: Suite, runs: Mapping[str, Runs]) -> dict[str, dict[str, Cell]]:
    """Return the cells of each method on one workload."""
    marks = circumstances(runs)
    seconds = comparable_seconds(runs, mixed_devices=suite.mixed_devices)
    base = seconds[_reference(suite, runs)]
    places = decimals(seconds.values())
    cells = {}
    for method, here in runs.items():
        of_method = dict.fromkeys(_COLUMNS, BLANK) | _count_cells(here) | _memory_cells(here)
        for run in _probed(here)[:1]:
            measured = run.gc_measured
            of_method[GC_FLOPS] = (
                Cell(remark="unmetered") if measured is None else number_cell(f"{measured:.2f}", measured, n=1)
            )
        times = {"s/epoch": (seconds[method], places)}
        if seconds[method] and (warm_up := warm_up_seconds(here)):
            times[_WARM_UP] = (warm_up, decimals([warm_up]))
        remark = marks.get(method, "")
        for column, (summary, digits) in times.items():
            if summary:
                text = f"{summary.mean:.{digits}f}"
                of_method[column] = number_cell(text, summary.mean, std=summary.std, n=summary.n, remark=remark)
        if (summary := seconds[method]) and base and base.mean > 0:
            ratio = summary.mean / base.mean
            of_method["relative"] = number_cell(f"{ratio:.2f}x", ratio, n=summary.n, remark=remark)
        cells[method] = of_method
    return cells


def _counts(finished: Sequence[RunResult]) -> tuple[float, float] | None:
    """Return gradients and Hessian-vector products of runs, `None` where they were not counted."""
    if not all(run.cost.is_counted for run in finished):
        return None
    return sum(run.cost.gradients for run in finished), sum(run.cost.hvps for run in finished)


def _count_cells(runs: Runs) -> dict[str, Cell]:
    """Return gradients, HVPs and their price in the paper per step, summed over the finished runs."""
    finished = runs.finished
    steps = sum(run.cost.steps for run in finished)
    if not steps:
        return {} if finished else {"grads": Cell(reason=runs.absence())}
    if (counts := _counts(finished)) is None:
        return {}
    totals = {"grads": counts[0], "HVPs": counts[1], GC_PAPER: counted(*counts, "paper").amount}
    return {
        column: number_cell(f"{total / steps:.2f}", total / steps, n=len(finished)) for column, total in totals.items()
    }


def _probed(runs: Runs) -> list[RunResult]:
    """Return the runs whose operations were measured, or could not be: usually that of the first seed."""
    return [run for run in runs.results if run.gc_measured is not None or run.unmetered]


def _memory_cells(runs: Runs) -> dict[str, Cell]:
    """Return the highest peaks of device and host, and the largest state in units of the parameters."""
    held = [run.memory for run in runs.finished]
    peaks = {
        "device MB": [memory.device_peak for memory in held if memory.device_peak is not None],
        "host MB": [memory.host_peak for memory in held if memory.host_peak is not None],
    }
    cells = {
        column: number_cell(f"{max(found) / _MB:,.0f}", max(found) / _MB, n=len(found))
        for column, found in peaks.items()
        if found
    }
    states = [memory.state / memory.parameters for memory in held if memory.state is not None and memory.parameters]
    if states:
        cells["state"] = number_cell(f"{max(states):.2f}x", max(states), n=len(states))
    return cells


def _notes(suite: Suite, runs: SuiteRuns, columns: Sequence[str]) -> tuple[str, ...]:
    notes = [
        "grads, HVPs: gradients and Hessian-vector products per step, counted: totals of all seeds divided by their "
        "steps.",
        f"{GC_PAPER}: gradient computations per step, where a gradient counts 1 GC and an HVP {PAPER_PER_HVP} GC.",
    ]
    if GC_FLOPS in columns:
        notes += [
            f"{GC_FLOPS}: measured floating-point operations of a step over those of one gradient.",
            *_unmetered(suite, runs),
        ]
    headings = {workload: suite.heading(workload) for workload in runs}
    reasons = {
        (method, headings[workload].full_label): each.absence()
        for workload, here in runs.items()
        for method, each in here.items()
        if not each.finished
    }
    groups = {heading.full_label: heading.group for heading in headings.values()}
    notes += absence_notes(reasons, [method.label for method in by_category(suite.methods)], groups)
    finished = [run for here in all_runs(runs) for run in here.finished]
    if not finished:
        return tuple(notes)
    notes.append(
        f"s/epoch: seconds of training, evaluation left out, mean over seeds; relative to {_references(suite, runs)}."
    )
    if _WARM_UP in columns:
        notes.append(
            f"{_WARM_UP}: what first steps take beyond later ones like them (loading, choosing algorithms, compiling), "
            "once per run; not part of s/epoch."
        )
        notes += warm_up_notes(finished)
    notes += sharing_note(finished)
    notes += [text for column, text in _MEMORY_NOTES.items() if column in columns]
    notes += [
        f"{method} on {headings[workload].full_label}: {parts} parameters."
        for workload, here in runs.items()
        for method, each in here.items()
        for parts in dict.fromkeys(run.environment["parts"] for run in each.finished if "parts" in run.environment)
    ]
    return (*notes, *device_notes(suite, runs), _numbers_of_runs(suite, runs))


def _references(suite: Suite, runs: SuiteRuns) -> str:
    """Return the method that seconds are relative to: the first, or on some workloads another one in its place."""
    first = suite.methods[0].label
    others = defaultdict(list)
    for workload, here in runs.items():
        if (used := _reference(suite, here)) != first:
            others[used].append(suite.heading(workload).full_label)
    parts = [f"to {used} on {', '.join(places)}, where {first} has no seconds" for used, places in others.items()]
    if parts and sum(map(len, others.values())) == len(suite.workloads):
        return " and ".join(parts).removeprefix("to ")
    return ", ".join([first, *parts])


def _unmetered(suite: Suite, runs: SuiteRuns) -> list[str]:
    """Return why figures are missing, methods and workloads with the same reason together."""
    lacking = defaultdict(list)
    for workload, here in runs.items():
        for method, of_method in here.items():
            for run in _probed(of_method)[:1]:
                if run.gc_measured is None:
                    place = method if len(runs) == 1 else f"{method} on {suite.heading(workload).full_label}"
                    lacking[run.unmetered].append(place)
    return [f"Unmetered: {', '.join(places)}: {reason}." for reason, places in lacking.items()]


def _numbers_of_runs(suite: Suite, runs: SuiteRuns) -> str:
    """Return how many runs the figures rest on; the cells are too narrow to say it there."""
    workloads = defaultdict(list)
    for workload, here in runs.items():
        for method, of_method in here.items():
            n = len(of_method.finished)
            if n and (remark := of_method.remark(n)):
                workloads[f"{method} {remark}"].append(suite.heading(workload).full_label)
    exceptions = [
        what if len(places) == len(runs) else f"{what} on {', '.join(places)}" for what, places in workloads.items()
    ]
    return f"{count_seeds(suite)}{' except for ' if exceptions else ''}{'; '.join(exceptions)}."


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
    columns = []
    for part in _PRICES:
        prices = {each.label: _price(part, [here[each.label] for here in runs.values()]) for each in suite.methods}
        columns.append(ResultColumn(label=part, group="Cost", metrics=("cost/step",), cells=prices))
    for workload, here in runs.items():
        heading = suite.heading(workload)
        seconds = {method: cells["s/epoch"] for method, cells in _workload_cells(suite, here).items()}
        columns.append(
            ResultColumn(
                label=heading.label,
                group=heading.group or "s/epoch",
                metrics=("cost/seconds",),
                cells={
                    method: Cell(reason=here[method].absence("seconds")) if cell == BLANK else cell
                    for method, cell in seconds.items()
                },
            )
        )
    finished = [run for here in all_runs(runs) for run in here.finished]
    notes = (
        "Cost per step, counted: Descent is one gradient, Sharpness all others; 1 GC is a gradient computation, "
        f"1 HVP counts {PAPER_PER_HVP} GC in the total, as in the paper.",
        f"Other columns: seconds of training per epoch, evaluation left out, mean over seeds; {count_seeds(suite)}.",
        *([*sharing_note(finished), *device_notes(suite, runs)] if finished else []),
    )
    title = titled(suite, "Cost per step and epoch")
    return lay_out("cost-summary", title, suite.methods, columns, notes)


def _price(part: str, runs: Iterable[Runs]) -> Cell:
    """Return a part of a method's cost, as a range where its steps have other counts on other workloads."""
    price, unit = _PRICES[part]
    prices = []
    for here in runs:
        steps = sum(run.cost.steps for run in here.finished)
        if steps and (counts := _counts(here.finished)):
            prices.append(price(counts[0] / steps, counts[1] / steps))
    shown = list(dict.fromkeys(f"{round(value, 2):.4g}" for value in sorted(prices)))
    if len(shown) == 1:
        return number_cell(f"{shown[0]} {unit}", prices[0])
    return Cell(remark=f"{shown[0]} to {shown[-1]} {unit}" if shown else NOTHING)
