"""Names and values of all kinds reach the store, and come back from it as they were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from benchbench import api
from benchbench.tracking import Tracker
from benchbench.tracking.entities import LONGEST_TEXT, result_tags, stored_name, text
from benchbench.values import Cost, DiagnosticRecord, EpochRecord, RunSpec
from tests.helpers.line_suite import run_inline, tracked
from tests.helpers.suites import SGD, line, suite
from tests.tracking.commands import SPEC, Command, active, result_of

NAMES = [
    "acc@1",
    "accuracy (%)",
    "",
    " ",
    "x" * 260,
    "x" * 261,
    "é" * 260,
    "../x",
    "a//b/",
    "/a",
    "a/../b",
    "a/./b",
    ".",
    "..",
    "line\nbreak",
    "tab\there",
    "nul\0",
    "\u202eright",
    "🏃",
    "准确率",
    "acc_x40_1",
    "acc_x5f_x40_1",
    "acc",
    "Acc",
    "ACC",
    "x" * 259 + "@",
]
VALUES = dict(zip(NAMES, map(float, range(len(NAMES))), strict=True))


@given(st.lists(st.text(max_size=300), min_size=2, max_size=2, unique=True))
def test_every_name_is_one_that_mlflow_takes_and_no_two_become_the_same(names: list[str]) -> None:
    assert len(set(map(stored_name, names))) == 2
    for name in map(stored_name, names):
        _validate_metric_name(name)
        _validate_param_name(name)
        assert len(name) <= 250


def test_names_that_mlflow_takes_stay_as_they_are() -> None:
    for name in ("validation/accuracy", "lr", "top-5 error", "a.b:c", "snake_case", "x_y_z", "_x", "ünï"):
        assert stored_name(name) == name


def test_results_with_names_of_all_kinds_come_back_as_they_were(command: Command, uri: str) -> None:
    named = {f"test/{name}": value for name, value in VALUES.items()} | VALUES
    result = result_of(0.1).model_copy(update={"final": named, "best": named})
    tracked_run = command.begin()
    tracked_run.folder.append(EpochRecord(epoch=2, metrics=named, cost=Cost()))
    tracked_run.folder.append_diagnostics(DiagnosticRecord(step=1, epoch=1, values=VALUES))
    command.end(tracked_run, result)
    assert Tracker(uri).results([SPEC]) == {SPEC.key: result}
    [run] = active(uri)
    for name, value in named.items():
        assert run.data.metrics[stored_name(name)] == value
    assert {name for name in run.data.metrics if name.startswith("diagnostics/")} == {
        stored_name(f"diagnostics/{name}") for name in VALUES
    }


def spec_with(parameters: dict[str, object]) -> RunSpec:
    optimizer = SPEC.optimizer.model_copy(update={"parameters": parameters})
    return SPEC.model_copy(update={"optimizer": optimizer})


def test_parameters_with_names_and_values_of_all_kinds_are_shown(command: Command, uri: str) -> None:
    special = ["v" * 10_000, "nul\0 and \n", {"nested": ["🏃", None, 1e308]}]
    values = [*(f"value of {name}" for name in NAMES[: -len(special)]), *special]
    spec = spec_with({**dict(zip(NAMES, values, strict=True)), **{f"many {number}": number for number in range(120)}})
    command.end(command.begin(spec), result_of(0.1, spec=spec))
    [run] = active(uri)
    assert run.info.status == "FINISHED"
    shown = {name: value for name, value in run.data.params.items() if name.startswith("optimizer.")}
    assert shown == {stored_name(f"optimizer.{name}"): text(value) for name, value in spec.optimizer.parameters.items()}
    [long] = [value for value in shown.values() if value.startswith("vv")]
    assert len(long) == LONGEST_TEXT
    assert long.endswith("v…")  # a value that was cut says so


def test_a_value_that_fits_is_not_marked_as_cut() -> None:
    assert text("v" * LONGEST_TEXT) == "v" * LONGEST_TEXT
    assert text("v" * (LONGEST_TEXT + 1)) == "v" * (LONGEST_TEXT - 1) + "…"


@pytest.mark.parametrize("count", [499, 500, 501, *range(975, 1003, 3), 2500])
def test_however_many_metrics_there_are_all_arrive(count: int, command: Command, uri: str) -> None:
    tracked_run = command.begin()
    many = {f"validation/{number}": float(number) for number in range(count)}
    tracked_run.folder.rewind([EpochRecord(epoch=1, metrics=many, cost=Cost())])
    command.end(tracked_run, result_of(0.5))
    [run] = active(uri)
    assert {name: value for name, value in run.data.metrics.items() if name in many} == many
    assert run.data.metrics["final/test/accuracy"] == 0.5
    assert run.data.params["seed"] == "0"


def test_a_result_of_more_parts_than_a_call_takes_comes_back_whole(command: Command, uri: str) -> None:
    final = {f"test/{'x' * 200} {number}": number / 7 for number in range(3000)}
    result = result_of(0.1).model_copy(update={"final": final})
    assert len(result_tags(result)) > 100
    command.run(result)
    assert Tracker(uri).results([SPEC]) == {SPEC.key: result}
    [run] = active(uri)
    tags = MlflowClient(uri).get_run(run.info.run_id).data.tags
    assert tags["benchbench.outcome"] == "finished"


def test_a_result_that_somebody_has_changed_in_mlflow_is_named_and_not_believed(command: Command, uri: str) -> None:
    command.run(result_of(0.1))
    [run] = active(uri)
    MlflowClient(uri).set_tag(run.info.run_id, "benchbench.result.0", '{"key": "x", "outcome": "great"}')
    with pytest.raises(RuntimeError, match=f"run {run.info.run_id} .* was changed there .*: delete the run in MLflow"):
        Tracker(uri).results([SPEC])


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("label", ["../x", "a//b/", "acc@1 (%)", "x" * 100, "🏃" * 100, "'; DROP", "a`b\"c'd", "."])
def test_methods_and_workloads_of_any_name_are_tracked(label: str, write_suite: Callable[..., Path]) -> None:
    path = write_suite(suite(workloads={label: line(epochs=1)}, methods={label: SGD}, tables=["accuracy"]))
    rows, _ = run_inline(path)
    [run] = tracked()
    assert run.data.tags["benchbench.method"] == run.data.tags["benchbench.workload"] == label
    assert run.info.status == "FINISHED"
    assert api.rows(api.load_suite(path)) == rows
