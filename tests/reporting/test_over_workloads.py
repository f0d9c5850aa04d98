"""The table over all workloads, against scipy and values counted by hand, and through the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from benchbench.cli import app
from benchbench.figures.drawing import FORMATS
from benchbench.reporting import tables
from benchbench.reporting.over_workloads import over_workloads
from benchbench.reporting.runs import gather
from benchbench.reporting.table import Table
from benchbench.stats import bayesian_signed_rank, critical_difference
from benchbench.values import Heading, Row, Suite
from tests.helpers.synthetic_rows import rows, suite

WORKLOADS = tuple(f"w{i}" for i in range(6))
ACCURACIES = {
    "base": (0.50, 0.61, 0.72, 0.83, 0.94, 0.55),
    "same": (0.50, 0.61, 0.72, 0.83, 0.94, 0.55),
    "good": (0.60, 0.66, 0.79, 0.87, 0.96, 0.54),
    "best": (0.70, 0.71, 0.82, 0.91, 0.99, 0.90),
}


def made(values: dict[str, tuple[float, ...]], workloads: tuple[str, ...] = WORKLOADS) -> tuple[Suite, list[Row]]:
    """A suite of two seeds whose means are the values."""
    asked = suite(dict.fromkeys(values, ""), workloads, seeds=(0, 1), tables=("workloads",))
    found = [
        each
        for method, of in values.items()
        for workload, value in zip(workloads, of, strict=False)
        for each in rows(method, value - 0.01, value + 0.01, workload=workload)
    ]
    return asked, found


def table_of(values: dict[str, tuple[float, ...]], workloads: tuple[str, ...] = WORKLOADS) -> Table:
    [table] = tables(*made(values, workloads))
    return table


def column(table: Table, label: str, group: str = "") -> dict[str, str]:
    position = [(each.group, each.label) for each in table.columns].index((group, label))
    return {line.headers[-1]: line.cells[position].text for line in table.rows}


def test_methods_are_in_the_order_of_their_average_ranks():
    table = table_of(ACCURACIES)
    assert column(table, "average rank") == {"best": "1.00", "good": "2.33", "base": "3.33", "same": "3.33"}
    assert critical_difference(4, 6) == pytest.approx(1.91, abs=0.005)
    assert column(table, "groups") == {"best": "a", "good": "a b", "base": "b", "same": "b"}


def test_each_method_is_compared_with_the_first_one_of_the_suite():
    table = table_of(ACCURACIES)
    against = "to base"
    assert column(table, "better–equal–worse", against) == {
        "best": "6–0–0", "good": "5–0–1", "base": "–", "same": "0–6–0",
    }  # fmt: skip
    differences = {
        name: [round(100 * (a - b), 6) for a, b in zip(ACCURACIES[name], ACCURACIES["base"], strict=True)]
        for name in ("good", "best")
    }
    assert column(table, "median", against)["good"] == f"{median(differences['good']):+.2f}"
    # Holm: the family has three methods, of which `same` has p = 1.
    signs = {name: stats.binomtest(sum(d > 0 for d in of), 6).pvalue for name, of in differences.items()}
    assert column(table, "sign p", against)["best"] == f"{3 * signs['best']:.3f}"
    assert column(table, "sign p", against)["good"] == f"{2 * signs['good']:.3f}"
    ranks = {name: stats.wilcoxon(of).pvalue for name, of in differences.items()}
    assert column(table, "Wilcoxon p", against)["best"] == f"{3 * ranks['best']:.3f}"
    assert column(table, "p", "to the best")["good"] == f"{min(1, 6 * 2**-5):.3f}"
    posterior = bayesian_signed_rank(differences["good"], 1.0)
    assert column(table, "P(better)", against)["good"] == f"{posterior.better:.2f}"
    assert column(table, "P(equal)", against)["same"] == "> 0.99"


def test_below_five_workloads_nothing_is_tested_and_a_note_says_so():
    table = table_of(ACCURACIES, WORKLOADS[:4])
    assert set(column(table, "groups").values()) == {"–"}
    assert column(table, "sign p", "to base")["best"] == column(table, "P(worse)", "to base")["best"] == "n < 5"
    assert "Nothing is tested: that takes 5 workloads (n counts them here)." in table.notes


def test_two_methods_have_no_groups_but_are_compared():
    table = table_of({name: ACCURACIES[name] for name in ("base", "best")})
    assert set(column(table, "groups").values()) == {"–"}
    assert "No groups: Friedman's test and Nemenyi's take 3 methods." in table.notes
    assert column(table, "Wilcoxon p", "to base")["best"] == f"{2**-5:.3f}"


def test_a_method_that_misses_a_workload_and_a_workload_without_results_are_named():
    table = table_of({**ACCURACIES, "thin": (0.9, 0.9)}, (*WORKLOADS, "empty"))
    assert column(table, "average rank")["thin"] == "*"
    assert "*: not all seeds gave a number on w2, w3, w4, w5: thin." in table.notes
    assert "Left out: empty: no method has all its seeds there." in table.notes
    assert table.notes[0].startswith("Workloads: 6. ")


def test_a_held_out_variant_does_not_count_twice():
    asked, found = made(ACCURACIES)
    [table] = tables(asked.model_copy(update={"held_out": {"w5": "w0"}}), found)
    assert "Left out: w5: held-out variant of w0." in table.notes
    assert table.notes[0].startswith("Workloads: 5. ")


def test_losses_count_the_other_way_round_and_in_percent_of_the_larger_value():
    asked, found = made({"a": (2.0, 1.0), "b": (1.0, 1.25)}, ("w0", "w1"))
    asked = asked.model_copy(
        update={"headings": {"w0": Heading(label="w0", metrics=("test/loss",)), "w1": Heading(label="w1")}}
    )
    losses = [
        each.model_copy(
            update={
                "result": each.result.model_copy(
                    update={"final": {"test/loss": each.result.final["test/accuracy"], "test/accuracy": 0.5}}
                )
            }
        )
        for each in found
    ]
    compared = over_workloads(asked, gather(asked, losses))
    assert compared.metrics == {"w0": "test/loss", "w1": "test/accuracy"}
    assert compared.differences("b", "a") == [50.0, 0.0]
    assert compared.differences("a", "b") == [-50.0, 0.0]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, 99), min_size=6, max_size=6), min_size=1, max_size=5), st.randoms())
def test_the_order_of_rows_decides_nothing(values, source):
    asked, found = made({f"m{i}": tuple(value / 100 for value in of) for i, of in enumerate(values)})
    assert tables(asked, source.sample(found, len(found))) == tables(asked, found)


def test_no_results_give_a_table_without_figures():
    asked, _ = made(ACCURACIES)
    [table] = tables(asked, [])
    assert table.notes[0].startswith("Nothing is compared: no method has all its seeds on every workload")
    assert not any(cell.figures for line in table.rows for cell in line.cells)


SUITE = """
name: five
title: Five
seeds: [0]
workloads:
  w1: {workload: "STUBS:line", epochs: 1, batch_size: 8}
  w2: {workload: "STUBS:line", epochs: 2, batch_size: 8}
  w3: {workload: "STUBS:line", epochs: 3, batch_size: 8}
  w4: {workload: "STUBS:line", epochs: 1, batch_size: 4}
  w5: {workload: "STUBS:line", epochs: 2, batch_size: 4}
