"""Results of a suite as a submission to a leaderboard."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.api.results import rows_of
from benchbench.api.workspace import HERE, Workspace
from benchbench.values import Suite

if TYPE_CHECKING:
    from benchbench.leaderboard.submission import Submission


def export_bundle(
    suite: Suite,
    path: Path,
    declaration: Mapping[str, str],
    *,
    date: str | None = None,
    workspace: Workspace = HERE,
) -> None:
    """Write the results of a suite as a bundle for a leaderboard.

    Args:
        suite: The suite; every run must have finished or diverged.
        path: The zip file to write.
        declaration: What is declared: `tuning` (how the hyperparameters were chosen), `by`, `contact`, `licence`.
        date: The day to state (default: today).
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: A run has no result, or the declaration lacks something.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.leaderboard import bundle

    bundle.write(
        submission(suite, workspace=workspace),
        bundle.declare(declaration),
        date or datetime.date.today().isoformat(),
        path,
    )


def submission(suite: Suite, *, workspace: Workspace = HERE) -> Submission:
    """Return the results of a suite as a submission to a leaderboard.

    Args:
        suite: The suite.
        workspace: Where results are tracked and runs leave their files.

    Raises:
        BadInputError: A path of this machine is part of what identifies a run.
        TrackingError: The tracking store cannot be read.
    """
    from benchbench.leaderboard import collect
    from benchbench.tracking.histories import read_histories

    tracker = workspace.tracker()
    found = tracker.results(suite.specs)
    ended = {key: result for key, result in found.items() if result.conclusive}
    histories = read_histories(ended, workspace.runs_dir, tracker)
    return collect.submission(
        suite,
        rows_of(suite, found, tracker, workspace.runs_dir),
        workspace.runs_dir,
        tracker.commits([spec.key for spec in suite.specs]),
        {key: history.epochs for key, history in histories.items()},
    )
