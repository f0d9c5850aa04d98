"""Submissions that contradict themselves: each kind of forgery, and any single number that the rest determines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchbench.leaderboard import consistency
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.values import Cost, EpochRecord, RunResult, RunSpec, Suite
from tests.helpers import synthetic_rows as synthetic

SCORES = (0.5, 0.9, 0.7)
"""Validation accuracies of three epochs: the second is the best one."""


def run_of(spec: RunSpec) -> StoredRun:
    shift = 0.01 * spec.seed
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={
                "train/loss": 1.0 / epoch,
                "validation/loss": 0.5 / epoch,
                "validation/accuracy": score + shift,
                "schedule/lr": 0.1,
            },
            cost=Cost(
                steps=10 * epoch,
                forwards=20 * epoch,
                gradients=20 * epoch,
                hvps=epoch,
                train_seconds=1.5 * epoch,
                warm_up_seconds=0.25,
                warm_up_steps=1,
            ),
        )
        for epoch, score in enumerate(SCORES, start=1)
    )
    result = RunResult(
        key=spec.key,
        outcome="finished",
        selection_metric="validation/accuracy",
        higher_is_better=True,
        epochs=3,
        final={**records[2].metrics, "test/loss": 0.3, "test/accuracy": 0.68, "sharpness/trace": 12.0},
        best={**records[1].metrics, "test/loss": 0.2, "test/accuracy": 0.88},
        best_epoch=2,
        cost=records[2].cost,
        gc_measured=2.5,
        memory={"parameters": 400, "state": 400, "device_peak": None, "host_peak": 10**9},
    )
    return StoredRun(result, records, "log")


def made(*, seeds: int = 2) -> Submission:
    suite = synthetic.suite({"A": "Some", "B": "Some"}, ("digits",), tuple(range(seeds)))
    specs = tuple(spec.model_copy(update={"epochs": 3}) for spec in suite.specs)
    suite = suite.model_copy(update={"specs": specs, "targets": {"digits": 0.8}})
    return Submission("made", suite, {spec.key: run_of(spec) for spec in specs})


def as_data(submission: Submission) -> dict[str, Any]:
    runs = {
        key: {
            "result": run.result.model_dump(mode="json"),
            "records": [record.model_dump(mode="json") for record in run.records],
        }
        for key, run in submission.runs.items()
    }
    return json.loads(json.dumps({"suite": submission.suite.model_dump(mode="json"), "runs": runs}))  # type: ignore[no-any-return]


def found(data: dict[str, Any]) -> list[str]:
    """What is wrong with a submission; values that the forms refuse are part of it."""
    try:
        suite = Suite.model_validate(data["suite"])
        runs = {
            key: StoredRun(
                RunResult.model_validate(run["result"]), tuple(map(EpochRecord.model_validate, run["records"])), ""
            )
            for key, run in data["runs"].items()
        }
    except ValidationError as error:
        return [str(error)]
    return [str(problem) for problem in consistency.problems(suite, runs, "bundle.zip")]


def test_an_honest_submission_has_no_problems() -> None:
    assert found(as_data(made())) == []
    assert found(as_data(made(seeds=1))) == []


def first(data: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = data["runs"][Suite.model_validate(data["suite"]).specs[0].key]
    return run


def everywhere(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    def forge(run: dict[str, Any]) -> None:
        for part in (run["result"]["final"], run["result"]["best"], *(each["metrics"] for each in run["records"])):
            if name in part:
                part[name] = value

    return forge


def counts(**amounts: int) -> Callable[[dict[str, Any]], None]:
    """The given counts at the end, each epoch having its share."""

    def forge(run: dict[str, Any]) -> None:
        for number, each in enumerate(run["records"], start=1):
            each["cost"] |= {name: amount * number // 3 for name, amount in amounts.items()}
        run["result"]["cost"] = run["records"][-1]["cost"]

    return forge


def without_history(run: dict[str, Any]) -> None:
    run["records"] = []
    run["result"]["cost"]["steps"] = 1


def diverged(run: dict[str, Any]) -> None:
    run["result"]["outcome"] = "diverged"


def finished_with_a_lost_loss(run: dict[str, Any]) -> None:
    run["records"][1]["metrics"]["train/loss"] = run["result"]["best"]["train/loss"] = math.inf


def another_metric(run: dict[str, Any]) -> None:
    for part in (run["result"]["final"], run["result"]["best"]):
        part["test/f1"] = 0.99


def not_recorded(run: dict[str, Any]) -> None:
    run["result"]["final"]["validation/f1"] = 0.99


def another_selection(run: dict[str, Any]) -> None:
    run["result"] |= {"selection_metric": "validation/loss", "higher_is_better": False, "best_epoch": 3}
    run["result"]["best"] = {name: run["result"]["final"][name] for name in run["result"]["best"]}


def another_direction(run: dict[str, Any]) -> None:
    run["result"] |= {"higher_is_better": False, "best_epoch": 1}
    run["result"]["best"] = {**run["result"]["best"], **run["records"][0]["metrics"]}


def fewer_epochs(run: dict[str, Any]) -> None:
    run["records"] = run["records"][:2]
    run["result"] |= {"epochs": 2, "cost": run["records"][1]["cost"]}
    run["result"]["final"] |= run["records"][1]["metrics"]


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a best value that no epoch had": (
        lambda run: run["result"]["best"].update({"validation/accuracy": 0.95}),
        "epoch 2 and the best result differ in validation/accuracy",
    ),
    "best epoch 77 of 3": (lambda run: run["result"].update(best_epoch=77), "epoch 77 of 3 does not have the best"),
    "an epoch that was not the best": (lambda run: run["result"].update(best_epoch=3), "epoch 3 of 3 does not have"),
    "478 % accuracy": (everywhere("test/accuracy", 4.78), "test/accuracy cannot be 4.78: it lies between 0 and 1"),
    "a negative accuracy": (everywhere("validation/accuracy", -0.1), "validation/accuracy cannot be -0.1"),
    "an accuracy without bounds": (everywhere("test/accuracy", math.inf), "test/accuracy cannot be inf"),
    "0 gradients in 30 steps": (counts(gradients=0), "0 gradients in the 10 steps of epoch 1"),
    "fewer losses than steps": (counts(forwards=29), "9 forwards in the 10 steps of epoch 1"),
    "products that are taken back": (
        lambda run: run["records"][1]["cost"].update(hvps=0),
        "-1 hvps in the 10 steps of epoch 2",
    ),
    "1 step of 30 without a history": (without_history, "has not the metrics of each of its 3 epochs"),
    "1 step of 30": (lambda run: run["result"]["cost"].update(steps=1), "the last epoch and the result differ in cost"),
    "3 steps of 30 with a history": (counts(steps=3), "steps per epoch: 1, and 10 in other runs on the same data"),
    "steps that differ by epoch": (counts(steps=31), "epoch 3 has 11 steps and epoch 1 has 10"),
    "no steps at all": (counts(steps=0, forwards=0, gradients=0, hvps=0, warm_up_steps=0), "epoch 1 has no steps"),
    "more warm-up than steps": (counts(warm_up_steps=99), "a cost is negative or not finite"),
    "a negative cost": (counts(hvps=-3), "a cost is negative or not finite"),
    "an epoch that ends before it begins": (
        lambda run: run["records"][0]["cost"].update(train_seconds=1e6),
        "epoch 2 ends before it begins",
    ),
    "a cost without end": (lambda run: run["records"][0]["cost"].update(train_seconds=math.inf), "a cost is negative"),
    "a count beyond all numbers": (counts(hvps=3 * 10**40), "a cost is negative or not finite"),
    "a loss that overflows": (everywhere("test/loss", 1e308), "test/loss cannot be 1e+308"),
    "a run stopped early": (fewer_epochs, "finished after 2 of 3 epochs"),
    "a divergence with finite losses": (diverged, "diverged, and the losses of epoch 3 are finite"),
    "a loss that was lost in between": (
        finished_with_a_lost_loss,
        "the losses of epoch 2 are not finite",
    ),
    "a metric that others lack": (another_metric, "metrics: "),
    "a metric that no epoch recorded": (not_recorded, "the last epoch and the result differ in validation/f1"),
    "a metric that was forgotten": (
        lambda run: run["result"]["final"].pop("validation/loss"),
        "the last epoch and the result differ in validation/loss",
    ),
    "a test result of one part only": (
        lambda run: run["result"]["best"].pop("test/accuracy"),
        "only one of the final and the best result has test/accuracy",
    ),
    "another metric that chooses": (another_selection, "metric that chooses the best epoch: validation/loss"),
    "another direction": (another_direction, "what is better: lower, and higher in other runs on the same data"),
    "a metric of the test data that chooses": (
        lambda run: run["result"].update(selection_metric="test/accuracy"),
        "test/accuracy cannot have chosen the best epoch",
    ),
    "no metric that chooses": (lambda run: run["result"].update(selection_metric=""), "no metric cannot have chosen"),
    "memory without end": (lambda run: run["result"]["memory"].update(host_peak=-1), "an amount of memory is negative"),
    "operations for nothing": (lambda run: run["result"].update(gc_measured=0.0), "0.0 gradients per step cannot"),
    "operations that are no number": (
        lambda run: run["result"].update(gc_measured=math.nan),
        "nan gradients per step cannot",
    ),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_each_kind_of_forgery_is_named(kind: str) -> None:
    forge, words = FORGERIES[kind]
    data = as_data(made())
    forge(first(data))
    problems = found(data)
    assert all(problem.startswith("bundle.zip: A on digits, seed 0: ") for problem in problems)
    assert any(words in problem for problem in problems), problems


SUITES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a method twice": (lambda suite: suite["methods"].append(suite["methods"][0]), "methods: is listed twice (got A)"),
    "a workload twice": (lambda suite: suite["workloads"].append("digits"), "workloads: is listed twice (got digits)"),
    "a seed twice": (lambda suite: suite["seeds"].append(0), "seeds: 0 is listed twice"),
    "a seed that is none": (lambda suite: suite["seeds"].append(-1), "seeds.2: Input should be greater than or equal"),
    "a run too many": (lambda suite: suite["specs"].append(suite["specs"][0]), "the runs are not those of each"),
    "a run too few": (lambda suite: suite["specs"].pop(), "the runs are not those of each method"),
    "no runs at all": (lambda suite: suite.update(methods=[], specs=[]), "methods: Dictionary should have at least 1"),
    "no epochs": (lambda suite: suite["specs"][0].update(epochs=0), "A on digits, seed 0.epochs: Input should be"),
    "parts of nothing": (lambda suite: suite["specs"][0]["execution"].update(accumulate=0), "seed 0.accumulate: Input"),
    "another protocol": (lambda suite: suite.update(protocol="paper"), "is not the protocol of the suite"),
    "a target of nothing": (lambda suite: suite["targets"].update(x=0.5), "is no workload of the suite (got x)"),
    "a table of nothing": (lambda suite: suite.update(tables=["x"]), "tables.0: unknown table"),
    "a name that is none": (lambda suite: suite.update(name="../x"), "name: String should match"),
    "other hyperparameters": (
        lambda suite: suite["specs"][0]["optimizer"]["parameters"].update(lr=0.5),
        "A on digits, seed 0: has no result",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SUITES)
def test_a_suite_that_no_file_can_have_given_is_named(kind: str) -> None:
    change, words = SUITES[kind]
    data = as_data(made())
    change(data["suite"])
    problems = found(data)
    assert any(words in problem for problem in problems), problems


def test_a_run_that_diverged_within_an_epoch_may_have_fewer_steps_there() -> None:
    data = as_data(made())
    run = first(data)
    lost = {"train/loss": math.nan, "validation/loss": math.nan, "validation/accuracy": math.nan}
    cost = {**run["records"][1]["cost"], "steps": 24, "forwards": 48, "gradients": 49}
    run["records"][2] |= {"metrics": lost, "cost": cost}
    run["result"] |= {"outcome": "diverged", "final": lost, "cost": cost, "best": run["records"][1]["metrics"]}
    assert found(data) == []
    cost["steps"] = 31
    assert "epoch 3 has 11 steps" in found(data)[0]


def numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


UNDETERMINED = (
    r"suite\.specs\.\d+\.(timeout|memory|checkpoint_minutes|sharpness\..+)",  # change no number of the training
    r"suite\.(targets\..+|robust_within)",  # the suite's own choice
    r"runs\.\w+\.result\.(gc_measured|memory\..+)",  # measured
    r"runs\.\w+\.records\.[01]\.cost\.(train_seconds|warm_up_seconds|warm_up_steps)",  # measured
    r"runs\.\w+\.records\.[01]\.cost\.(forwards|gradients|hvps)",  # beyond the least that the steps need
    r"runs\.\w+\.records\.0\.metrics\..+",  # of an epoch that was neither the best nor the last
    r"runs\.\w+\.result\.(final|best)\.test/.+",  # read once; the best epoch was not the last
    r"runs\.\w+\.result\.final\.sharpness/.+",  # measured once
)
"""Numbers that nothing else in a submission determines, so that only a run made again can speak against them."""

DATA = as_data(made())
PATHS = sorted(numbers(DATA), key=str)


@given(st.sampled_from(PATHS), st.data())
def test_any_single_number_that_the_rest_determines_is_noticed_when_it_changes(
    path: tuple[str | int, ...], data: st.DataObject
) -> None:
    forged = json.loads(json.dumps(DATA))
    place = forged
    for key in path[:-1]:
        place = place[key]
    before = place[path[-1]]
    others: st.SearchStrategy[int | float] = (
        st.one_of(st.integers(-3, 100), st.just(2**70), st.just(before + 1))
        if isinstance(before, int)
        else st.one_of(st.floats(allow_nan=True), st.floats(0, 1), st.just(math.nextafter(before, math.inf)))
    )
    place[path[-1]] = data.draw(others.filter(lambda value: value != before))
    name = ".".join(map(str, path))
    assert found(forged) or any(re.fullmatch(pattern, name) for pattern in UNDETERMINED), name
