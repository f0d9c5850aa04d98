"""Tables that need the whole course of runs: equal cost, cost at a target, score; and quality against cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchbench.reporting import tables
from benchbench.reporting.table import Table
from benchbench.stats import Hit, score
from benchbench.values import Cost, EpochRecord, Row, RunResult, Suite
from tests.helpers.synthetic_rows import row, suite

METRIC = "validation/accuracy"
TWO = {"cheap": "", "dear": ""}


def run(
    method: str, seed: int, curve: list[float], *, hvps: int = 0, outcome: str = "finished", workload: str = "digits"
) -> Row:
    """A run of ten steps, ten gradients and `hvps` products per epoch, whose validation accuracy is the curve."""
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={METRIC: value},
            cost=Cost(steps=10 * epoch, gradients=10 * epoch, hvps=hvps * epoch, train_seconds=float(epoch)),
        )
        for epoch, value in enumerate(curve, start=1)
    )
    made = row(method, seed, curve[-1], workload=workload)
    result = RunResult(
        key=made.spec.key,
        outcome=outcome,
        selection_metric=METRIC,
        epochs=len(curve),
        final={"test/accuracy": curve[-1], METRIC: curve[-1]},
        cost=records[-1].cost,
    )
    return made.model_copy(update={"result": result, "records": records})


def only_table(made: Suite, rows: list[Row]) -> Table:
    [table] = tables(made, rows)
    return table


def texts(table: Table) -> dict[str, dict[str, str]]:
    labels = [column.label for column in table.columns]
    return {line.headers[-1]: dict(zip(labels, (cell.text for cell in line.cells), strict=True)) for line in table.rows}


def test_a_run_whose_history_is_lost_has_not_missed_its_target():
    made = suite(TWO, seeds=(0, 1), tables=("targets", "profile")).model_copy(update={"targets": {"digits": 0.6}})
    rows = [run(method, seed, [0.5, 0.7]) for method in TWO for seed in (0, 1)]
    targets, profile = tables(made, [rows[0].model_copy(update={"records": ()}), *rows[1:]])
    assert texts(targets)["cheap"]["epochs"] == "2 (1 of 1 seeds; 1 without a history)"
    assert texts(targets)["dear"]["epochs"] == "2"
    assert not profile.columns
    assert "No score: there are runs without a history: cheap on digits." in profile.notes


def test_equal_cost_is_what_all_runs_have_used_up():
    rows = [run("cheap", 0, [0.5, 0.6, 0.7, 0.8]), run("dear", 0, [0.65, 0.9, 0.92, 0.93], hvps=10)]
    shown = texts(only_table(suite(TWO, seeds=(0,), tables=("matched",)), rows))
    # 40 steps and 4 s for both; cheap has used up 40 GC, at which dear has done one epoch of 10 + 3 * 10 GC.
    assert shown == {
        "cheap": {"40 steps": "80.00", "40 GC (paper)": "80.00", "4 s": "80.00"},
        "dear": {"40 steps": "93.00", "40 GC (paper)": "65.00", "4 s": "93.00"},
    }


def test_the_last_evaluation_within_the_budget_counts_not_the_best():
    rows = [run("cheap", 0, [0.9, 0.5]), run("dear", 0, [0.1, 0.2, 0.3])]
    assert texts(only_table(suite(TWO, seeds=(0,), tables=("matched",)), rows))["cheap"]["20 steps"] == "50.00"


def test_what_diverged_has_no_result_at_equal_cost():
    rows = [run("cheap", 0, [0.5, 0.6]), run("dear", 0, [0.9], outcome="diverged")]
    table = only_table(suite(TWO, seeds=(0,), tables=("matched",)), rows)
    assert texts(table)["dear"]["20 steps"] == "*"
    assert any("diverged (1)" in note and "dear" in note for note in table.notes)


def test_a_history_that_is_lost_is_not_taken_for_evaluations_that_came_too_late():
    lost = run("dear", 1, [0.9, 0.9]).model_copy(update={"records": ()})
    late = run("dear", 2, [0.9, 0.9])
    slow = [
        record.model_copy(update={"cost": record.cost.model_copy(update={"train_seconds": 9.0 * record.epoch})})
        for record in late.records
    ]
    late = late.model_copy(update={"records": tuple(slow)})
    rows = [*(run("cheap", seed, [0.5, 0.6]) for seed in range(3)), run("dear", 0, [0.9, 0.9]), lost, late]
    shown = texts(only_table(suite(TWO, seeds=(0, 1, 2), tables=("matched",)), rows))["dear"]
    assert shown["20 steps"].endswith("(n=2; 1 without a history)")
    assert shown["2 s"].endswith("(n=1; 2 without a history or an evaluation in time)")
    gone = [made.model_copy(update={"records": ()}) if made.spec.method == "dear" else made for made in rows]
    noted = only_table(suite(TWO, seeds=(0, 1, 2), tables=("matched",)), gone).notes
    assert any("without a history (3)" in note and "dear" in note for note in noted)


def test_without_records_there_is_nothing_at_equal_cost():
    made = run("cheap", 0, [0.5]).model_copy(update={"records": ()})
    table = only_table(suite(TWO, seeds=(0,), tables=("matched",)), [made])
    assert (table.columns, table.notes[0]) == ((), "No finished run has left a curve.")


def targeted(seeds: tuple[int, ...] = (0, 1, 2), **others) -> Suite:
    return suite(TWO, seeds=seeds, tables=("targets",)).model_copy(update={"targets": {"digits": 0.75}, **others})


def test_the_cost_at_the_target_is_the_median_over_seeds_and_misses_are_infinite():
    rows = [
        *(run("cheap", seed, curve) for seed, curve in enumerate([[0.8, 0.9], [0.5, 0.9], [0.5, 0.6]])),
        *(run("dear", seed, curve, hvps=10) for seed, curve in enumerate([[0.8], [0.5], [0.6]])),
    ]
    table = only_table(targeted(), rows)
    shown = texts(table)
    assert shown["cheap"] == {
        "epochs": "2 (2 of 3 seeds)",
        "steps": "20 (2 of 3 seeds)",
        "gradients": "20 (2 of 3 seeds)",
        "GC (paper)": "20 (2 of 3 seeds)",
        "seconds": "2 (2 of 3 seeds)",
    }
    assert set(shown["dear"].values()) == {"*"}
    assert "Target in digits: validation/accuracy 75.00." in table.notes
    assert any("target reached by 1 of 3 seeds" in note for note in table.notes)


@pytest.mark.parametrize(
    ("outcome", "median", "share"),
    [("failed", "*", "1 of 3 seeds"), ("crashed", "*", "1 of 3 seeds"), ("diverged", "10", "")],
)
def test_a_run_that_broke_has_reached_nothing_and_one_that_diverged_what_it_had_before(outcome, median, share):
    rows = [run("cheap", seed, [0.8, 0.9], outcome=outcome) for seed in (0, 1)] + [run("cheap", 2, [0.8, 0.9])]
    table = only_table(targeted(), rows)
    assert texts(table)["cheap"]["steps"] == median
    assert any(share in note for note in table.notes)
    made = targeted().model_copy(update={"tables": ("profile",)})
    scores = {line.headers[-1]: line.cells[0].text for line in only_table(made, rows).rows}
    assert scores == {"cheap": "1.00" if outcome == "diverged" else "0.00", "dear": "*"}


def test_costs_of_thousands_are_compared_as_numbers():
    rows = [run("cheap", 0, [0.9]), run("dear", 0, [0.8], hvps=1000)]
    shown = {
        line.headers[-1]: [(figure.value, figure.marks) for figure in line.cells[3].figures]
        for line in only_table(targeted((0,)), rows).rows
    }
    assert shown == {"cheap": [("10", ("best",))], "dear": [("3,010", ("second",))]}


def test_measured_operations_are_a_currency_where_they_were_measured():
    measured = run("dear", 0, [0.5, 0.9], hvps=10)
    measured = measured.model_copy(update={"result": measured.result.model_copy(update={"gc_measured": 3.1})})
    shown = texts(only_table(targeted((0,)), [measured, run("cheap", 0, [0.9])]))
    assert shown["dear"]["GC (FLOPs)"] == "62"
    assert shown["cheap"]["GC (FLOPs)"] == "*"


def test_a_suite_without_targets_says_how_to_name_one():
    for name in ("targets", "profile"):
        table = only_table(suite(TWO, tables=(name,)), [run("cheap", 0, [0.9])])
        assert table.notes == ("No workload of made has a target: name one, such as `target: 0.95`.",)


def test_the_score_is_that_of_the_plain_function():
    made = suite(TWO, workloads=("x", "y"), seeds=(0,), tables=("profile",)).model_copy(
        update={"targets": {"x": 0.75, "y": 0.75}}
    )
    rows = [
        run("cheap", 0, [0.5, 0.8], workload="x"),
        run("dear", 0, [0.8, 0.9], workload="x", hvps=10),
        run("cheap", 0, [0.8], workload="y"),
        run("dear", 0, [0.5, 0.5, 0.5, 0.8], workload="y", hvps=10),
    ]
    hits = {
        ("cheap", "x", 0, 0): Hit(index=2, cost=20),
        ("dear", "x", 0, 0): Hit(index=1, cost=10),
        ("cheap", "y", 0, 0): Hit(index=1, cost=10),
        ("dear", "y", 0, 0): Hit(index=4, cost=40),
    }
    expected = {each.submission: f"{each.score:.2f}" for each in score(hits, {})}
    table = only_table(made, rows)
    assert {line.headers[-1]: line.cells[0].text for line in table.rows} == expected
    assert texts(table)["cheap"]["within 1x"] == "0.50"  # the last group's: by seconds, the fastest on y alone


def test_a_held_out_variant_that_is_missed_takes_its_base_along():
    made = suite(TWO, workloads=("x", "x+"), seeds=(0,), tables=("profile",)).model_copy(
        update={"targets": {"x": 0.75, "x+": 0.75}, "held_out": {"x+": "x"}}
    )
    rows = [run(method, 0, [0.8], workload="x") for method in TWO]
    rows += [run("cheap", 0, [0.5], workload="x+"), run("dear", 0, [0.8], workload="x+")]
    assert {line.headers[-1]: line.cells[0].text for line in only_table(made, rows).rows} == {
        "cheap": "0.00",
        "dear": "1.00",
    }


def test_the_front_is_what_nothing_beats_in_quality_and_cost():
    made = suite({"good": "", "cheap": "", "bad": ""}, seeds=(0,), tables=("pareto",))
    rows = [run("good", 0, [0.9], hvps=10), run("cheap", 0, [0.8]), run("bad", 0, [0.7], hvps=1)]
    fronts = {line.headers[-1]: line.cells[2].text for line in only_table(made, rows).rows}
    assert fronts == {"good": "✓", "cheap": "✓", "bad": "–"}


def test_a_method_that_lost_a_run_is_on_no_front():
    rows = [run("cheap", 0, [0.8]), run("dear", 0, [0.9]), run("dear", 1, [0.9], outcome="diverged")]
    made = suite(TWO, seeds=(0, 1), tables=("pareto",))
    assert {line.cells[2].text for line in only_table(made, rows).rows if line.headers[-1] == "dear"} == {"–"}


@pytest.mark.parametrize("name", ["matched", "targets", "profile", "pareto"])
@given(data=st.data())
def test_the_order_of_rows_decides_nothing(name: str, data: st.DataObject):
    made = targeted().model_copy(update={"tables": (name,)})
    rows = [run(method, seed, [0.1 * seed + 0.5, 0.8]) for method in TWO for seed in (0, 1, 2)]
    assert tables(made, data.draw(st.permutations(rows))) == tables(made, rows)


CURVES = {
    # The target of 0.75 is reached after these epochs: 4, 3, 2 by the baseline, 2, 1, 2 by the other.
    "cheap": [[0.5, 0.6, 0.7, 0.8], [0.5, 0.7, 0.8, 0.8], [0.6, 0.8, 0.9, 0.9]],
    "dear": [[0.5, 0.8, 0.8, 0.9], [0.8, 0.8, 0.9, 0.9], [0.7, 0.9, 0.9, 0.9]],
}


def sped_up(curves: dict[str, list[list[float]]] = CURVES, **fields: object) -> Table:
    rows = [
        run(method, seed, curve, hvps=10 if method == "dear" else 0)
        for method, of_method in curves.items()
        for seed, curve in enumerate(of_method)
    ]
    made = suite(TWO, seeds=(0, 1, 2), tables=("speedup",))
    return only_table(made.model_copy(update={"targets": {"digits": 0.75}, **fields}), rows)


def test_a_speed_up_is_the_geometric_mean_of_paired_ratios_with_students_interval():
    shown = texts(sped_up())
    ratios = np.log([4 / 2, 3 / 1, 2 / 2])
    half = stats.t.ppf(0.975, 2) * ratios.std(ddof=1) / np.sqrt(3)
    low, middle, high = np.exp([ratios.mean() - half, ratios.mean(), ratios.mean() + half])
    assert shown["dear"]["steps"] == f"{middle:.2f} [{low:.2f}, {high:.2f}]"
    # A step of `dear` is a gradient and a product, 4 GC.
    assert shown["dear"]["GC (paper)"] == f"{middle / 4:.2f} [{low / 4:.2f}, {high / 4:.2f}]"
    assert shown["cheap"]["steps"] == "1.00 [1.00, 1.00]"


def test_the_baseline_can_be_named_and_turns_the_ratio_around():
    table = sped_up(baseline="dear")
    assert table.title.startswith("Speed-up over dear")
    assert texts(table)["cheap"]["steps"].startswith(f"{1 / 6 ** (1 / 3):.2f} [")
    assert sped_up(baseline="gone").notes[0] == "The baseline gone is not in this part of the suite."


def test_anytime_is_the_area_under_the_curve_over_the_steps():
    shown = texts(sped_up())
    by_hand = [float(np.trapezoid(curve, dx=10) / 30) for curve in CURVES["dear"]]
    assert shown["dear"]["anytime"] == f"{100 * np.mean(by_hand):.2f} ± {100 * np.std(by_hand, ddof=1):.2f}"
    longer = {**CURVES, "dear": [[*curve, 0.9] for curve in CURVES["dear"]]}
    table = sped_up(longer)
    assert texts(table)["dear"]["anytime"] == "*"
    assert any("another number of steps" in note for note in table.notes)


def test_a_seed_that_misses_the_target_leaves_no_ratio_to_report():
    missed = {**CURVES, "dear": [[0.5, 0.6, 0.6, 0.6], *CURVES["dear"][1:]]}
    table = sped_up(missed)
    assert texts(table)["dear"]["steps"] == "*"
    assert any("target reached with 2 of 3 seeds, by cheap with 3 of 3" in note for note in table.notes)


def test_only_seeds_that_both_have_are_paired():
    shown = texts(sped_up({**CURVES, "dear": CURVES["dear"][:2]}))
    assert shown["dear"]["steps"].startswith(f"{6**0.5:.2f} [")
    assert shown["dear"]["steps"].endswith("] (2 of 3 seeds)")
