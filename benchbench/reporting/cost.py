"""What each method costs per step and per epoch, in the shape of the paper's Table 4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchbench.reporting.currencies import GC_FLOPS, GC_PAPER
from benchbench.reporting.results import absence_notes, by_category, method_table
from benchbench.reporting.runs import NOTHING, Runs, count_seeds, gather, titled
from benchbench.reporting.table import Cell, Column, Figure, Table
from benchbench.reporting.timing import (
    circumstances,
    comparable_seconds,
    decimals,
    device_notes,
    sharing_note,
    warm_up_notes,
    warm_up_seconds,
)
from benchbench.stats import Summary
from benchbench.values import Row, RunResult, Suite
from benchbench.values.prices import PAPER_PER_HVP, counted

_WARM_UP = "warm-up s"
_COLUMNS = ("grads", "HVPs", GC_PAPER, GC_FLOPS, "s/epoch", "relative", _WARM_UP, "device MB", "host MB", "state")
_ONLY_WITH_DATA = {GC_FLOPS, _WARM_UP, "device MB", "host MB", "state"}
_UNKNOWN = Cell(remark=NOTHING)
_MB = 10**6


def cost_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return counts per step, their price by two conventions, seconds per epoch, and memory."""
    methods = by_category(suite.methods)
    runs = gather(suite, rows)
    found = {
        workload: _workload_cells(
            {method.label: runs[workload, method.label] for method in methods},
            _reference(suite, {method.label: runs[workload, method.label] for method in methods}),
            mixed_devices=suite.mixed_devices,
        )
        for workload in suite.workloads
    }
    columns = _shown_columns([cells for here in found.values() for cells in here.values()])
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


def _shown_columns(all_cells: Sequence[Mapping[str, Cell]]) -> list[str]:
    """Return the columns to show: what nothing is known about is left out."""
    return [
        column
        for column in _COLUMNS
        if column not in _ONLY_WITH_DATA or any(cells[column] != _UNKNOWN for cells in all_cells)
    ]


def _reference(suite: Suite, runs: Mapping[str, Runs]) -> str:
    """Return the method that seconds are given relative to: the first one of the suite that has any."""
    seconds = comparable_seconds(runs, mixed_devices=suite.mixed_devices)
    labels = [method.label for method in suite.methods]
    return next((label for label in labels if (found := seconds[label]) and found.mean > 0), labels[0])


def _workload_cells(runs: Mapping[str, Runs], reference: str, *, mixed_devices: bool) -> dict[str, dict[str, Cell]]:
    """Return the cells of each method on one workload; seconds are also given relative to `reference`."""
    marks = circumstances(runs)
    seconds = comparable_seconds(runs, mixed_devices=mixed_devices)
    places = decimals(summary.mean for summary in seconds.values() if summary)
    first_steps = {method: warm_up_seconds(here) for method, here in runs.items() if seconds[method]}
    return {
        method: dict.fromkeys(_COLUMNS, _UNKNOWN)
        | _count_cells(here)
        | _measured_cells(here)
        | _remarked(
            _time_cells(seconds[method], seconds[reference], places) | _warm_up_cells(first_steps.get(method)),
            marks.get(method, ""),
        )
        | _memory_cells(here)
        for method, here in runs.items()
    }


def _count_cells(runs: Runs) -> dict[str, Cell]:
    """Return gradients, HVPs and their price in the paper per step, summed over the finished runs."""
    finished = runs.finished
    steps = sum(run.cost.steps for run in finished)
    if not steps:
        return {} if finished else {"grads": Cell(reason=runs.absence())}
    if not all(run.cost.is_counted for run in finished):
        return {}
    gradients = sum(run.cost.gradients for run in finished)
    hvps = sum(run.cost.hvps for run in finished)
    totals = {"grads": gradients, "HVPs": hvps, GC_PAPER: counted(gradients, hvps, "paper").amount}
    return {column: _cell(total / steps, f"{total / steps:.2f}", n=len(finished)) for column, total in totals.items()}


def _measured_cells(runs: Runs) -> dict[str, Cell]:
    """Return the gradient equivalents of the run that was probed, usually that of the first seed."""
    for run in _probed(runs):
        if run.gc_measured is None:
            return {GC_FLOPS: Cell(remark="unmetered")}
        return {GC_FLOPS: _cell(run.gc_measured, f"{run.gc_measured:.2f}", n=1)}
    return {}


def _probed(runs: Runs) -> list[RunResult]:
    return [run for run in runs.results if run.gc_measured is not None or run.unmetered]


def _time_cells(seconds: Summary | None, base: Summary | None, places: int) -> dict[str, Cell]:
    """Return seconds per epoch, and how many times those of `base` they are."""
    if seconds is None:
        return {}
    cells = {"s/epoch": _cell(seconds.mean, f"{seconds.mean:.{places}f}", std=seconds.std, n=seconds.n)}
    if base is not None and base.mean > 0:
        ratio = seconds.mean / base.mean
        cells["relative"] = _cell(ratio, f"{ratio:.2f}x", n=seconds.n)
    return cells


