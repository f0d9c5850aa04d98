"""Seconds of training: which runs have comparable ones, on which devices, and what a reader of them must know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from benchbench.reporting.runs import Runs, SuiteRuns, all_runs
from benchbench.stats import Summary, summarize
from benchbench.values import RunResult, Suite


def _timed(runs: Runs) -> list[RunResult]:
    """Return the finished runs whose seconds count: those that shared a GPU have waited for each other."""
    return [run for run in runs.finished if run.epochs and not _is_packed(run)]


def warm_up_seconds(runs: Runs) -> Summary | None:
    """Return what is known of the seconds of warm-up per run."""
    known = [run.cost.warm_up_seconds for run in runs.finished if not _is_packed(run)]
    seconds = [each for each in known if each is not None]
    return summarize(seconds) if seconds else None


def comparable_seconds(runs: Mapping[str, Runs], *, mixed_devices: bool) -> dict[str, Summary | None]:
    """Return the seconds of training per epoch of each method on one workload, evaluation left out.

    Args:
        runs: The runs, by method.
        mixed_devices: Whether there are seconds where devices differ, too.
    """
    comparable = mixed_devices or len(_devices(runs.values())) <= 1
    seconds = {method: [run.cost.steady_seconds / run.epochs for run in _timed(here)] for method, here in runs.items()}
    return {method: summarize(found) if found and comparable else None for method, found in seconds.items()}


def _is_packed(run: RunResult) -> bool:
    return not _device(run).startswith("cpu") and _company(run) > 1


def _company(run: RunResult) -> int:
    return int(run.environment.get("concurrent_runs", "1"))


def circumstances(runs: Mapping[str, Runs]) -> dict[str, str]:
    """Return a remark for the seconds of each method that were not taken as others on the workload were.

    They are marked where runs of other commands were at work on the device, and where numbers of threads differ.

    Args:
        runs: The runs, by method.
    """
    threads = {
        method: sorted({run.environment.get("threads", "?") for run in _timed(here)}) for method, here in runs.items()
    }
    differ = len({each for found in threads.values() for each in found}) > 1
    remarks = {}
    for method, here in runs.items():
        others = max((int(run.environment.get("other_commands_runs", "0")) for run in _timed(here)), default=0)
        said = f"{' and '.join(threads[method])} thread{'' if threads[method] == ['1'] else 's'}"
        parts = [
            *([said] if differ and threads[method] else []),
            *([f"next to {others} run{'' if others == 1 else 's'} of other commands"] if others else []),
        ]
        if parts:
            remarks[method] = f"({'; '.join(parts)})"
    return remarks


def decimals(seconds: Iterable[Summary | None]) -> int:
    """Return how many decimals show three digits of the smallest mean: two at least, as in the paper."""
    smallest = min((summary.mean for summary in seconds if summary and summary.mean > 0), default=1.0)
    return min(max(2, 2 - math.floor(math.log10(smallest))), 6)


def _devices(runs: Iterable[Runs]) -> list[str]:
    return sorted({_device(run) for here in runs for run in here.finished})


def _device(run: RunResult) -> str:
    return run.environment.get("device", "unknown")


def warm_up_notes(finished: Sequence[RunResult]) -> list[str]:
    """Return what became of the first steps in seconds of training, where that is not the usual."""
    notes = {
        "Warm-up is part of the seconds of {} runs: it was not told apart in them.": sum(
            run.cost.warm_up_seconds is None for run in finished
        ),
        "{} runs have first steps of a kind that did not come again: counted as the others' mean.": sum(
            0 < run.cost.warm_up_steps < run.cost.steps for run in finished
        ),
        "Every step of {} runs was a first one of its kind: their seconds include warm-up.": sum(
            run.cost.is_all_warm_up for run in finished
        ),
    }
    return [note.format(count) for note, count in notes.items() if count]


def sharing_note(finished: Sequence[RunResult]) -> list[str]:
    """Return how many of the finished runs shared a device with others, if any did."""
    packed = sum(map(_is_packed, finished))
    most = max((_company(run) for run in finished if not _is_packed(run)), default=1)
    return [
        *([f"{packed} runs shared a GPU with others: their seconds are left out."] if packed else []),
        *([f"Up to {most} runs shared the machine at a time: seconds are only indicative."] if most > 1 else []),
    ]


def device_notes(suite: Suite, runs: SuiteRuns) -> list[str]:
    """Return what the runs were made on, and where seconds are missing because it was not the same."""
    devices = _devices(all_runs(runs))
    if len(devices) == 1:
        return [f"Device: {devices[0]}."]
    by_workload = {suite.heading(workload).full_label: _devices(here.values()) for workload, here in runs.items()}
    listed = "; ".join(f"{label} on {' and '.join(names)}" for label, names in by_workload.items() if names)
    notes = [f"Devices: {listed}."]
    mixed = [workload for workload, names in by_workload.items() if len(names) > 1]
    if mixed and suite.mixed_devices:
        notes.append(f"Seconds of different devices side by side, as asked for: {', '.join(mixed)}.")
    elif mixed:
        notes.append(f"No seconds where devices differ: {', '.join(mixed)}.")
    return notes
