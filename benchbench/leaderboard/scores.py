"""AlgoPerf's score over the boards of a site."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.leaderboard.boards import Board
from benchbench.leaderboard.costs import CURRENCIES
from benchbench.leaderboard.curves import curve
from benchbench.leaderboard.merge import Entry
from benchbench.stats import Hit, Score, score, time_to_target
from benchbench.values import EpochRecord


def scores(found: Sequence[Board]) -> dict[str, tuple[Score, ...]]:
    """Return the scores of the methods over all boards with a target, by the currency that costs are counted in.

    They are AlgoPerf's, with seeds in the place of studies. A method that has not been run on a workload misses there.

    Args:
        found: The boards.
    """
    boards = {
        str(number): board
        for number, board in enumerate(found)
        if board.target is not None and board.curve_better is not None
    }
    reached = {
        (line.method, name, entry.spec.seed, 0): _reached(entry, board)
        for name, board in boards.items()
        for line in board.lines
        if not line.on_test
        for entry in line.entries
    }
    names = {(board.key, board.metric): name for name, board in boards.items()}
    held_out = {
        name: names[board.held_out_of, board.metric]
        for name, board in boards.items()
        if (board.held_out_of, board.metric) in names
    }
    return {
        currency.name: score(
            {
                # Scores need positive costs; a method without any gradient pays nothing in some currencies.
                trial: Hit(index=record.epoch, cost=max(currency.of(record.cost), 1e-9)) if record else None
                for trial, record in reached.items()
            },
            held_out,
        )
        for currency in CURRENCIES
    }


def _reached(entry: Entry, board: Board) -> EpochRecord | None:
    """Return the epoch after which a run had reached the target of its board; a failed run has reached nothing."""
    if entry.stored is None or not entry.stored.result.conclusive or board.target is None:
        return None
    records = entry.stored.records
    points = curve(records, board.curve_metric, CURRENCIES[0])
    hit = time_to_target(points, board.target, lower_is_better=board.curve_better == "lower")
    return next(record for record in records if record.epoch == hit.index) if hit else None
