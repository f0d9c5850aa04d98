"""What tuning has cost, on the site."""

import re
from dataclasses import replace
from pathlib import Path

from benchbench.leaderboard.bundle import read, write
from benchbench.leaderboard.site import build
from benchbench.leaderboard.submission import Declaration, Submission
from benchbench.values import Budget, Spent, Tuned
from tests.helpers.synthetic_submissions import shown_boards, submission

TUNED = Tuned(budget=Budget(gc=900), trials=Spent(runs=9, gc=890), finals=Spent(runs=3, gc=310), sampler="random")


def made() -> Submission:
    """`A` was tuned, `B` on the test data, of `C` nothing is known."""
    plain = submission({"A": 0.9, "B": 0.8, "C": 0.7})
    a, b, c = plain.suite.methods
    methods = (a.model_copy(update={"tuned": {"digits": TUNED}}), b.model_copy(update={"tuned_on": "test"}), c)
    return replace(plain, suite=plain.suite.model_copy(update={"methods": methods}))


def test_a_board_knows_what_tuning_has_cost():
    [board, *_] = shown_boards(made())
    assert {line.method: line.tuning for line in board.lines} == {"A": 1200, "B": None, "C": None}
    assert {line.method for line in board.lines if line.on_test} == {"B"}


def test_the_column_and_the_mark_survive_a_bundle(tmp_path: Path):
    path = tmp_path / "made.zip"
    write(made(), Declaration(tuning="by benchbench tune"), "2026-01-31", path)
    build([read(path)], tmp_path / "site", "T")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert ">Tuning</button>" in page
    assert "1,200 GC (unit not recorded)" in page
    assert 'data-value="1200.0"' in page
    assert len(re.findall("</a><span title=[^>]*> ‡</span>", page)) >= 1
    assert "‡: settings were chosen on the test data" in page


def test_a_site_without_tuning_has_no_column(tmp_path: Path):
    build([submission({"A": 0.9, "B": 0.8})], tmp_path / "site", "T")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert ">Tuning</button>" not in page
    assert "‡" not in page
