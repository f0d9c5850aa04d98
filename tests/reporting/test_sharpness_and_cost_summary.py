from benchbench.reporting.cost import cost_summary_table
from benchbench.reporting.sharpness import sharpness_table
from benchbench.reporting.table import Table
from benchbench.values import Cost, Heading, Row
from tests.helpers.synthetic_rows import row, suite


def texts(table: Table, method: str) -> list[str]:
    (line,) = (line for line in table.rows if line.headers[-1] == method)
    return [cell.text for cell in line.cells]


def with_metrics(made: Row, **metrics: float) -> Row:
    final = {name.replace("__", "/"): value for name, value in metrics.items()}
    return made.model_copy(update={"result": made.result.model_copy(update={"final": final})})


def test_costs_are_those_of_the_papers_table():
    made = suite({"AdamW": "", "SASSHA": "", "Lost": ""}, workloads=("c10", "c100"), seeds=(0,))
    made = made.model_copy(update={"headings": {"c10": Heading(label="ResNet32", group="CIFAR10")}})
    lazy = Cost(steps=10, gradients=20, hvps=1, train_seconds=24.0)
    runs = [row(m, 0, 0.9, workload=w, cost=c) for w in ("c10", "c100") for m, c in (
        ("AdamW", Cost(steps=10, gradients=10, train_seconds=10.06)), ("SASSHA", lazy),
    )]  # fmt: skip
    table = cost_summary_table(made, runs)
    assert [column.full_label for column in table.columns] == [
        "Cost / Descent", "Cost / Sharpness", "Cost / Hessian", "Cost / Total", "CIFAR10 / ResNet32", "s/epoch / c100",
    ]  # fmt: skip
    assert texts(table, "AdamW") == ["1 GC", "0 GC", "0 HVP", "1 GC (paper)", "5.03", "5.03"]
    assert texts(table, "SASSHA") == ["1 GC", "1 GC", "0.1 HVP", "2.3 GC (paper)", "12.00", "12.00"]
    assert texts(table, "Lost") == ["–", "–", "–", "–", "*", "*"]


def test_a_cost_that_depends_on_the_workload_is_a_range():
    made = suite({"A": ""}, workloads=("x", "y"), seeds=(0,))
    costs = {"x": Cost(steps=10, gradients=10, train_seconds=1.0), "y": Cost(steps=10, gradients=20, train_seconds=1.0)}
    runs = [row("A", 0, 0.9, workload=workload, cost=cost) for workload, cost in costs.items()]
    assert texts(cost_summary_table(made, runs), "A")[:4] == ["1 GC", "0 to 1 GC", "0 HVP", "1 to 2 GC (paper)"]


def test_powers_of_ten_of_sharpness_stand_in_the_headers():
    made = suite({"A": "", "B": ""}, seeds=(0, 1))
    runs = [
        with_metrics(row(method, seed), sharpness__trace=trace + 100 * seed, test__accuracy=0.5)
        for method, trace in (("A", 7240.0), ("B", 46890.0)) for seed in (0, 1)
    ]  # fmt: skip
    table = sharpness_table(made, runs)
    assert [column.label for column in table.columns] == ["tr(H) × 10³", "Acc_val (%)"]
    assert texts(table, "A") == ["7.290 ± 0.071", "50.00 ± 0.00"]
    assert table.rows[0].cells[0].figures[0].marks == ("best",)
    assert table.rows[1].cells[0].figures[0].marks == ("second",)


def test_results_without_sharpness_say_so():
    table = sharpness_table(suite({"A": ""}), [row("A", 0, 0.5)])
    assert table.columns == ()
    assert table.notes == ("No result holds a measure of sharpness.",)
