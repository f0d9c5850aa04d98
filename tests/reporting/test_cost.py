import pytest

from benchbench.reporting.cost import cost_table
from benchbench.reporting.table import Table
from benchbench.reporting.terminal import to_terminal
from benchbench.values import Cost, Memory
from tests.helpers.synthetic_rows import PAPER, row, suite

TWO = {"A": "First", "B": "Second"}


def texts(table: Table, method: str) -> list[str]:
    (line,) = (line for line in table.rows if line.headers[-1] == method)
    return [cell.reason or cell.text for cell in line.cells]


def cost(steps: int = 10, gradients: int = 10, hvps: int = 0, seconds: float = 2.0) -> Cost:
    return Cost(steps=steps, gradients=gradients, hvps=hvps, train_seconds=seconds)


def runs(method: str, *costs: Cost, **kwargs) -> list:
    return [row(method, seed, 0.9, cost=one, **kwargs) for seed, one in enumerate(costs)]


def test_two_gradients_and_a_tenth_of_an_hvp_cost_2_30():
    lazy = cost(steps=100, gradients=200, hvps=10, seconds=4.82)
    table = cost_table(suite(TWO), [*runs("A", *[cost()] * 3), *runs("B", *[lazy] * 3)])
    assert texts(table, "A") == ["1.00", "0.00", "1.00", "1.00", "1.00x"]
    assert texts(table, "B") == ["2.00", "0.10", "2.30", "2.41", "2.41x"]
    assert [column.label for column in table.columns] == [
        "grads", "HVPs", "GC (paper)", "s/epoch", "relative",
    ]  # fmt: skip
    assert {column.group for column in table.columns} == {"digits"}
    assert any("1 GC" in note and "3 GC" in note for note in table.notes)
    assert "relative to A." in table.notes[2]


def test_counts_are_measured_and_summed_over_the_seeds():
    table = cost_table(suite(TWO), runs("A", cost(steps=10, hvps=1), cost(steps=9, gradients=9, hvps=1)))
    assert texts(table, "A")[:3] == ["1.00", "0.11", "1.32"]
    assert table.rows[0].cells[1].figures[0].mean == pytest.approx(2 / 19)


def test_seconds_are_averaged_over_the_seeds():
    table = cost_table(suite(TWO), runs("A", cost(seconds=2), cost(seconds=4), cost(seconds=6)))
    figure = table.rows[0].cells[3].figures[0]
    assert (figure.value, figure.mean, figure.std, figure.n) == ("2.00", 2.0, 1.0, 3)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1953.12, "976.56"), (10.06, "5.03"), (0.1, "0.0500"), (0.00246, "0.00123")]
)
def test_seconds_show_three_digits_at_least(seconds, text):
    assert texts(cost_table(suite(TWO), runs("A", cost(seconds=seconds))), "A")[3] == text


def test_the_decimals_of_a_column_agree():
    table = cost_table(suite(TWO), [*runs("A", cost(seconds=0.1)), *runs("B", cost(seconds=25.0))])
    assert (texts(table, "A")[3], texts(table, "B")[3]) == ("0.0500", "12.5000")


def test_a_method_without_a_finished_run_says_why():
    table = cost_table(suite(TWO), [row("A", seed, outcome="diverged") for seed in range(3)])
    assert texts(table, "A") == ["diverged (3)", "–", "–", "–", "–"]
    assert texts(table, "B") == ["not run (0 of 3)", "–", "–", "–", "–"]


def test_without_the_first_method_seconds_are_relative_to_the_next_one_that_has_any():
    three = suite({**TWO, "C": "Second"}, workloads=("x", "y"))
    lost = row("A", 0, workload="x", outcome="failed")
    made = [
        *runs("B", cost(), workload="x"), *runs("C", cost(seconds=4.0), workload="x"),
        *runs("A", cost(), workload="y"), *runs("B", cost(seconds=6.0), workload="y"),
    ]  # fmt: skip
    table = cost_table(three, [lost, *made])
    assert texts(table, "C")[3:5] == ["2.00", "2.00x"]
    assert texts(table, "B")[8:10] == ["3.00", "3.00x"]
    assert any(note.endswith("relative to A, to B on x, where A has no seconds.") for note in table.notes)
    alone = cost_table(suite(TWO), runs("B", cost()))
    assert texts(alone, "B")[3:] == ["1.00", "1.00x"]
    assert any(note.endswith("relative to B on digits, where A has no seconds.") for note in alone.notes)


