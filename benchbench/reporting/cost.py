"""What each method costs per step and per epoch, in the shape of the paper's Table 4."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchbench.reporting.currencies import GC_PER_HVP
from benchbench.reporting.results import absence_notes, by_category, row_headers
from benchbench.reporting.runs import NOTHING, Runs, count_seeds, gather, titled
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow
from benchbench.stats import Summary, summarize
from benchbench.values import Row, RunResult, Suite

_MEASURED = "GC FLOPs"
_COLUMNS = ("grads", "HVPs", "GC paper", _MEASURED, "s/epoch", "relative", "device MB", "host MB", "state")
_ONLY_WITH_DATA = {_MEASURED, "device MB", "host MB", "state"}
_MB = 10**6


def cost_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return counts per step, their price by two conventions, seconds per epoch, and memory."""
    methods = by_category(suite.methods)
    headers = row_headers(methods)
    runs = gather(suite, rows)
    found = {
        workload: _workload_cells(
            {method.label: runs[workload, method.label] for method in methods},
            suite.methods[0].label,
            mixed_devices=suite.mixed_devices,
        )
        for workload in suite.workloads
    }
    columns = _shown_columns([cells for here in found.values() for cells in here.values()])
    return Table(
        name="cost",
        title=titled(suite, "Cost of training"),
        headers=headers,
        columns=tuple(Column(label=label, group=workload) for workload in found for label in columns),
        rows=tuple(
            TableRow(
                headers=(method.category, method.label)[-len(headers) :],
                cells=tuple(cells[method.label][column] for cells in found.values() for column in columns),
            )
            for method in methods
        ),
        notes=_notes(suite, runs, columns),
    )


def _shown_columns(all_cells: Sequence[Mapping[str, Cell]]) -> list[str]:
    """Return the columns to show: what nothing is known about is left out."""
    return [
        column
        for column in _COLUMNS
        if column not in _ONLY_WITH_DATA or any(cells[column] != Cell(remark=NOTHING) for cells in all_cells)
    ]


def _workload_cells(runs: Mapping[str, Runs], reference: str, *, mixed_devices: bool) -> dict[str, dict[str, Cell]]:
    """Return the cells of each method on one workload; seconds are also given relative to `reference`."""
    seconds = comparable_seconds(runs, mixed_devices=mixed_devices)
    base = seconds[reference]
    places = decimals(summary.mean for summary in seconds.values() if summary)
    cells = {
        method: [
            *_count_cells(here),
            _measured_cell(here),
            *_time_cells(seconds[method], base, places),
            *_memory_cells(here),
        ]
        for method, here in runs.items()
    }
    return {method: dict(zip(_COLUMNS, here, strict=True)) for method, here in cells.items()}


def _count_cells(runs: Runs) -> list[Cell]:
    """Return gradients, HVPs and their price in the paper per step, summed over the finished runs."""
    finished = runs.finished
    steps = sum(run.cost.steps for run in finished)
    if not steps:
        return [Cell(reason=runs.absence()) if not finished else Cell(remark=NOTHING), *[Cell(remark=NOTHING)] * 2]
    gradients = sum(run.cost.gradients for run in finished)
    hvps = sum(run.cost.hvps for run in finished)
    totals = (gradients, hvps, gradients + GC_PER_HVP * hvps)
    return [_cell(total / steps, f"{total / steps:.2f}", n=len(finished)) for total in totals]


def _measured_cell(runs: Runs) -> Cell:
    """Return the gradient equivalents of the run that was probed, usually that of the first seed."""
    for run in _probed(runs):
        if run.gc_measured is not None:
            return _cell(run.gc_measured, f"{run.gc_measured:.2f}", n=1)
        return Cell(remark="unmetered")
    return Cell(remark=NOTHING)


def _probed(runs: Runs) -> list[RunResult]:
    return [run for run in runs.results if run.gc_measured is not None or run.unmetered]


def _memory_cells(runs: Runs) -> list[Cell]:
    """Return the highest peaks of device and host, and the largest state in units of the parameters."""
    held = [run.memory for run in runs.finished]
    device = [memory.device_peak for memory in held if memory.device_peak is not None]
    host = [memory.host_peak for memory in held if memory.host_peak is not None]
    states = [memory.state / memory.parameters for memory in held if memory.state is not None and memory.parameters]
    return [
        *(
            _cell(max(peaks) / _MB, f"{max(peaks) / _MB:,.0f}", n=len(peaks)) if peaks else Cell(remark=NOTHING)
            for peaks in (device, host)
        ),
        _cell(max(states), f"{max(states):.2f}x", n=len(states)) if states else Cell(remark=NOTHING),
    ]


def _time_cells(seconds: Summary | None, base: Summary | None, places: int) -> list[Cell]:
    """Return seconds per epoch, and how many times those of `base` they are."""
    if seconds is None:
        return [Cell(remark=NOTHING)] * 2
    absolute = _cell(seconds.mean, f"{seconds.mean:.{places}f}", std=seconds.std, n=seconds.n)
    if base is None or base.mean <= 0:
        return [absolute, Cell(remark=NOTHING)]
    ratio = seconds.mean / base.mean
    return [absolute, _cell(ratio, f"{ratio:.2f}x", n=seconds.n)]


def _cell(mean: float, value: str, *, std: float | None = None, n: int) -> Cell:
    return Cell(figures=(Figure(value=value, mean=mean, std=std, n=n),))


