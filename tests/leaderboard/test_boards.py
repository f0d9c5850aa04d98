"""Boards and their pages: order, cost, scores, and names that try to break them."""

from __future__ import annotations

import html.parser
import math
import re
from pathlib import Path

import pytest

from benchbench.leaderboard import site
from benchbench.leaderboard.submission import Declaration, Manifest, StoredRun, Submission
from benchbench.problems import BadInputError
from tests.helpers.synthetic_submissions import scored, shown_boards, stored, submission
from tests.reporting.hostile_tables import LATIN


def test_methods_that_differ_are_ordered_and_the_others_are_tied() -> None:
    (board,) = shown_boards(submission({"Low": 0.6, "High": 0.9, "Same": 0.9}))
    assert [(line.method, line.places, line.groups) for line in board.lines] == [
        ("High", (1, 2), "a"),
        ("Same", (1, 2), "a"),
        ("Low", (3, 3), "b"),
    ]
    assert not any("Fewer than" in note for note in board.notes)


def test_few_seeds_order_nothing() -> None:
    (board,) = shown_boards(submission({"B": 0.9, "A": 0.1, "C": 0.5}, seeds=4))
    assert [(line.method, line.places) for line in board.lines] == [("A", (1, 3)), ("B", (1, 3)), ("C", (1, 3))]
    assert "Fewer than 5 seeds" in board.notes[0]


def test_costs_are_means_in_every_currency_and_the_front_is_known() -> None:
    (board,) = shown_boards(submission({"Cheap": 0.9, "Dear": 0.6}))
    cheap, dear = board.lines
    assert cheap.costs == {"gc": 20, "gradients": 20, "steps": 20, "seconds": 2}
    assert dear.costs == {"gc": 40 + 3 * 20, "gradients": 40, "steps": 20, "seconds": 2}
    assert cheap.front == {"gc", "gradients", "steps", "seconds"}
    assert dear.front == set()


def test_at_equal_cost_a_dear_method_is_seen_at_an_earlier_epoch() -> None:
    (board,) = shown_boards(submission({"Cheap": 0.6, "Dear": 0.8}, spread=0.0))
    matched = {line.method: line.matched for line in board.lines}
    assert matched["Cheap"]["gradients"] == pytest.approx(0.6)
    assert matched["Dear"]["gradients"] == pytest.approx(0.4)  # one of two epochs
    assert "gc" not in matched["Dear"]  # an epoch costs more than all of the other method's training
    assert matched["Dear"]["steps"] == pytest.approx(0.8)


def test_a_method_with_a_lost_seed_has_no_place_and_no_mean() -> None:
    made = submission({"A": 0.9, "B": 0.8})
    spec = next(spec for spec in made.suite.specs if spec.method == "A")
    runs = {**made.runs, spec.key: stored(spec, 0.1, outcome="diverged")}
    (board,) = shown_boards(Submission("made", made.suite, runs))
    last = board.lines[-1]
    assert (last.method, last.places, last.value, last.n, last.remark) == ("A", None, None, 4, "1 diverged")


def test_scores_are_shares_of_workloads_solved_early() -> None:
    made = submission({"A": 0.9, "B": 0.7}, workloads=("one", "two"), spread=0.0)
    found = shown_boards(made)
    assert all(board.target == pytest.approx(0.8) for board in found)  # the median of two is in the middle
    by_currency = scored(made).of
    assert {score.submission: score.score for score in by_currency["steps"]} == {"A": 1.0, "B": 0.0}


def test_the_target_of_a_suite_counts_and_a_missed_variant_takes_its_base_along() -> None:
    made = submission({"A": 0.9, "B": 0.7}, workloads=("one", "one held out"), spread=0.0)
    suite = made.suite.model_copy(
        update={"targets": {"one": 0.3, "one held out": 0.8}, "held_out": {"one held out": "one"}}
    )
    chosen = {"selection_metric": "validation/accuracy"}
    runs = {key: StoredRun(run.result.model_copy(update=chosen), run.records) for key, run in made.runs.items()}
    found = shown_boards(Submission("made", suite, runs))
    assert [board.target for board in found] == [0.3, 0.8]
    of_steps = {score.submission: score for score in scored(Submission("made", suite, runs)).of["steps"]}
    assert {name: score.score for name, score in of_steps.items()} == {"A": 1.0, "B": 0.0}  # B is first on the base
    assert len(of_steps["A"].times) == 1


def test_a_run_that_failed_has_reached_nothing() -> None:
    made = submission({"A": 0.9, "B": 0.9}, spread=0.0)
    runs = {
        spec.key: stored(spec, 0.9, outcome="failed" if spec.method == "A" else "finished") for spec in made.suite.specs
    }
    by_currency = scored(Submission("made", made.suite, runs)).of
    assert {score.submission: score.score for score in by_currency["steps"]} == {"A": 0.0, "B": 1.0}


def test_a_method_without_gradients_has_a_score_too() -> None:
    made = submission({"A": 0.9, "B": 0.7}, spread=0.0)
    runs = dict(made.runs)
    for spec in made.suite.specs:
        if spec.method == "A":
            runs[spec.key] = stored(spec, 0.9, gradients=0)
    by_currency = scored(Submission("made", made.suite, runs)).of
    assert {score.submission: score.score for score in by_currency["gc"]} == {"A": 1.0, "B": 0.0}


