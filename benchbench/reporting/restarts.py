"""Results of methods that cannot be taken up from a checkpoint, in one note."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.values import Row

_SAID = "this run cannot be resumed"


def restart_note(rows: Sequence[Row]) -> list[str]:
    """Return which methods start again from the beginning after an interruption, or none where all resume."""
    methods = [
        row.spec.method
        for row in rows
        if row.result is not None and _SAID in row.result.environment.get("checkpoints", "")
    ]
    listed = ", ".join(dict.fromkeys(methods))
    said = "without checkpoints, for a copy from one makes other steps: an interrupted run begins anew"
    return [f"{listed}: {said}."] if methods else []
