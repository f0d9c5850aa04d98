"""Results that were made with other code than is installed now."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.values import Row


def stale_note(rows: Sequence[Row]) -> list[str]:
    """Return how many results are stale and which code has changed, or none where none is known to be.

    Args:
        rows: The runs that tables are made of.
    """
    stale = [row for row in rows if row.changes]
    if not stale:
        return []
    changes = "; ".join(dict.fromkeys(change for row in stale for change in row.changes))
    methods = ", ".join(dict.fromkeys(row.spec.method for row in stale))
    results = "1 result" if len(stale) == 1 else f"{len(stale)} results"
    return [
        f"Stale: {results} ({methods}) made with other code than is installed now: {changes}. `benchbench run` makes "
        "them again."
    ]
