"""What runs left beside their results, from their folders or, where these are gone, from the tracking store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchbench.runs.folder import RunFolder, complete_records
from benchbench.values import DiagnosticRecord, EpochRecord, Frozen, RunResult

if TYPE_CHECKING:
    from benchbench.tracking import Tracker


class Spectrum(Frozen):
    """The density of the Hessian's eigenvalues.

    Attributes:
        grid: Eigenvalues.
        values: Density at each of them.
    """

    grid: tuple[float, ...]
    values: tuple[float, ...]


class Surface(Frozen):
    """Losses on a line or a plane through a solution.

    Attributes:
        x: Coordinates along the first direction.
        y: Coordinates along the second one; a single one for a line.
        losses: A row per entry of `y`.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]


class History(Frozen):
    """What one run left.

    Attributes:
        epochs: Its metrics after every epoch.
        diagnostics: What was recorded beside its steps.
        spectrum: The spectrum at its solution, where it was measured.
        landscape: The loss around its solution, where it was measured.
    """

    epochs: tuple[EpochRecord, ...] = ()
    diagnostics: tuple[DiagnosticRecord, ...] = ()
    spectrum: Spectrum | None = None
    landscape: Surface | None = None


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
    files = (folder.metrics_file, folder.diagnostics_file, folder.sharpness_file)
    left = {file.name: file.read_bytes() for file in files if file.exists() and folder.result_file.exists()}
    if not result.has_all_of(complete_records(EpochRecord, left.get(folder.metrics_file.name, b""))):
        left |= {name: text.encode() for name, text in tracker.artifacts(result.key, [f.name for f in files]).items()}
    metrics, diagnostics, sharpness = (left.get(file.name, b"") for file in files)
    epochs = complete_records(EpochRecord, metrics)
    return History(
        epochs=tuple(epochs) if result.has_all_of(epochs) else (),
        diagnostics=tuple(complete_records(DiagnosticRecord, diagnostics)),
        spectrum=_part(Spectrum, sharpness, "density"),
        landscape=_part(Surface, sharpness, "landscape"),
    )


_Part = TypeVar("_Part", Spectrum, Surface)


def _part(model: type[_Part], measured: bytes, name: str) -> _Part | None:
    """Return what a figure needs of a measurement, which has more in it; `None` if it was not made or is damaged."""
    try:
        content = json.loads(measured)[name]
        return model.model_validate({each: content[each] for each in model.model_fields})
    except (ValueError, TypeError, LookupError):
        return None
