"""The numbers behind the figures of the site, one plain value per board; the pages load them when a figure is seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchbench.leaderboard.boards import CURRENCIES, Board, Line, curve_scale
from benchbench.problems import printable
from benchbench.reporting.currencies import spent
from benchbench.reporting.metrics import describe
from benchbench.reporting.targets import Scores

MOST_SEED_CURVES = 10
"""Seeds whose own curves are shown on the page of a method; beyond, only the band."""


def board_data(board: Board, colours: dict[str, int]) -> dict[str, Any]:
    """Return the data of a board's figures.

    Args:
        board: The board.
        colours: Number of the colour of each method.
    """
    return {
        "metric": describe(board.metric).full_title,
        "curveMetric": board.curve_metric + (" (%)" if curve_scale(board.curve_metric) == 100 else ""),
        "target": None if board.target is None else _number(curve_scale(board.curve_metric) * board.target),
        "methods": [
            {
                "name": printable(line.method),  # as in the pages
                "colour": colours[line.method],
                "value": _number(line.value),
                "interval": list(line.interval) if line.interval else None,
                "costs": {name: _number(cost) for name, cost in line.costs.items()},
                "front": sorted(line.front),
                "curve": _curve(board, line),
            }
            for line in board.lines
        ],
    }


def profile_data(scores: Scores, colours: dict[str, int]) -> dict[str, Any]:
    """Return the data of the performance profiles, by currency."""
    return {
        "profiles": {
            currency: [
                {"name": printable(each.submission), "colour": colours[each.submission], "shares": list(each.profile)}
                for each in sorted(scores.of.get(currency, ()), key=lambda one: one.submission)
            ]
            for currency in CURRENCIES
        }
    }


def _curve(board: Board, line: Line) -> dict[str, Any] | None:
    """Return mean and sample standard deviation over the finished seeds by epoch, and the seeds' own curves.

    They go as far as all of these seeds do: beyond, a mean would be one of other runs.
    """
    finished = [
        (entry.spec.seed, entry.stored.records)
        for entry in line.entries
        if entry.stored and entry.stored.result.outcome == "finished" and entry.stored.records
    ]
    if not finished or not board.curve_metric:
        return None
    epochs = min(len(records) for _, records in finished)
    common = [records[:epochs] for _, records in finished]
    found = [[record.metrics.get(board.curve_metric, math.nan) for record in records] for records in common]
    values = np.array(found) * curve_scale(board.curve_metric)
    spread = values.std(axis=0, ddof=1) if len(finished) > 1 else np.zeros(values.shape[1])
    costs = {
        currency: _numbers(np.mean([[spent(each.cost, currency) for each in records] for records in common], axis=0))
        for currency in CURRENCIES
    }
    seeds = [[seed, _numbers(each)] for (seed, _), each in zip(finished, values, strict=True)]
    return {
        "mean": _numbers(values.mean(axis=0)),
        "std": _numbers(spread),
        "costs": costs,
        "seeds": seeds if len(seeds) <= MOST_SEED_CURVES else [],
    }


def _numbers(values: Any) -> list[float | None]:
    return [_number(float(value)) for value in values]


def _number(value: float | None) -> float | None:
    """Return a number that JSON can hold, to seven digits, which no screen can show more of."""
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None