def _remarked(cells: Mapping[str, Cell], remark: str) -> dict[str, Cell]:
    return {column: cell.model_copy(update={"remark": remark}) for column, cell in cells.items()}


def _warm_up_cells(seconds: Summary | None) -> dict[str, Cell]:
    """Return seconds of warm-up per run."""
    if seconds is None:
        return {}
    return {_WARM_UP: _cell(seconds.mean, f"{seconds.mean:.{decimals([seconds.mean])}f}", std=seconds.std, n=seconds.n)}


def _memory_cells(runs: Runs) -> dict[str, Cell]:
    """Return the highest peaks of device and host, and the largest state in units of the parameters."""
    held = [run.memory for run in runs.finished]
    peaks = {
        "device MB": [memory.device_peak for memory in held if memory.device_peak is not None],
        "host MB": [memory.host_peak for memory in held if memory.host_peak is not None],
    }
    cells = {
        column: _cell(max(found) / _MB, f"{max(found) / _MB:,.0f}", n=len(found))
        for column, found in peaks.items()
        if found
    }
    states = [memory.state / memory.parameters for memory in held if memory.state is not None and memory.parameters]
    if states:
        cells["state"] = _cell(max(states), f"{max(states):.2f}x", n=len(states))
    return cells


def _cell(mean: float, value: str, *, std: float | None = None, n: int) -> Cell:
    return Cell(figures=(Figure(value=value, mean=mean, std=std, n=n),))


def _notes(suite: Suite, runs: Mapping[tuple[str, str], Runs], columns: Sequence[str]) -> tuple[str, ...]:
    notes = [
        "grads, HVPs: gradients and Hessian-vector products per step, counted: totals of all seeds divided by their "
        "steps.",
        f"{GC_PAPER}: gradient computations per step, where a gradient counts 1 GC and an HVP {PAPER_PER_HVP} GC.",
    ]
    if GC_FLOPS in columns:
        notes += [
            f"{GC_FLOPS}: measured floating-point operations of a step over those of one gradient.",
            *_reasons(suite, runs),
        ]
    finished = [run for here in runs.values() for run in here.finished]
    notes += _absences(suite, runs)
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
    return (*notes, *device_notes(suite, runs), _numbers_of_runs(suite, runs))


def _references(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> str:
    """Return the method that seconds are relative to: the first, or on some workloads another one in its place."""
    first = suite.methods[0].label
    others = defaultdict(list)
    for workload in suite.workloads:
        used = _reference(suite, {method.label: runs[workload, method.label] for method in suite.methods})
        if used != first:
            others[used].append(suite.heading(workload).full_label)
    parts = [f"to {used} on {', '.join(places)}, where {first} has no seconds" for used, places in others.items()]
    if parts and sum(map(len, others.values())) == len(suite.workloads):
        return " and ".join(parts).removeprefix("to ")
    return ", ".join([first, *parts])


def _absences(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    headings = {workload: suite.heading(workload) for workload in suite.workloads}
    reasons = {
        (method, headings[workload].full_label): here.absence()
        for (workload, method), here in runs.items()
        if not here.finished
    }
    groups = {heading.full_label: heading.group for heading in headings.values()}
    return absence_notes(reasons, [method.label for method in by_category(suite.methods)], groups)


_MEMORY_NOTES = {
    "device MB": "device MB: most memory of tensors while training.",
    "host MB": "host MB: most resident memory of a run's process, interpreter, libraries and data included.",
    "state": "state: memory of the optimizer's state at the end, relative to the parameters.",
}


def _reasons(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    """Return why figures are missing, methods and workloads with the same reason together."""
    lacking = defaultdict(list)
    for (workload, method), here in runs.items():
        for run in _probed(here)[:1]:
            if run.gc_measured is None:
                place = method if len(suite.workloads) == 1 else f"{method} on {suite.heading(workload).full_label}"
                lacking[run.unmetered].append(place)
    return [f"Unmetered: {', '.join(places)}: {reason}." for reason, places in lacking.items()]


def _numbers_of_runs(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> str:
    """Return how many runs the figures rest on; the cells are too narrow to say it there."""
    workloads = defaultdict(list)
    for (workload, method), here in runs.items():
        n = len(here.finished)
        if n and (remark := here.remark(n)):
            workloads[f"{method} {remark}"].append(suite.heading(workload).full_label)
    exceptions = [
        what if len(places) == len(suite.workloads) else f"{what} on {', '.join(places)}"
        for what, places in workloads.items()
    ]
    return f"{count_seeds(suite)}{' except for ' if exceptions else ''}{'; '.join(exceptions)}."
