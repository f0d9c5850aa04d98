"""States of searches, as rows of plain values."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.reporting.tuning import finalists_note, over_budget
from benchbench.tuning.study import StudyStatus
from benchbench.values import canonical_json
from benchbench.values.prices import ASSUMPTION, unit_name


def listing(statuses: Sequence[StudyStatus], *, plain: bool = False) -> list[dict[str, object]]:
    """Return a row per search.

    Args:
        statuses: The searches.
        plain: Whether values are kept as they are, for programs; otherwise as text, for people.
    """
    rows = [_row(each) for each in statuses]
    return rows if plain else [{name: _text(value) for name, value in row.items()} for row in rows]


def _row(status: StudyStatus) -> dict[str, object]:
    study, winner = status.study, status.winner
    spent, finals = status.spent, status.finals
    unit = unit_name(study.tuning.gradient_unit)
    return {
        "workload": study.workload,
        "method": study.method,
        "trials": sum(trial.ended for trial in status.trials),
        "broken": status.broken,
        unit: spent.gc,
        "seconds": spent.seconds,
        "over budget": over_budget(study.tuning.budget, spent),
        f"finals {unit}": finals.gc,
        "metric": winner.metric if winner else "",
        "value": winner.value if winner else None,
        "chosen": winner.values if winner else None,
    }


def remarks(statuses: Sequence[StudyStatus]) -> list[str]:
    """Return what a reader of the listing must know, as sentences."""
    assumed = [each.study.method for each in statuses if each.spent.assumed]
    return [
        *finalists_note([each.finals for each in statuses]),
        *([f"Operations not measured, {ASSUMPTION}: {', '.join(dict.fromkeys(assumed))}."] if assumed else []),
    ]


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(
            f"{name}={each if isinstance(each, str) else canonical_json(each)}" for name, each in value.items()
        )
    return f"{value:.6g}" if isinstance(value, float) else str(value)
