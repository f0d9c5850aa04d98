import subprocess
import sys

import pytest

from benchbench.problems import BadInputError
from benchbench.reporting import BUILDERS, tables
from tests.helpers.synthetic_rows import PAPER, row, suite


def test_a_suite_gets_the_tables_that_it_names_in_its_order():
    made = suite(PAPER, tables=("cost", "accuracy"))
    assert [table.name for table in tables(made, [])] == ["cost", "accuracy", "best-epoch accuracy"]
    assert tables(suite(PAPER, tables=()), []) == []


def test_every_table_has_all_methods_and_as_many_cells_as_columns():
    made = suite(PAPER, ("x", "y"), tables=tuple(BUILDERS))
    for table in tables(made, [row("SGD", 0, 0.5, workload="x")]):
        assert {line.headers[-1] for line in table.rows} == set(PAPER)
        assert {len(line.cells) for line in table.rows} == {len(table.columns)}


def test_an_unknown_table_is_named_with_the_nearest_one():
    with pytest.raises(BadInputError) as caught:
        tables(suite(PAPER, tables=("acuracy", "cost")), [])
    (problem,) = caught.value.problems
    assert (problem.value, problem.nearest) == ("acuracy", "accuracy")


def test_reports_need_neither_torch_nor_mlflow():
    code = "import sys, benchbench.reporting; print({'torch', 'mlflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
