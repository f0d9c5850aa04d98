"""Submissions made by hand."""

from benchbench.leaderboard.boards import Board, Results, board_scores, boards
from benchbench.leaderboard.merge import merge
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.reporting.targets import Scores
from benchbench.values import Cost, EpochRecord, RunResult, RunSpec
from tests.helpers import synthetic_rows as synthetic


def stored(
    spec: RunSpec, accuracy: float, *, gradients: int = 1, hvps: int = 0, outcome: str = "finished"
) -> StoredRun:
    """A run of the spec whose validation accuracy comes closer to its test accuracy with every epoch."""
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={"validation/accuracy": accuracy * epoch / spec.epochs, "train/loss": 1.0 / epoch},
            cost=Cost(
                steps=10 * epoch,
                forwards=10 * max(gradients, 1) * epoch,
                gradients=10 * gradients * epoch,
                hvps=10 * hvps * epoch,
                train_seconds=float(epoch),
            ),
        )
        for epoch in range(1, spec.epochs + 1)
    )
    final = {**records[-1].metrics, "test/accuracy": accuracy}
    result = RunResult.model_validate(
        {
            "key": spec.key,
            "outcome": outcome,
            "selection_metric": "validation/accuracy",
            "epochs": spec.epochs,
            "final": final,
            "best": final,
            "best_epoch": spec.epochs,
            "cost": records[-1].cost,
            "environment": {"device": "cpu (x86_64)", "threads": "1", "torch": "2.14.1"},
        }
    )
    return StoredRun(result, records, "started\nended")


def submission(
    levels: dict[str, float],
    *,
    name: str = "made",
    workloads: tuple[str, ...] = ("digits",),
    seeds: int = 5,
    spread: float = 0.001,
) -> Submission:
    """Finished runs of methods with the given accuracies, which vary a little with the seed."""
    suite = synthetic.suite(dict.fromkeys(levels, "Some"), workloads, tuple(range(seeds)))
    runs = {}
    for spec in suite.specs:
        noise = spread * ((spec.seed * 7 + len(spec.method) * 3) % 5 - 2)
        cost = 1 + list(levels).index(spec.method)
        runs[spec.key] = stored(spec, levels[spec.method] + noise, gradients=cost, hvps=cost - 1)
    return Submission(name, suite, runs)


def shown_boards(*submissions: Submission) -> list[Board]:
    """The boards that a site of the submissions shows."""
    return boards(Results(*merge(submissions)))


def scored(*submissions: Submission) -> Scores:
    """The scores that a site of the submissions shows."""
    results = Results(*merge(submissions))
    return board_scores(results, boards(results))
