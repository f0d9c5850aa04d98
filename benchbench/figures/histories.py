"""What runs left beside their results, from their folders or, where these are gone, from the tracking store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchbench.runs.folder import RunFolder
from benchbench.values import DiagnosticRecord, EpochRecord, Frozen

if TYPE_CHECKING:
    from benchbench.tracking import Tracker

_Record = TypeVar("_Record", EpochRecord, DiagnosticRecord)


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


def read_histories(keys: Iterable[str], runs_dir: Path, tracker: Tracker) -> dict[str, History]:
    """Return the history of each run that has left one.

    Args:
        keys: Keys of runs that have ended.
        runs_dir: Where the folders of runs are.
        tracker: Asked for the files of runs without a folder.

    Raises:
        TrackingError: The tracking store cannot be read.
    """
    found = {key: _read(key, runs_dir, tracker) for key in dict.fromkeys(keys)}
    return {key: history for key, history in found.items() if history != History()}


def _read(key: str, runs_dir: Path, tracker: Tracker) -> History:
    folder = RunFolder(runs_dir / key)
    files = (folder.metrics_file, folder.diagnostics_file, folder.sharpness_file)
    if folder.result_file.exists():
        texts = {file.name: file.read_text(encoding="utf-8") for file in files if file.exists()}
    else:
        texts = tracker.artifacts(key, [file.name for file in files])
    epochs, diagnostics, sharpness = (texts.get(file.name, "") for file in files)
    measured = json.loads(sharpness) if sharpness else {}
    return History(
        epochs=tuple(_lines(epochs, EpochRecord.model_validate_json)),
        diagnostics=tuple(_lines(diagnostics, DiagnosticRecord.model_validate_json)),
        spectrum=_part(Spectrum, measured.get("density")),
        landscape=_part(Surface, measured.get("landscape")),
    )


def _lines(text: str, parse: Callable[[str], _Record]) -> list[_Record]:
    """Return the complete lines, parsed."""
    return [parse(line) for line in text[: text.rfind("\n") + 1].splitlines()]


_Part = TypeVar("_Part", Spectrum, Surface)


def _part(model: type[_Part], content: Mapping[str, object] | None) -> _Part | None:
    """Return what a figure needs of a measurement, which has more in it."""
    return model.model_validate({name: content[name] for name in model.model_fields}) if content else None
