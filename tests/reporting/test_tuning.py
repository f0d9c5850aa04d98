"""The cost of tuning, and rows whose settings were chosen on test data."""

from benchbench.reporting import tables, to_latex, to_markdown
from benchbench.reporting.tuning import not_ranked
from benchbench.values import Budget, Method, Spent, Suite, Tuned
from tests.helpers.synthetic_rows import row, spec

TUNED = Tuned(
    budget=Budget(gc=1600, unit="flops"), trials=Spent(runs=16, gc=1590.5, unit="flops", seconds=20.25), broken=2,
    finals=Spent(runs=6, gc=600, unit="flops"),
    sampler="tpe", metric="validation/accuracy", value=0.9751,
)  # fmt: skip


def suite(*methods: Method, protocol="holdout", wanted="tuning") -> Suite:
    specs = tuple(spec(method.label, "w", 0).model_copy(update={"protocol": protocol}) for method in methods)
    return Suite(
        name="s", title="S", protocol=protocol, seeds=(0,), methods=methods,
        workloads=("w",), tables=(wanted,), specs=specs,
    )  # fmt: skip


def names(made: Suite) -> list[str]:
    return [row.headers[-1] for row in tables(made, [])[0].rows]


def test_the_cost_of_tuning_stands_beside_the_result():
    [table] = tables(suite(Method(label="A", tuned={"w": TUNED}), Method(label="B")), [])
    first, second = ([cell.text for cell in row.cells] for row in table.rows)
    assert first == ["1,600 GC (FLOPs)", "16", "2", "1,590 GC (FLOPs)", "20.2", "600 GC (FLOPs)", "97.51"]
    assert set(second) == {"–"}
    assert "Not tuned here: B." in table.notes


def test_a_search_that_was_written_down_without_a_unit_says_so():
    old = Tuned.model_validate({"budget": {"gc": 1600.0}, "trials": {"runs": 9, "gc": 1600.0}, "sampler": "grid"})
    [table] = tables(suite(Method(label="A", tuned={"w": old})), [])
    assert table.rows[0].cells[0].text == "1,600 GC (unit not recorded)"


def test_what_is_over_the_budget_and_what_finalists_cost_is_said():
    over = TUNED.model_copy(
        update={
            "budget": Budget(gc=120, unit="paper"),
            "trials": Spent(runs=1, gc=138, unit="paper", assumed=1),
            "finals": Spent(runs=6, gc=1790, unit="flops"),
        }
    )
    [table] = tables(suite(Method(label="A", tuned={"w": TUNED}), Method(label="B", tuned={"w": over})), [])
    assert table.rows[0].cells[3].text == "1,590 GC (FLOPs)"
    assert table.rows[1].cells[3].text == "138 GC (paper) (15.0% over)"
    assert "Over the budget, for a trial is never cut short: B." in table.notes
    assert "Operations not measured, a Hessian-vector product assumed at 2: B." in table.notes
    assert any(note.startswith("Finalists come on top of the budget and cost 600 to 1,790 GC") for note in table.notes)


def test_budgets_that_differ_are_told():
    less = TUNED.model_copy(update={"budget": Budget(gc=100)})
    [table] = tables(suite(Method(label="A", tuned={"w": TUNED}), Method(label="B", tuned={"w": less})), [])
    assert "The budgets differ: the rows have not had the same chances." in table.notes


def test_rows_that_were_tuned_on_test_data_carry_a_mark_in_every_table():
    methods = (Method(label="A", tuned_on="test"), Method(label="B", tuned_on="validation"), Method(label="C"))
    for wanted in ("accuracy", "cost", "ranking", "tuning"):
        [table, *_] = tables(suite(*methods, wanted=wanted), [])
        marked = [row.headers[-1] for row in table.rows if "‡" in row.headers[-1]]
        assert marked == ["A ‡"] * len(marked) != [], wanted
        assert any(note.startswith("‡: ") for note in table.notes), wanted


def test_the_protocol_of_the_paper_marks_what_was_not_tuned_otherwise():
    methods = (Method(label="A"), Method(label="B", tuned={"w": TUNED}), Method(label="C", tuned_on="validation"))
    assert names(suite(*methods, protocol="paper")) == ["A ‡", "B", "C"]
    assert names(suite(*methods)) == ["A", "B", "C"]


def test_hostile_names_are_escaped_with_their_mark():
    [table] = tables(suite(Method(label="<script>&|$%_", tuned_on="test")), [])
    assert "<script>" not in to_markdown(table)
    assert r"\&" in to_latex(table)
    assert "‡" in to_markdown(table)


def test_a_search_that_was_judged_on_test_data_is_marked_and_one_that_was_not_is_not():
    on_test = TUNED.model_copy(update={"split": "test"})
    methods = (Method(label="A", tuned={"w": on_test}), Method(label="B", tuned={"w": TUNED}))
    assert names(suite(*methods)) == ["A ‡", "B"]
    assert not_ranked(suite(*methods)) == {"A"}


def test_where_all_were_chosen_on_test_data_they_are_compared_with_each_other():
    methods = (Method(label="A", tuned_on="test"), Method(label="B", tuned_on="test"))
    made = suite(*methods, wanted="accuracy")
    assert not_ranked(made) == frozenset()
    rows = [row(spec.method, 0, accuracy, workload="w") for spec, accuracy in zip(made.specs, (0.8, 0.9), strict=True)]
    [table, *_] = tables(made, rows)
    assert [line.cells[0].figures[0].marks for line in table.rows] == [("second",), ("best",)]
    assert not any("not ranked" in note for note in table.notes)