def test_seconds_with_other_numbers_of_threads_are_marked():
    made = [*runs("A", cost(), device="cpu", threads="1"), *runs("B", cost(), device="cpu", threads="4")]
    table = cost_table(suite(TWO), made)
    assert texts(table, "A")[3:] == ["1.00 (1 thread)", "1.00x (1 thread)"]
    assert texts(table, "B")[3:] == ["1.00 (4 threads)", "1.00x (4 threads)"]
    same = cost_table(suite(TWO), [*made[:1], *runs("B", cost(), device="cpu", threads="1")])
    assert texts(same, "A")[3:] == ["1.00", "1.00x"]


def test_seconds_next_to_the_runs_of_other_commands_are_marked():
    beside = runs("B", cost(), device="cpu", other_commands_runs="2")
    table = cost_table(suite(TWO), [*runs("A", cost(), device="cpu"), *beside])
    assert texts(table, "A")[3:] == ["1.00", "1.00x"]
    assert texts(table, "B")[3] == "1.00 (next to 2 runs of other commands)"


def test_figures_of_fewer_runs_are_noted():
    made = suite(TWO, workloads=("x", "y"))
    some = [
        *(row("A", seed, 0.9, workload=w) for w in "xy" for seed in (0, 1)),
        *(row("B", seed, 0.9, workload=w) for w in "xy" for seed in (0, 1)),
        row("B", 2, workload="y", outcome="failed"),
        row("B", 2, 0.9, workload="x"),
    ]
    note = "n = 3 seeds except for A (2 of 3 run); B (n=2; 1 failed) on y."
    assert cost_table(made, some).notes[-1] == note
    assert cost_table(suite(TWO), runs("A", *[cost()] * 3)).notes[-1] == "n = 3 seeds."


def test_times_of_runs_that_shared_a_machine_are_only_indicative():
    shared = runs("A", cost(), device="cpu", concurrent_runs="4")
    assert any("Up to 4 runs" in note and "indicative" in note for note in cost_table(suite(TWO), shared).notes)
    alone = runs("A", cost(), device="cpu", concurrent_runs="1")
    assert not any("indicative" in note for note in cost_table(suite(TWO), alone).notes)


def test_the_device_is_named():
    assert "Device: H100." in cost_table(suite(TWO), runs("A", cost(), device="H100")).notes


def test_times_of_different_devices_are_not_related():
    made = suite(TWO, workloads=("x", "y"))
    mixed = [
        *runs("A", cost(), workload="x", device="cpu"),
        *runs("B", cost(), workload="x", device="H100"),
        *runs("A", cost(), workload="y", device="cpu"),
    ]
    table = cost_table(made, mixed)
    assert texts(table, "B")[3:5] == ["–", "–"]
    assert texts(table, "A")[3:5] == ["–", "–"]
    assert texts(table, "A")[8:10] == ["1.00", "1.00x"]
    assert "Devices: x on H100 and cpu; y on cpu." in table.notes
    assert "No seconds where devices differ: x." in table.notes
    asked_for = cost_table(made.model_copy(update={"mixed_devices": True}), mixed)
    assert texts(asked_for, "A")[3:5] == texts(asked_for, "B")[3:5] == ["1.00", "1.00x"]
    assert "Seconds of different devices side by side, as asked for: x." in asked_for.notes


def test_seconds_of_runs_that_shared_a_gpu_are_left_out():
    packed = runs("A", cost(), device="cuda (H100)", concurrent_runs="2")
    table = cost_table(suite(TWO), [*packed, *runs("B", cost(), device="cuda (H100)", concurrent_runs="1")])
    assert texts(table, "A")[3:5] == ["–", "–"]
    assert texts(table, "B")[3] == "1.00"
    assert "1 runs shared a GPU with others: their seconds are left out." in table.notes


def labels(table: Table) -> list[str]:
    return [column.label for column in table.columns]


