import math

import pytest

from benchbench.reporting import tables
from benchbench.reporting.caveats import without_impossible
from benchbench.reporting.metrics import impossible
from benchbench.values import Cost, EpochRecord
from tests.helpers.synthetic_rows import row, suite


@pytest.mark.parametrize(
    ("name", "value", "possible"),
    [
        ("test/accuracy", 1.0, True),
        ("test/accuracy", 1.0 + 1e-9, False),
        ("validation/f1", -1e-9, False),
        ("test/accuracy", math.inf, False),
        ("test/accuracy", math.nan, True),
        ("test/spearman", -1.0, True),
        ("train/perplexity", 0.9, False),
        ("train/perplexity", math.inf, True),
        ("train/loss", -5.0, True),
        ("train/loss", math.inf, True),
        ("train/loss", 1e100, True),
        ("test/loss", -1.1e100, False),
    ],
)
def test_a_metric_is_within_its_bounds_and_is_no_number_that_overflows(name, value, possible):
    assert (impossible(name, value) == "") is possible


@pytest.mark.parametrize("values", [[4.78, 0.9, 0.91], [1e308, 1.1e308, 1.2e308], [0.9, 0.91, -0.5]])
@pytest.mark.parametrize("name", ["accuracy", "ranking", "pareto"])
def test_a_number_that_no_run_can_have_measured_is_in_no_table_and_named(name, values):
    made = suite({"A": "x", "B": "x"}, seeds=(0, 1, 2), tables=(name,))
    rows = [row("A", seed, value) for seed, value in enumerate(values)] + [row("B", seed, 0.5) for seed in range(3)]
    [table, *_] = tables(made, rows)
    figures = [each for line in table.rows if "A" in line.headers for cell in line.cells for each in cell.figures]
    possible = [100 * value for value in values if 0 <= value <= 1]
    if name == "accuracy":
        means = [each.mean for each in figures]
        assert means == ([pytest.approx(sum(possible) / len(possible))] if possible else [])
    assert all(math.isfinite(each.mean) for each in figures if each.mean is not None)
    [note] = [each for each in table.notes if each.startswith("Left out")]
    for seed, value in enumerate(values):
        named = f"A, seed {seed}: test/accuracy cannot be {value}: it lies between 0 and 1" in note
        assert named != (0 <= value <= 1)


def test_a_curve_keeps_its_place_for_every_epoch():
    records = tuple(
        EpochRecord(epoch=epoch, metrics={"validation/accuracy": value, "train/loss": 1.0}, cost=Cost())
        for epoch, value in enumerate((0.5, 4.78, 0.6), start=1)
    )
    known = row("A", 0, 0.9).model_copy(update={"records": records})
    [kept], [note] = without_impossible([known])
    assert [str(record.metrics["validation/accuracy"]) for record in kept.records] == ["0.5", "nan", "0.6"]
    assert [record.metrics["train/loss"] for record in kept.records] == [1.0, 1.0, 1.0]
    assert "A, seed 0: validation/accuracy cannot be 4.78" in note


def test_what_can_be_is_left_as_it_is():
    made = suite({"A": "x"}, seeds=(0, 1))
    rows = [row("A", seed, 0.9) for seed in range(2)]
    assert not [note for table in tables(made, rows) for note in table.notes if note.startswith("Left out")]
