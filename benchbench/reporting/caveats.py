"""Notes that belong below every table: numbers that cannot be, stale results, runs that cannot be resumed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from benchbench.reporting.metrics import impossible
from benchbench.values import Metrics, Row

_MOST_NAMED = 5


def without_impossible(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows without numbers that cannot be, and a note that names these, if there are any.

    Args:
        rows: The runs that tables are made of.
    """
    reasons: dict[str, None] = {}
    known = [_without(row, reasons) for row in rows]
    if not reasons:
        return known, []
    more = f"; and {len(reasons) - _MOST_NAMED} more" if len(reasons) > _MOST_NAMED else ""
    named = "; ".join(itertools.islice(reasons, _MOST_NAMED))
    return known, [f"Left out, for no run can have measured it: {named}{more}."]


def _without(row: Row, reasons: dict[str, None]) -> Row:
    if row.result is None:
        return row

    def split(metrics: Metrics) -> tuple[Metrics, Metrics]:
        wrong = {name: reason for name, value in metrics.items() if (reason := impossible(name, value))}
        reasons.update(dict.fromkeys(f"{row.spec.method}, seed {row.spec.seed}: {each}" for each in wrong.values()))
        return {name: value for name, value in metrics.items() if name not in wrong}, dict.fromkeys(wrong, math.nan)

    before = len(reasons)
    (final, _), (best, _) = split(row.result.final), split(row.result.best)
    # A curve keeps its place for every epoch.
    metrics = [{**kept, **lost} for kept, lost in (split(record.metrics) for record in row.records)]
    if len(reasons) == before:
        return row
    records = [
        record.model_copy(update={"metrics": possible}) for record, possible in zip(row.records, metrics, strict=True)
    ]
    result = row.result.model_copy(update={"final": final, "best": best})
    return row.model_copy(update={"result": result, "records": tuple(records)})


def code_notes(rows: Sequence[Row]) -> list[str]:
    """Return which results were made with other code than is installed now, and which methods cannot be resumed."""
    notes = []
    if stale := [row for row in rows if row.changes]:
        changes = "; ".join(dict.fromkeys(change for row in stale for change in row.changes))
        methods = ", ".join(dict.fromkeys(row.spec.method for row in stale))
        results = "1 result" if len(stale) == 1 else f"{len(stale)} results"
        notes.append(
            f"Stale: {results} ({methods}) made with other code than is installed now: {changes}. `benchbench run` "
            "makes them again."
        )
    said = "this run cannot be resumed"
    restarted = [
        row.spec.method for row in rows if row.result and said in row.result.environment.get("checkpoints", "")
    ]
    if restarted:
        why = "without checkpoints, for a copy from one makes other steps: an interrupted run begins anew"
        notes.append(f"{', '.join(dict.fromkeys(restarted))}: {why}.")
    return notes