def seconds_per_epoch(runs: Runs, *, mixed_devices: bool = False) -> Summary | None:
    """Return what is known of the seconds of training per epoch, evaluation left out.

    Runs that shared a GPU have waited for each other: their seconds do not count.

    Args:
        runs: The runs of a method on a workload.
        mixed_devices: Whether seconds of different devices have a mean.
    """
    seconds = [run.cost.train_seconds / run.epochs for run in runs.finished if run.epochs and not _is_packed(run)]
    return summarize(seconds) if seconds and (mixed_devices or len(_devices([runs])) == 1) else None


def comparable_seconds(runs: Mapping[str, Runs], *, mixed_devices: bool) -> dict[str, Summary | None]:
    """Return the seconds per epoch of each method on one workload.

    Args:
        runs: The runs, by method.
        mixed_devices: Whether there are seconds where devices differ.
    """
    comparable = mixed_devices or len(_devices(runs.values())) <= 1
    return {
        method: seconds_per_epoch(here, mixed_devices=mixed_devices) if comparable else None
        for method, here in runs.items()
    }


def _is_packed(run: RunResult) -> bool:
    return not _device(run).startswith("cpu") and _company(run) > 1


def _company(run: RunResult) -> int:
    return int(run.environment.get("concurrent_runs", "1"))


def decimals(seconds: Iterable[float]) -> int:
    """Return how many decimals show three digits of the smallest number: two at least, as in the paper."""
    smallest = min((value for value in seconds if value > 0), default=1.0)
    return min(max(2, 2 - math.floor(math.log10(smallest))), 6)


def _devices(runs: Iterable[Runs]) -> list[str]:
    return sorted({_device(run) for here in runs for run in here.finished})


def _device(run: RunResult) -> str:
    return run.environment.get("device", "unknown")


def _notes(suite: Suite, runs: Mapping[tuple[str, str], Runs], columns: Sequence[str]) -> tuple[str, ...]:
    notes = [
        "grads, HVPs: gradients and Hessian-vector products per step, counted: totals of all seeds divided by their "
        "steps.",
        f"GC paper: gradient computations per step, where a gradient counts 1 GC and an HVP {GC_PER_HVP} GC.",
    ]
    if _MEASURED in columns:
        notes += [
            "GC FLOPs: measured floating-point operations of a step over those of one gradient.",
            *_reasons(suite, runs),
        ]
    finished = [run for here in runs.values() for run in here.finished]
    notes += _absences(suite, runs)
    if not finished:
        return tuple(notes)
    notes.append(
        f"s/epoch: seconds of training, evaluation left out, mean over seeds; relative to {suite.methods[0].label}."
    )
    notes += _sharing_note(finished)
    notes += [text for column, text in _MEMORY_NOTES.items() if column in columns]
    return (*notes, *_device_notes(suite, runs), _numbers_of_runs(suite, runs))


def timing_notes(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    """Return what a reader of seconds must know: devices, and whether runs shared them."""
    finished = [run for here in runs.values() for run in here.finished]
    return [*_sharing_note(finished), *_device_notes(suite, runs)] if finished else []


def _sharing_note(finished: Sequence[RunResult]) -> list[str]:
    packed = sum(map(_is_packed, finished))
    notes = [f"{packed} runs shared a GPU with others: their seconds are left out."] if packed else []
    most = max((_company(run) for run in finished if not _is_packed(run)), default=1)
    return [
        *notes,
        *([f"Up to {most} runs shared the machine at a time: seconds are only indicative."] if most > 1 else []),
    ]


def _absences(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    reasons = {(method, place): here.absence() for (place, method), here in runs.items() if not here.finished}
    return absence_notes(reasons, [method.label for method in by_category(suite.methods)], suite.workloads)


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
                place = method if len(suite.workloads) == 1 else f"{method} on {workload}"
                lacking[run.unmetered].append(place)
    return [f"Unmetered: {', '.join(places)}: {reason}." for reason, places in lacking.items()]


def _device_notes(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> list[str]:
    devices = _devices(runs.values())
    if len(devices) == 1:
        return [f"Device: {devices[0]}."]
    by_workload = {
        workload: _devices(here for (place, _), here in runs.items() if place == workload)
        for workload in suite.workloads
    }
    listed = "; ".join(f"{label} on {' and '.join(names)}" for label, names in by_workload.items() if names)
    notes = [f"Devices: {listed}."]
    mixed = [workload for workload, names in by_workload.items() if len(names) > 1]
    if mixed and suite.mixed_devices:
        notes.append(f"Seconds of different devices side by side, as asked for: {', '.join(mixed)}.")
    elif mixed:
        notes.append(f"No seconds where devices differ: {', '.join(mixed)}.")
    return notes


def _numbers_of_runs(suite: Suite, runs: Mapping[tuple[str, str], Runs]) -> str:
    """Return how many runs the figures rest on; the cells are too narrow to say it there."""
    workloads = defaultdict(list)
    for (workload, method), here in runs.items():
        n = len(here.finished)
        if n and (remark := here.remark(n, len(suite.seeds))):
            workloads[f"{method} {remark}"].append(workload)
    exceptions = [
        what if len(places) == len(suite.workloads) else f"{what} on {', '.join(places)}"
        for what, places in workloads.items()
    ]
    return f"{count_seeds(suite)}{' except for ' if exceptions else ''}{'; '.join(exceptions)}."
