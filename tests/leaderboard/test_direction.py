"""Boards know which way is better from the results, and give no place to what was chosen on test data."""

from __future__ import annotations

from typing import Any

from benchbench.leaderboard import site
from benchbench.leaderboard.boards import Results, left_out
from benchbench.leaderboard.merge import merge
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.values import Heading
from tests.helpers.synthetic_submissions import scored, shown_boards, submission


def renamed(made: Submission, name: str, *, higher_is_better: bool | None, **changes: Any) -> Submission:
    """Return a submission whose accuracy is called otherwise, and said to be better one way or the other."""

    def with_name(metrics: dict[str, float]) -> dict[str, float]:
        return {each.replace("accuracy", name): value for each, value in metrics.items()}

    runs = {}
    for key, run in made.runs.items():
        update = {
            "selection_metric": f"validation/{name}",
            "higher_is_better": higher_is_better,
            "final": with_name(run.result.final),
            "best": with_name(run.result.best),
        }
        records = tuple(each.model_copy(update={"metrics": with_name(each.metrics)}) for each in run.records)
        runs[key] = StoredRun(run.result.model_copy(update=update), records)
    return Submission(made.name, made.suite.model_copy(update=changes), runs)


def test_lower_is_better_where_the_results_say_so() -> None:
    made = renamed(submission({"Bad": 0.6, "Good": 0.2}), "rmse", higher_is_better=False, targets={"digits": 0.15})
    (board,) = shown_boards(made)
    assert (board.metric, board.lower_is_better, board.target) == ("test/rmse", True, 0.15)
    assert [(line.method, line.places) for line in board.lines] == [("Good", (1, 1)), ("Bad", (2, 2))]
    assert "gc" in board.lines[0].front
    assert {each.submission: each.score for each in scored(made).of["steps"]} == {"Bad": 0, "Good": 1}


def test_a_metric_without_a_direction_has_no_board_and_says_why(tmp_path: Any) -> None:
    headings = {"digits": Heading(label="digits", metrics=("test/rmse",))}
    made = renamed(submission({"A": 0.6, "B": 0.2}), "rmse", higher_is_better=None, headings=headings)
    assert shown_boards(made) == []
    [said] = left_out(Results(*merge([made])))
    assert said.startswith("No board of digits by test/rmse: no result says which way is better")
    site.build([made], tmp_path / "site", "Site")
    assert "No board of digits by test/rmse" in (tmp_path / "site/index.html").read_text()


def test_what_was_chosen_on_test_data_has_no_place() -> None:
    made = submission({"Cheat": 0.99, "Good": 0.9, "Bad": 0.5})
    methods = tuple(
        each.model_copy(update={"tuned_on": "test" if each.label == "Cheat" else "validation"})
        for each in made.suite.methods
    )
    suite = made.suite.model_copy(update={"methods": methods, "targets": {"digits": 0.8}})
    (board,) = shown_boards(Submission("made", suite, made.runs))
    assert [(line.method, line.places) for line in board.lines] == [("Good", (1, 1)), ("Bad", (2, 2)), ("Cheat", None)]
    assert board.lines[2].text.startswith("99.")
    assert "Without a place, for their settings were chosen on the test data: Cheat." in board.notes
    assert [each.submission for each in scored(Submission("made", suite, made.runs)).of["steps"]] == ["Good", "Bad"]