methods:
  slow: {optimizer: sgd, lr: 0.001}
  fast: {optimizer: sgd, lr: 0.1}
  adam: {optimizer: adamw, lr: 0.01}
tables: [workloads]
"""


@pytest.mark.usefixtures("workplace")
def test_the_command_shows_what_has_been_run_on_five_workloads(write_suite: Callable[..., Path]) -> None:
    path = str(write_suite(SUITE))
    ran = CliRunner().invoke(app, ["run", path, "--engine", "inline"])
    assert ran.exit_code == 0, ran.output
    shown = CliRunner().invoke(app, ["report", path, "--format", "json"])
    assert shown.exit_code == 0, shown.output
    [table] = json.loads(shown.stdout)["tables"]
    assert {row["headers"][0] for row in table["rows"]} == {"slow", "fast", "adam"}
    ranks = [row["cells"][0]["figures"][0]["mean"] for row in table["rows"]]
    assert sum(ranks) == pytest.approx(1 + 2 + 3)
    assert ranks == sorted(ranks)
    assert table["notes"][0].startswith("Workloads: 5. ")
    drawn = CliRunner().invoke(app, ["plot", path, "--kind", "ranks", "--out", "figures"])
    assert drawn.exit_code == 0, drawn.output
    assert [Path(line).name for line in drawn.stdout.splitlines()] == [f"five-ranks.{form}" for form in FORMATS]
    refused = CliRunner().invoke(app, ["plot", path, "--kind", "ranks", "--only", "workload=w1", "--out", "figures"])
    assert refused.exit_code == 2
    assert "three methods with all their seeds on five workloads" in refused.stderr
