"""How far searches are, as rows of plain values."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.tuning.study import Standing, total
from benchbench.values import canonical_json


def listing(standings: Sequence[Standing], *, plain: bool = False) -> list[dict[str, object]]:
    """Return a row per search.

    Args:
        standings: The searches.
        plain: Whether values shall stand as they are, for programs; otherwise as text, for people.
    """
    rows = [_row(each) for each in standings]
    return rows if plain else [{name: _text(value) for name, value in row.items()} for row in rows]


def _row(standing: Standing) -> dict[str, object]:
    study, winner = standing.study, standing.winner
    spent = total(standing.results)
    finals = total([result for trial in standing.finalists for result in trial.results])
    return {
        "workload": study.workload,
        "method": study.method,
        "trials": sum(trial.ended for trial in standing.trials),
        "broken": standing.broken,
        "GC": spent.gc,
        "seconds": spent.seconds,
        "finals GC": finals.gc,
        "metric": winner.metric if winner else "",
        "value": winner.value if winner else None,
        "chosen": winner.values if winner else None,
    }


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(
            f"{name}={each if isinstance(each, str) else canonical_json(each)}" for name, each in value.items()
        )
    return f"{value:.6g}" if isinstance(value, float) else str(value)
