import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from benchbench.reporting import tables, to_csv, to_html, to_latex, to_markdown, to_terminal
from benchbench.reporting.accuracy import accuracy_table
from benchbench.reporting.table import Table
from tests.helpers.synthetic_rows import row, rows, suite

SEEDS = (0, 1, 2, 3, 4, 5)
BEST = (0.950, 0.951, 0.949, 0.952, 0.948, 0.950)
CLOSE = (0.949, 0.953, 0.947, 0.951, 0.949, 0.949)
FAR = (0.90, 0.901, 0.899, 0.902, 0.898, 0.899)


def table(**accuracies: tuple[float, ...]) -> Table:
    made = suite(dict.fromkeys(accuracies, ""), seeds=SEEDS)
    return accuracy_table(made, [each for method, values in accuracies.items() for each in rows(method, *values)])


def marks(made: Table) -> dict[str, tuple[str, ...]]:
    return {line.headers[-1]: line.cells[0].figures[0].marks for line in made.rows if line.cells[0].figures}


def test_what_cannot_be_told_from_the_best_is_marked():
    # The premises, by another implementation: one difference is chance, the other is not.
    assert ttest_rel(BEST, CLOSE).pvalue > 0.05
    assert 3 * ttest_rel(BEST, FAR).pvalue < 0.05
    made = table(best=BEST, close=CLOSE, far=FAR)
    assert marks(made) == {"best": ("best",), "close": ("second", "tied"), "far": ()}
    assert "Tests: paired t, Holm's correction over all pairs of a column, alpha = 0.05." in made.notes


def test_four_seeds_are_not_tested():
    made = accuracy_table(suite({"A": "", "B": ""}, seeds=SEEDS[:4]), [*rows("A", *BEST[:4]), *rows("B", *CLOSE[:4])])
    assert marks(made) == {"A": ("best",), "B": ("second",)}
    assert "Differences are not tested: that takes 5 seeds." in made.notes


def test_a_method_with_a_divergence_is_not_tied_with_anything():
    diverged = [row("B", 0, outcome="diverged"), *rows("B", *CLOSE)[1:]]
    made = accuracy_table(
        suite({"A": "", "B": "", "C": ""}, seeds=SEEDS), [*rows("A", *BEST), *diverged, *rows("C", *FAR)]
    )
    assert marks(made)["B"] == ("second",)


def test_what_shows_the_same_number_is_equal_not_tied():
    made = table(a=BEST, b=tuple(value + 1e-7 for value in reversed(BEST)), c=FAR)
    assert marks(made) == {"a": ("best",), "b": ("best",), "c": ("second",)}


@given(st.permutations([(method, seed) for method in "abc" for seed in SEEDS]))
def test_the_order_of_rows_decides_nothing(order: list[tuple[str, int]]):
    values = dict(zip("abc", (BEST, CLOSE, FAR), strict=True))
    made = suite(dict.fromkeys("abc", ""), seeds=SEEDS)
    assert accuracy_table(made, [row(m, s, values[m][s]) for m, s in order]) == table(**values)


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (to_markdown, r"\*94\.97 ± 0\.21\*†"),
        (to_latex, r"\\underline\{94\.97 \$\\pm\$ 0\.21\}\$\^\\dagger\$"),
        (to_html, r"<u>94\.97 ± 0\.21</u><sup>†</sup>"),
        (lambda made: to_terminal(made, color=False, width=None), r"94\.97 ± 0\.21²†"),
    ],
)
def test_every_format_shows_the_mark_and_says_what_it_means(write, pattern):
    text = write(table(best=BEST, close=CLOSE, far=FAR))
    assert re.search(pattern, text), text
    assert "no significant difference from the best" in text


def test_csv_names_the_marks():
    assert ",second tied," in to_csv([table(best=BEST, close=CLOSE, far=FAR)])


def test_the_columns_of_a_terminal_stay_aligned_with_marks():
    lines = to_terminal(table(best=BEST, close=CLOSE, far=FAR), color=False, width=None).splitlines()
    shown = [line for line in lines if "±" in line and "Mean" not in line]
    assert len({line.index("±") for line in shown}) == 1


def test_a_method_of_which_seeds_are_still_missing_has_no_place_and_no_mark():
    made = suite({"best": "", "part": ""}, seeds=SEEDS, tables=("ranking", "accuracy"))
    ranking, accuracy, _ = tables(made, [*rows("best", *BEST), *rows("part", *CLOSE[:5])])
    assert {line.headers[-1]: line.cells[0].text for line in ranking.rows} == {"best": "1", "part": "*"}
    assert f"*: no place without all seeds: 5 of {len(SEEDS)} run: part." in ranking.notes
    assert "Differences are not tested: no two methods have a number of every seed." in accuracy.notes


@pytest.mark.parametrize("outcome", ["diverged", "failed", "crashed", "timeout", "interrupted"])
def test_the_last_accuracy_of_a_run_that_broke_is_in_no_order_mean_or_test(outcome):
    made = suite({"best": "", "gone": ""}, seeds=SEEDS, tables=("ranking", "accuracy", "pareto"))
    broken = row("gone", 0, 0.999, outcome=outcome)
    ranking, accuracy, _, pareto = tables(made, [*rows("best", *BEST), broken, *rows("gone", *CLOSE)[1:]])
    assert {line.headers[-1]: line.cells[0].text for line in ranking.rows} == {"best": "1", "gone": "*"}
    assert {line.headers[-1]: line.cells[0].text for line in accuracy.rows}[
        "gone"
    ] == f"94.98 ± 0.23 (n=5; 1 {outcome})"
    assert [line.cells[2].text for line in pareto.rows] == ["✓", "–"]