def test_measured_operations_stand_beside_the_papers_convention():
    lazy = cost(steps=100, gradients=200, hvps=10)
    probed = row("A", 0, 0.9, cost=lazy, gc_measured=2.2)
    unmetered = row("B", 0, 0.9, unmetered="no formula for _linalg_eigh")
    table = cost_table(suite(TWO), [probed, row("A", 1, 0.9, cost=lazy), unmetered])
    assert labels(table) == ["grads", "HVPs", "GC (paper)", "GC (FLOPs)", "s/epoch", "relative"]
    assert texts(table, "A")[2:4] == ["2.30", "2.20"]
    assert texts(table, "B")[2:4] == ["1.00", "unmetered"]
    assert "Unmetered: B: no formula for _linalg_eigh." in table.notes


def test_methods_that_lack_a_figure_for_one_reason_share_a_note():
    made = suite(TWO, workloads=("x", "y"))
    lacking = [row(m, 0, 0.9, workload=w, unmetered="it rained") for w, m in ("xA", "xB", "yA")]
    assert "Unmetered: A on x, B on x, A on y: it rained." in cost_table(made, lacking).notes


def test_memory_is_the_most_that_any_seed_held():
    small = Memory(parameters=4_000_000, state=12_000_000, device_peak=5 * 10**8, host_peak=10**9)
    large = small.model_copy(update={"host_peak": 1234 * 10**6})
    table = cost_table(suite(TWO), [row("A", 0, 0.9, memory=small), row("A", 1, 0.9, memory=large), *runs("B", cost())])
    assert labels(table)[5:] == ["device MB", "host MB", "state"]
    assert texts(table, "A")[5:] == ["500", "1,234", "3.00x"]
    assert texts(table, "B")[5:] == ["–", "–", "–"]
    assert [note.partition(":")[0] for note in table.notes[3:6]] == ["device MB", "host MB", "state"]


def test_columns_without_any_figure_are_left_out():
    held = row("A", 0, 0.9, memory=Memory(parameters=4, state=0))
    table = cost_table(suite(TWO), [held])
    assert labels(table)[5:] == ["state"]
    assert texts(table, "A")[5:] == ["0.00x"]


def test_a_table_with_everything_in_it_fits_eighty_columns_in_two_parts():
    held = Memory(parameters=4_000_000, state=12_000_000, device_peak=5 * 10**8, host_peak=10**9)
    made = [row(m, 0, 0.9, gc_measured=2.2, memory=held) for m in PAPER if m != "Shampoo"]
    text = to_terminal(
        cost_table(suite(PAPER), [*made, row("Shampoo", 0, 0.9, unmetered="why")]), color=False, width=80
    )
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("Category") == 2
    assert "grads  HVPs  GC (paper)  GC (FLOPs)  s/epoch  relative\n" in text
    assert "device MB  host MB  state\n" in text


def test_nothing_run_yet_is_a_table_too():
    notes = cost_table(suite(TWO), []).notes
    assert [note.partition(":")[0] for note in notes] == ["grads, HVPs", "GC (paper)", "*"]
    assert notes[-1] == "*: not run (0 of 3): all methods."


def warmed(**changes: float) -> Cost:
    return Cost(**{"steps": 10, "gradients": 10, "train_seconds": 2.0, "warm_up_seconds": 30.0, **changes})


def test_warm_up_has_a_column_of_its_own():
    table = cost_table(suite(TWO), [*runs("A", warmed()), *runs("B", warmed(train_seconds=4.0, warm_up_seconds=0.5))])
    assert labels(table)[-3:] == ["s/epoch", "relative", "warm-up s"]
    assert texts(table, "A")[-3:] == ["1.00", "1.00x", "30.00"]
    assert texts(table, "B")[-3:] == ["2.00", "2.00x", "0.500"]
    assert any(note.startswith("warm-up s: ") and "not part of s/epoch" in note for note in table.notes)


def test_what_became_of_first_steps_is_said_where_it_is_not_the_usual():
    def noted(*made: Cost) -> list[str]:
        return [note for note in cost_table(suite(TWO), runs("A", *made)).notes if "warm-up" in note.lower()][1:]

    assert noted(warmed(), warmed(), warmed()) == []
    assert noted(warmed(), cost()) == ["Warm-up is part of the seconds of 1 runs: it was not told apart in them."]
    assert noted(warmed(), warmed(steps=1, warm_up_steps=1)) == [
        "Every step of 1 runs was a first one of its kind: their seconds include warm-up."
    ]
    paced = cost_table(suite(TWO), runs("A", warmed(train_seconds=9.0, warm_up_steps=1)))
    assert texts(paced, "A")[3] == "5.00"
    assert any("did not come again" in note for note in paced.notes)
