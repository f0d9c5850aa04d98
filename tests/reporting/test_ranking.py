import pytest
from scipy.stats import t as student

from benchbench.reporting import tables
from benchbench.reporting.table import Table
from benchbench.values import Heading
from tests.helpers.synthetic_rows import row, rows, suite
from tests.reporting.test_significance import BEST, CLOSE, FAR, SEEDS


def ranked(methods: dict[str, tuple[float, ...]], *others) -> Table:
    made = suite(
        dict.fromkeys([*methods, *(each.spec.method for each in others)], ""), seeds=SEEDS, tables=("ranking",)
    )
    [table] = tables(made, [*(each for method, values in methods.items() for each in rows(method, *values)), *others])
    return table


def column(table: Table, label: str) -> dict[str, str]:
    position = [each.label for each in table.columns].index(label)
    return {line.headers[-1]: line.cells[position].text for line in table.rows}


def test_places_and_groups_go_as_far_as_the_seeds():
    table = ranked({"far": FAR, "close": CLOSE, "best": BEST})
    assert column(table, "place") == {"best": "1–2", "close": "1–2", "far": "3"}
    assert column(table, "groups") == {"best": "a", "close": "a", "far": "b"}


def test_rows_of_equal_places_are_in_the_order_of_their_names_not_of_their_means():
    table = ranked({"z best": BEST, "a close": CLOSE})
    assert [line.headers[-1] for line in table.rows] == ["a close", "z best"]


def test_differences_are_those_from_the_best_mean_seed_by_seed():
    table = ranked({"best": BEST, "close": CLOSE, "far": FAR})
    assert column(table, "to the best")["far"] == "-5.02 ± 0.04"
    assert column(table, "to the best")["best"] == "–"
    assert column(table, "p")["far"] == "< 0.001"


def ranked_by(metric: str, *values: float) -> Table:
    """Return the ranking of one method by any metric."""
    made = suite({"A": ""}, seeds=tuple(range(len(values))), tables=("ranking",))
    made = made.model_copy(update={"headings": {"digits": Heading(label="digits", metrics=(metric,))}})
    found = rows("A", *values)
    results = [
        each.result.model_copy(update={"final": {metric: value}}) for each, value in zip(found, values, strict=True)
    ]
    [table] = tables(
        made, [each.model_copy(update={"result": result}) for each, result in zip(found, results, strict=True)]
    )
    return table


def test_the_interval_of_a_metric_without_bounds_is_students():
    half = student.ppf(0.975, 2) * 0.1 / 3**0.5
    assert (
        column(ranked_by("test/loss", 0.1, 0.2, 0.3), "95 % interval")["A"] == f"{0.2 - half:.3f} to {0.2 + half:.3f}"
    )


@pytest.mark.parametrize(
    ("metric", "values", "shown"),
    [
        # (m - mu)^2 <= t^2 * std^2 / (m (1 - m)) / n * mu (1 - mu), solved for mu in test_intervals.py
        ("test/accuracy", (0.9522, 0.9733, 0.9878), "88.71 to 99.31"),
        ("validation/accuracy", (0.9522, 0.9733, 0.9878), "88.71 to 99.31"),
        ("test/pearson", (-0.95, -0.97, -0.99), "-99.34 to -86.88"),
        ("test/perplexity", (1.1, 1.01, 1.3), "1.01 to 3.03"),
        ("test/accuracy", (1.0, 1.0, 1.0), "no spread"),
        ("test/accuracy", (0.9, 4.78, 0.9), "–"),
        ("test/accuracy", (0.9,), "–"),
    ],
)
def test_the_interval_of_a_metric_with_bounds_stays_inside(metric, values, shown):
    assert column(ranked_by(metric, *values), "95 % interval")["A"] == shown


def test_few_seeds_leave_every_place_open_and_have_no_p():
    made = suite({"A": "", "B": ""}, tables=("ranking",))
    [table] = tables(made, [*rows("A", 0.9, 0.91, 0.92), *rows("B", 0.1, 0.11, 0.12)])
    assert column(table, "place") == {"A": "1–2", "B": "1–2"}
    assert column(table, "p")["B"] == "n < 5"


def test_a_method_that_lost_a_seed_has_no_place_and_is_named():
    table = ranked({"best": BEST}, row("gone", 0, outcome="diverged"), *rows("gone", *CLOSE)[1:])
    assert column(table, "place") == {"best": "1", "gone": "*"}
    assert "*: no place without all seeds: diverged (1): gone." in table.notes
