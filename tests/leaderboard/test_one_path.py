"""The site and `report` show the same numbers of the same results."""

from __future__ import annotations

import html.parser
import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchbench.cli.output import print_results
from benchbench.leaderboard import plots, site
from benchbench.leaderboard.boards import Results, boards
from benchbench.leaderboard.merge import merge
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.stats import mean, sample_std
from benchbench.values import Heading, Row, Suite
from tests.helpers.synthetic_submissions import scored, shown_boards, stored, submission

Cell = tuple[str, float | None]
"""What a cell of the site shows, and the number that it is sorted by."""

CURRENCIES = {"GC (paper)": 0, "gradients": 1, "steps": 2, "seconds": 3}
"""Position of each currency's columns on the site, by its name in tables."""


class Tables(html.parser.HTMLParser):
    """Collects the tables of a page as rows of cells; a cell in the head of a row is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[Cell]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            number = dict(attrs).get("data-value")
            self.tables[-1][-1].append(("", None if number is None else float(number)))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            text, number = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data.strip(), number)


def built(submissions: list[Submission], out: Path) -> list[list[list[Cell]]]:
    """Return the tables of a site's first page."""
    site.build(submissions, out, "Board")
    page = Tables()
    page.feed((out / "index.html").read_text("utf-8"))
    return page.tables


