"""The table of robustness over sweeps, and through the command line."""

import itertools
import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from benchbench.cli import app
from benchbench.reporting import tables
from benchbench.reporting.table import Table
from benchbench.values import Method, Row
from tests.helpers.synthetic_rows import row, rows, spec, suite


def swept(values: dict[float, float | None], **changes: object) -> Table:
    """The table of a method that sweeps a learning rate, and of one that sweeps nothing; `None` diverges."""
    methods = tuple(Method(label=f"A (lr={lr})", base="A", swept={"lr": lr}) for lr in values)
    asked = suite({"B": ""}, seeds=(0, 1), tables=("robustness",))
    asked = asked.model_copy(
        update={
            "methods": (*methods, *asked.methods),
            "specs": tuple(
                spec(method.label, "digits", seed)
                for method, seed in itertools.product((*methods, *asked.methods), (0, 1))
            ),
            **changes,
        }
    )
    found: list[Row] = []
    for method, value in zip(methods, values.values(), strict=True):
        if value is None:
            found += [row(method.label, 0, outcome="diverged"), *rows(method.label, 0.9, 0.9)[1:]]
        else:
            found += rows(method.label, value - 0.01, value + 0.01)
    [table] = tables(asked, found)
    return table


VALUES: dict[float, float | None] = {i: 0.5 + 0.04 * i for i in range(1, 11)}  # the best is 0.9: 0.855 and more count


def cells(table: Table, method: str = "A") -> list[str]:
    return [cell.text for line in table.rows if line.headers[-1] == method for cell in line.cells]


def test_the_share_of_a_sweep_near_its_best_setting_is_shown():
    tried, best, share, interval = cells(swept(VALUES))
    assert (tried, best, share) == ("10", "90.00", "20 %")
    low, high = (float(end) for end in interval.removesuffix(" %").split(" to "))
    assert 0 < low <= 20 <= high


def test_the_suite_says_what_counts_as_near():
    table = swept(VALUES, robust_within=10.0)
    assert [column.label for column in table.columns] == ["tried", "best", "within 10 %", "95 % interval"]
    assert cells(table)[2] == "30 %"  # 0.82, 0.86, 0.9


def test_settings_that_diverged_are_outside():
    assert cells(swept({**VALUES, 11: None, 12: None}))[:3] == ["12", "90.00", "17 %"]


def test_too_few_settings_have_no_share_and_settings_still_to_be_run_are_counted():
    assert cells(swept(dict(list(VALUES.items())[:9])))[2] == "n < 10"
    methods = [Method(label=f"A (lr={i})", base="A", swept={"lr": i}) for i in range(12)]
    asked = suite(dict.fromkeys((method.label for method in methods), ""), seeds=(0, 1), tables=("robustness",))
    asked = asked.model_copy(update={"methods": tuple(methods)})
    found = [each for method in methods[:10] for each in rows(method.label, 0.5, 0.5)]
    [table] = tables(asked, [*found, *rows(methods[10].label, 0.9)])
    assert cells(table) == ["10 of 12", "50.00", "100 %", "no spread"]


def test_a_method_that_sweeps_nothing_is_named():
    table = swept(VALUES)
    assert cells(table, "B") == ["*", "–", "–", "–"]
    assert "*: sweeps nothing: B." in table.notes


SUITE = """
name: grid
title: Grid
seeds: [0]
workloads:
  line: {workload: "STUBS:line", epochs: 1, batch_size: 8}
methods:
  SGD: {optimizer: sgd, sweep: {lr: [0.001, 0.01, 0.03, 0.1, 0.3], momentum: [0.0, 0.9]}}
tables: [robustness]
"""


@pytest.mark.usefixtures("workplace")
def test_the_command_shows_the_robustness_of_a_sweep(write_suite: Callable[..., object]) -> None:
    path = str(write_suite(SUITE))
    ran = CliRunner().invoke(app, ["run", path, "--engine", "inline"])
    assert ran.exit_code == 0, ran.output
    shares = {}
    for within in ("5", "100"):
        shown = CliRunner().invoke(app, ["report", path, "--format", "json", "--set", f"robust_within={within}"])
        assert shown.exit_code == 0, shown.output
        [table] = json.loads(shown.stdout)["tables"]
        [line] = table["rows"]
        assert line["cells"][0]["figures"][0]["mean"] == 10
        shares[within] = line["cells"][2]["figures"][0]["mean"]
    assert 0 < shares["5"] <= shares["100"]
    refused = CliRunner().invoke(app, ["report", path, "--set", "robust_within=0"])
    assert refused.exit_code == 2
    assert "robust_within" in refused.stderr
