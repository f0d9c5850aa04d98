"""Histories of runs, from their folders or, where these are gone, from the tracking store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder
from benchbench.values import DiagnosticRecord, EpochRecord, Frozen, RunResult
from benchbench.values.sharpness.values import Landscape, SpectralDensity

if TYPE_CHECKING:
    from benchbench.tracking import Tracker


class History(Frozen):
    """Everything that one run recorded, besides its result.

    Attributes:
        epochs: Its metrics after every epoch.
        diagnostics: What was recorded of its steps.
        spectrum: The spectrum at its solution, where it was measured.
        landscape: The loss around its solution, where it was measured.
    """

    epochs: tuple[EpochRecord, ...] = ()
    diagnostics: tuple[DiagnosticRecord, ...] = ()
    spectrum: SpectralDensity | None = None
    landscape: Landscape | None = None


def read_histories(results: Mapping[str, RunResult], runs_dir: Path, tracker: Tracker) -> dict[str, History]:
    """Return the history of each run that has left one, by key.

    A run of which not all epochs are known has none: what would be drawn of it could be taken for what it did.

    Args:
        results: Results of the runs that have ended, by key.
        runs_dir: Where the folders of runs are.
        tracker: Asked for the files of runs without a folder.

    Raises:
        TrackingError: The tracking store cannot be read.
    """
    found = {key: _read(result, RunFolder(runs_dir / key), tracker) for key, result in results.items()}
    return {key: history for key, history in found.items() if history != History()}


def _read(result: RunResult, folder: RunFolder, tracker: Tracker) -> History:
    here = _left(result, folder)
    if here.epochs:
        return here
    with tempfile.TemporaryDirectory() as place:
        kept = RunFolder(Path(place, result.key))
        kept.path.mkdir()
        names = [file.name for file in (kept.result_file, kept.metrics_file, kept.diagnostics_file)]
        tracker.fetch(result.key, [*names, "sharpness*.json"], kept.path)
        stored = _left(result, kept)
    return stored if stored != History() else here


def _left(result: RunResult, folder: RunFolder) -> History:
    if folder.result() is None:  # nothing says which files the run has ended with
        return History()
    epochs, measured = folder.records(), folder.sharpness()
    sharpness = measured.get(result.sharpness_settings) or next(iter(measured.values()), None)
    return History(
        epochs=tuple(epochs) if result.has_all_of(epochs) else (),
        diagnostics=tuple(folder.diagnostics()),
        spectrum=sharpness.density if sharpness else None,
        landscape=sharpness.landscape if sharpness else None,
    )