def reported(suite: Suite, rows: list[Row], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the tables that `report --format json` prints, by name."""
    print_results([suite], [rows], "json")
    return {table["name"]: table for table in json.loads(capsys.readouterr().out)["tables"]}


def made_up(rng: random.Random) -> list[Submission]:
    """Return one or two submissions with all that can go wrong with runs."""
    seeds, lower = rng.choice([1, 3, 5, 6]), rng.random() < 0.3
    found = []
    for name, workloads in rng.choice(
        [[("one", ("a", "b"))], [("one", ("a", "b")), ("two", ("c",))], [("one", ("a",)), ("two", ("a", "b"))]]
    ):
        levels = {f"M{i}": rng.uniform(0.3, 0.95) for i in rng.sample(range(8), rng.randint(1, 5))}
        made = submission(levels, name=name, workloads=workloads, seeds=seeds, spread=rng.choice([0.0, 0.001, 0.02]))
        runs = dict(made.runs)
        for key, run in made.runs.items():
            runs[key] = damaged(run, rng, lower=lower)
            if rng.random() < 0.03:
                del runs[key]
        suite = made.suite
        if rng.random() < 0.5:
            targets = {workload: rng.uniform(0.2, 0.9) for workload in workloads if rng.random() < 0.8}
            held_out = {"b": "a"} if {"a", "b"} <= targets.keys() and rng.random() < 0.5 else {}
            suite = suite.model_copy(update={"targets": targets, "held_out": held_out})
        if rng.random() < 0.3:
            suspect = rng.choice([*suite.methods, None])
            said = [each.model_copy(update={"tuned_on": "test"}) if each == suspect else each for each in suite.methods]
            suite = suite.model_copy(update={"methods": tuple(said)})
        found.append(Submission(name, suite, runs))
    return found


def damaged(run: StoredRun, rng: random.Random, *, lower: bool) -> StoredRun:
    """Return a run, in some cases without its history, a metric, its end or any gradient."""
    result, records = run.result.model_copy(update={"higher_is_better": not lower}), run.records
    chance = rng.random()
    if chance < 0.04:
        records = ()
    elif chance < 0.06:
        result = result.model_copy(update={"outcome": "diverged", "final": {**result.final, "test/accuracy": 0.99}})
        records = () if rng.random() < 0.3 else records
    elif chance < 0.08:
        result = result.model_copy(update={"outcome": rng.choice(["failed", "timeout"])})
    elif chance < 0.09:
        result = result.model_copy(update={"final": {**result.final, "test/accuracy": 4.78}})
    elif chance < 0.10:
        result = result.model_copy(update={"final": {"train/loss": 1.0}})
    elif chance < 0.12:
        records = tuple(each.model_copy(update={"metrics": {"train/loss": 1.0}}) for each in records)
    elif chance < 0.14:
        forwards = rng.choice([{}, {"forwards": 0}])  # without any gradient, or without a count of what was computed
        records = tuple(
            each.model_copy(update={"cost": each.cost.model_copy(update={"gradients": 0, "hvps": 0, **forwards})})
            for each in records
        )
        result = result.model_copy(update={"cost": records[-1].cost})
    return StoredRun(result, records, run.log)


def as_reported(submissions: list[Submission]) -> tuple[Suite, list[Row]]:
    """Return all results as `report` has them, with the targets that the site derives spelled out."""
    suite, entries = merge(submissions)
    targets = {board.key: board.target for board in boards(Results(suite, entries)) if board.target is not None}
    tables = ("ranking", "matched", "pareto", "profile")
    asked = suite.model_copy(update={"targets": {**targets, **suite.targets}, "tables": tables})
    rows = [
        Row(spec=each.spec, result=each.stored.result, records=each.stored.records)
        if each.stored
        else Row(spec=each.spec)
        for each in entries
    ]
    return asked, rows


@pytest.mark.parametrize("number", range(30))
def test_the_site_shows_the_numbers_of_the_report(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")  # four megabytes
    submissions = made_up(random.Random(number))
    suite, rows = as_reported(submissions)
    tables = reported(suite, rows, capsys)
    shown = built(submissions, tmp_path / "site")
    found = shown_boards(*submissions)
    for board, table in zip(found, shown, strict=False):
        lines = {line[2][0].removesuffix(" ‡").removesuffix("‡"): line for line in table[1:]}
        assert same_order(tables["ranking"], board.workload, lines)
        if board.curve_metric == "validation/accuracy":
            same_matched(tables["matched"], board.workload, lines)
        same_fronts(tables["pareto"], board.workload, lines)
    # A target that the site has derived from another metric cannot be said to a suite.
    if all(board.target is None or board.curve_metric == "validation/accuracy" for board in found):
        same_scores(tables["profile"], shown[len(found) :])


def same_order(table: Any, workload: str, lines: dict[str, list[Cell]]) -> int:
    """Compare places, groups, means and intervals; return how many."""
    compared = 0
    for row in table["rows"]:
        where, method = row["headers"]
        method = method.removesuffix(" ‡")
        if where == workload and method in lines:
            place, groups, mean, interval = row["cells"][:4]
            line = lines[method]
            assert line[0][0] == (place["remark"] or "–")
            assert line[1][0] == groups["remark"].replace("–", "")
            figures = mean["figures"]
            text = f"{figures[0]['value']} ± {figures[0]['spread']}".removesuffix(" ± ") if figures else "–"
            assert line[4] == (text, figures[0]["mean"] if figures else None)
            assert line[5][0] == interval["remark"]
            compared += 1
    return compared


def same_matched(table: Any, workload: str, lines: dict[str, list[Cell]]) -> None:
    for position, column in enumerate(table["columns"]):
        currency = {"GC": "GC (paper)", "steps": "steps", "s": "seconds"}[column["label"].split()[1]]
        if not column["group"].startswith(f"{workload}: "):
            continue
        for row in table["rows"]:
            cell = row["cells"][position]
            line = lines.get(row["headers"][-1].removesuffix(" ‡"))
            if line:
                whole = cell["figures"] and not cell["remark"]
                assert line[9 + 2 * CURRENCIES[currency]][0] == (cell["figures"][0]["value"] if whole else "–")


def same_fronts(table: Any, workload: str, lines: dict[str, list[Cell]]) -> None:
    labels = [(column["group"], column["label"]) for column in table["columns"]]
    for row in table["rows"]:
        line = lines.get(row["headers"][-1].removesuffix(" ‡"))
        for position, (group, label) in enumerate(labels):
            if line and group.startswith(workload) and label in ("GC (paper)", "seconds"):
                step = 2 if len(line) > 13 else 1
                text, cost = line[8 + step * CURRENCIES[label]]
                cell = row["cells"][position]
                assert cost == (cell["figures"][0]["mean"] if cell["figures"] else None)
                assert ("◆" in text) == (row["cells"][position + 1]["remark"] == "✓")


def same_scores(table: Any, shown: list[list[list[Cell]]]) -> None:
    columns = [(each["group"], position) for position, each in enumerate(table["columns"]) if each["label"] == "score"]
    if not shown:
        assert not columns
        return
    lines = {line[0][0]: line for line in shown[0][1:]}
    for row in table["rows"]:
        line = lines.get(row["headers"][-1].removesuffix(" ‡"))
        if line:
            expected = {group: row["cells"][position]["figures"] for group, position in columns}
            for currency, position in CURRENCIES.items():
                figures = expected.get(currency)
                assert line[2 + position][1] == (figures[0]["mean"] if figures else None)


def test_with_lost_histories_there_is_no_score_but_the_reason(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8})
    lost = [spec.key for spec in made.suite.specs if spec.method == "A"][:3]
    runs = {key: StoredRun(run.result) if key in lost else run for key, run in made.runs.items()}
    partly = Submission("made", made.suite.model_copy(update={"targets": {"digits": 0.5}}), runs)
    found = scored(partly)
    assert (found.of, found.notes) == ({}, ("No score: there are runs without a history: A on digits.",))
    site.build([partly], tmp_path / "site", "Board")
    assert found.notes[0] in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_a_diverged_run_without_a_history_may_have_reached_its_target_before() -> None:
    made = submission({"A": 0.9})
    spec = made.suite.specs[0]
    runs = {**made.runs, spec.key: StoredRun(stored(spec, 0.9, outcome="diverged").result)}
    suite = made.suite.model_copy(update={"targets": {"digits": 0.5}})
    assert "No score: there are runs without a history: A on digits." in scored(Submission("made", suite, runs)).notes
    at_once = stored(spec, 0.9, outcome="diverged").result.model_copy(update={"epochs": 0})
    runs = {**made.runs, spec.key: StoredRun(at_once)}
    assert [each.submission for each in scored(Submission("made", suite, runs)).of["steps"]] == ["A"]


def test_a_method_that_was_not_run_on_some_workload_has_no_score_over_all_of_them(tmp_path: Path) -> None:
    one = submission({"A": 0.9, "C": 0.8}, name="one", workloads=("w1",))
    two = submission({"B": 0.9, "C": 0.8}, name="two", workloads=("w2", "w3"))
    found = scored(one, two)
    assert found.unscored == {"A": "not run on w2, w3", "B": "not run on w1"}
    assert [each.submission for each in found.of["steps"]] == ["C"]
    site.build([one, two], tmp_path / "site", "Board")
    assert "No score: A: not run on w2, w3." in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_the_27th_tie_group_is_aa_in_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, rng = submission({f"M{i:02}": 0.05 + 0.03 * i for i in range(30)}, seeds=8), random.Random(0)

    def varied(run: StoredRun) -> StoredRun:
        accuracy = run.result.final["test/accuracy"] + rng.gauss(0, 1e-4)
        return StoredRun(run.result.model_copy(update={"final": {"test/accuracy": accuracy}}), run.records)

    submissions = [Submission("made", made.suite, {key: varied(run) for key, run in made.runs.items()})]
    groups = {line.groups for line in shown_boards(*submissions)[0].lines}
    assert {"a", "z", "aa", "ad"} <= groups
    assert same_order(
        reported(*as_reported(submissions), capsys)["ranking"],
        "digits",
        {line[2][0]: line for line in built(submissions, tmp_path / "site")[0][1:]},
    )


def test_a_target_that_nothing_has_been_measured_against_leaves_no_score() -> None:
    made = submission({"A": 0.9}, workloads=("a", "b"))
    runs = {spec.key: made.runs[spec.key] for spec in made.suite.specs if spec.workload_label == "a"}
    partly = Submission("made", made.suite.model_copy(update={"targets": {"a": 0.5, "b": 0.5}}), runs)
    assert (scored(partly).of, scored(partly).notes) == ({}, ("No score: b: no run has ended.",))


def test_scores_that_rest_on_fewer_seeds_than_asked_for_say_so() -> None:
    made = submission({"A": 0.9})
    runs = dict(list(made.runs.items())[:3])
    found = scored(Submission("made", made.suite.model_copy(update={"targets": {"digits": 0.5}}), runs))
    assert found.notes == ("Scores rest on fewer seeds than asked for: A on digits (3 of 5 run).",)
    assert found.of["steps"][0].score == 1.0


def test_a_number_that_no_run_can_have_measured_is_on_no_board_and_named(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8})
    spec = made.suite.specs[0]
    result = made.runs[spec.key].result.model_copy(update={"final": {"test/accuracy": 4.78}})
    doctored = Submission("made", made.suite, {**made.runs, spec.key: StoredRun(result, made.runs[spec.key].records)})
    (board,) = shown_boards(doctored)
    assert [(line.method, line.value is None, line.n) for line in board.lines] == [("B", False, 5), ("A", True, 4)]
    site.build([doctored], tmp_path / "site", "Board")
    assert "test/accuracy cannot be 4.78" in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_a_derived_target_is_that_of_the_methods_whose_runs_all_finished() -> None:
    made = submission({"A": 0.9, "B": 0.5}, spread=0.0)
    spec = next(spec for spec in made.suite.specs if spec.method == "B")
    assert shown_boards(made)[0].target == pytest.approx(0.7)
    runs = {**made.runs, spec.key: stored(spec, 0.5, outcome="failed")}
    assert shown_boards(Submission("made", made.suite, runs))[0].target == pytest.approx(0.9)
    del runs[spec.key]
    assert shown_boards(Submission("made", made.suite, runs))[0].target == pytest.approx(0.9)


def test_the_target_of_a_suite_is_one_of_its_own_metric_on_boards_by_others_too() -> None:
    made = submission({"A": 0.9, "B": 0.5}, spread=0.0)
    headings = {"digits": Heading(label="digits", metrics=("test/accuracy", "test/loss"))}
    suite = made.suite.model_copy(update={"targets": {"digits": 0.8}, "headings": headings})
    runs = {
        key: StoredRun(
            run.result.model_copy(update={"final": {**run.result.final, "test/loss": 1.0}}), run.records, run.log
        )
        for key, run in made.runs.items()
    }
    both = Submission("made", suite, runs)
    assert [(board.curve_metric, board.target) for board in shown_boards(both)] == [
        ("validation/accuracy", 0.8),
        ("train/loss", 0.5),
    ]
    found = {each.submission: each for each in scored(both).of["steps"]}
    assert {name: each.score for name, each in found.items()} == {"A": 1.0, "B": 0.0}
    assert list(found["A"].times) == ["digits"]  # once, not once per metric


def test_the_band_of_a_curve_is_the_sample_standard_deviation_of_the_seeds() -> None:
    made = submission({"A": 0.9}, seeds=3, spread=0.01)
    (board,) = shown_boards(made)
    [method] = plots.board_data(board, {"A": 0})["methods"]
    ends = [100 * run.records[-1].metrics["validation/accuracy"] for run in made.runs.values()]
    assert method["curve"]["mean"][-1] == pytest.approx(mean(ends), rel=1e-6)
    assert method["curve"]["std"][-1] == pytest.approx(sample_std(ends), rel=1e-6)
    assert method["interval"] == list(board.lines[0].interval or ())
