"""Expected memory of a run, from that of others like it."""

from __future__ import annotations

from benchbench.scheduling.plan import groups
from benchbench.values import RunResult, RunSpec


class MemoryNeeds:
    """Peaks of resident memory of the runs that have ended."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, ...], int] = {}

    def learn(self, spec: RunSpec, result: RunResult) -> None:
        """Take note of what a run has taken up, if it was measured."""
        peak = result.memory.host_peak
        for group in groups(spec) if peak else ():
            self._peaks[group] = max(peak or 0, self._peaks.get(group, 0))

    def expected(self, spec: RunSpec) -> int:
        """Return the bytes that a run is expected to need, 0 where nothing is known.

        It is what the suite states. Where it states nothing, it is the most that a run of the same workload and method
        has needed, or else one of the same workload; peaks are those of one process, and every rank has its own.
        """
        known = (self._peaks[group] for group in groups(spec) if group and group in self._peaks)
        return spec.memory_stated or next(known, 0) * spec.execution.ranks