def test_equal_labels_for_other_settings_are_told_apart() -> None:
    one = submission({"A": 0.9}, name="one")
    specs = tuple(spec.model_copy(update={"batch_size": 8, "create_graph": True}) for spec in one.suite.specs)
    two = Submission(
        "two", one.suite.model_copy(update={"specs": specs}), {spec.key: stored(spec, 0.5) for spec in specs}
    )
    (board,) = shown_boards(one, two)
    assert {line.method: round(line.value or 0) for line in board.lines} == {"A": 90, "A (two)": 50}


def test_the_same_run_in_two_submissions_counts_once() -> None:
    one, two = submission({"A": 0.9}, name="one"), submission({"A": 0.9, "B": 0.8}, name="two")
    (board,) = shown_boards(one, two)
    assert {line.method: line.n for line in board.lines} == {"A": 5, "B": 5}
    assert {entry.submission for line in board.lines if line.method == "A" for entry in line.entries} == {"one"}


def test_the_site_is_the_same_every_time_and_replaces_itself_only(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8}, seeds=2)
    for name in ("one", "two", "one"):
        assert site.build([made], tmp_path / name, "Board") == 4
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "index.html").write_text("mine")
    with pytest.raises(BadInputError, match="neither empty nor a site"):
        site.build([made], tmp_path / "own", "Board")
    assert (tmp_path / "own" / "index.html").read_text() == "mine"


def test_missing_runs_and_missing_curves_are_shown_as_such(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8}, seeds=2)
    keys = [spec.key for spec in made.suite.specs]
    runs = {key: StoredRun(run.result) for key, run in made.runs.items() if key != keys[0]}
    site.build([Submission("made", made.suite, runs)], tmp_path / "site", "Board")
    index = (tmp_path / "site" / "index.html").read_text()
    assert "1 missing" in index
    assert "not declared" in index


class Parser(html.parser.HTMLParser):
    """Collects the elements and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_names_break_no_page_and_leave_no_folder(tmp_path: Path) -> None:
    names = [*LATIN, "../../evil", "con", "</script><script>alert(1)</script>", "javascript:alert(1)", '" onload="x']
    plain = submission(dict.fromkeys(["A", "B"], 0.5), seeds=1)
    manifest = Manifest(
        declaration=Declaration(tuning=LATIN[2], by=names[-1]), date="2026-01-31", software="x", files={}
    )
    submissions = []
    for number, name in enumerate(names):
        methods = tuple(
            method.model_copy(update={"label": name + method.label, "category": name}) for method in plain.suite.methods
        )
        specs = tuple(
            spec.model_copy(update={"method": name + spec.method, "workload_label": name, "seed": number})
            for spec in plain.suite.specs
        )
        runs = {spec.key: stored(spec, 0.5) for spec in specs}
        runs = {
            key: StoredRun(
                run.result.model_copy(update={"message": name, "environment": {name: name}}), run.records, name
            )
            for key, run in runs.items()
        }
        suite = plain.suite.model_copy(
            update={"methods": methods, "workloads": (name,), "specs": specs, "title": name, "seeds": (number,)}
        )
        whole = manifest if name.isprintable() else None  # with one, the site holds the bundle, which has no such name
        submissions.append(Submission(f"{number} {name}", suite, runs, whole))
    runs = site.build(submissions, tmp_path / "site", LATIN[2])
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) == 1 + 2 * len(names) + runs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in (tmp_path / "site").rglob("*"))
    for path in pages:
        page = Parser()
        page.feed(path.read_text(encoding="utf-8"))
        scripts = [attributes for tag, attributes in page.elements if tag == "script"]
        assert len(scripts) == 2
        assert not [tag for tag, attributes in page.elements if any(name.startswith("on") for name in attributes)]
        for _, attributes in page.elements:
            target = attributes.get("href") or attributes.get("src") or ""
            assert not target.startswith(("javascript", "//", "http"))
            local = target.partition("#")[0]
            assert not local or (path.parent / local).resolve().is_file()
    index = Parser()
    index.feed((tmp_path / "site" / "index.html").read_text(encoding="utf-8"))
    assert "".join(index.texts).count("</script><script>alert(1)</script>A") == 3


def test_numbers_that_are_none_are_no_numbers_on_the_site(tmp_path: Path) -> None:
    made = submission({"A": 0.9, "B": 0.8}, seeds=2)
    runs = dict(made.runs)
    key, run = next(iter(runs.items()))
    last = run.records[-1].model_copy(update={"metrics": {"validation/accuracy": math.nan, "train/loss": math.inf}})
    runs[key] = StoredRun(run.result, (run.records[0], last), run.log)
    site.build([Submission("made", made.suite, runs)], tmp_path / "site", "Board")
    data = "".join(path.read_text() for path in (tmp_path / "site" / "data").iterdir())
    assert not re.search("NaN|Infinity", data)
    assert "null" in data


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
