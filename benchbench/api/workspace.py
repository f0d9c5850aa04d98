"""The places that commands work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.runs.folder import RunFolder

if TYPE_CHECKING:
    from benchbench.tracking import Tracker


@dataclass(frozen=True)
class Workspace:
    """A tracking store, a folder for the files of runs, and a folder with data sets.

    Relative paths start at the folder that is current when they are used.

    Attributes:
        tracking_uri: MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder.
        runs_dir: Folder of the runs' files.
        data: Folder of the data sets.
    """

    tracking_uri: str | None = None
    runs_dir: Path = Path(".benchbench/runs")
    data: Path = Path("data")

    def tracker(self) -> Tracker:
        """Return a reader and writer of the tracking store."""
        from benchbench.tracking import Tracker

        return Tracker(self.tracking_uri)

    def folder(self, key: str) -> RunFolder:
        """Return the folder of a run by its key."""
        return RunFolder(self.runs_dir / key)


HERE = Workspace()
"""The workspace of the current folder and the environment."""
