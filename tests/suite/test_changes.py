"""Suites changed and selected from on the command line."""

from __future__ import annotations

import pytest

from benchbench import suite as suites
from benchbench.problems import BadInputError
from tests.suite.smallest_suite import SMALL, Write, problems


def test_values_can_be_set(write: Write) -> None:
    text = SMALL.replace("w:", "w.1:") + "  A.b: {optimizer: two}\n"
    suite = suites.load(
        write(text),
        overrides=[
            "seeds=[7]",
            "seeds.0=8",
            "workloads.w.1.epochs=4",
            "methods.A.lr=5e-4",
            "methods.A.schedule={name: cosine}",
            "methods.A.b.optimizer=three",
            "methods.A.b.note=a=b",
            "title=Other",
        ],
    )
    a, b = suite.specs
    assert (a.seed, a.epochs, a.optimizer.parameters, a.schedule["lr"].name) == (8, 4, {"lr": 5e-4}, "cosine")
    assert (b.optimizer.target, b.optimizer.parameters) == ("three", {"note": "a=b"})
    assert suite.title == "Other"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("methods.A.lr", "--set: must have the form path.to.key=value (got methods.A.lr)"),
        ("=3", "--set: must have the form path.to.key=value (got =3)"),
        ("", "--set: must have the form path.to.key=value"),
        ("methods.\udcff=1", "--set: must be UTF-8 text (got methods.\\udcff=1)"),
        (
            "method.A.lr=1",
            "--set: there is no method; allowed: name, seeds, workloads, methods (got method.A.lr=1); "
            "did you mean 'methods'?",
        ),
        ("seeds.2=1", "--set: there is no seeds.2; allowed: 0, 1 (got seeds.2=1)"),
        ("name.x=1", "--set: there is no name.x (got name.x=1)"),
        ("methods.A.lr=[1", "--set: methods.A.lr: not valid YAML: "),
        ("methods.A.lr=.nan", "--set: methods.A.lr: must be a finite number (got NaN)"),
        ("methods.A.lr={a: 1, a: 2}", "--set: methods.A.lr: duplicate key"),
        ("workloads.w.epochs=0", "--set: workloads.w.epochs: must be at least 1 (got 0)"),
        ("workloads.w.epochs=", "--set: workloads.w.epochs: is required"),
        ("titel=x", "--set: titel: unknown key; allowed: name, title, "),
        ("seeds=[0, -1]", "--set: seeds.1: must be at least 0 (got -1)"),
    ],
)
def test_values_that_cannot_be_set(write: Write, change: str, problem: str) -> None:
    (found,) = problems(write(SMALL), change)
    assert found.startswith(problem)


SWEPT = SMALL + "  B, C: {optimizer: two, sweep: {rho: [1, 2]}}\n  B (d): {optimizer: two}\n"


@pytest.mark.parametrize(
    ("only", "runs"),
    [
        ([], 8),
        (["method=A"], 2),
        (["method=A", "seed=1"], 1),
        (["method=A,seed=1"], 1),
        (["method=A,method=B, C (rho=1),seed=0"], 2),
        (["method=B, C"], 4),
        (["method=B, C (rho=2)", "workload=w"], 2),
        (["seed=0,seed=1"], 8),
    ],
)
def test_parts_can_be_selected(write: Write, only: list[str], runs: int) -> None:
    suite = suites.select(suites.load(write(SWEPT)), only)
    assert len(suite.specs) == runs
    assert len(suite.specs) == len(suite.methods) * len(suite.workloads) * len(suite.seeds)
    assert suite.source.find(method="A").line == 6


def test_a_label_that_another_one_begins_with_selects_itself_alone(write: Write) -> None:
    suite = suites.load(write(SMALL + "  AB: {optimizer: two}\n  A B: {optimizer: two}\n"))
    assert {spec.method for spec in suites.select(suite, ["method=A"]).specs} == {"A"}


@pytest.mark.parametrize(
    ("only", "problem"),
    [
        ("method=Aa", "--only: method: the suite has no such method; it has A, B, C (rho=1), "),
        ("method=Aa", "(got Aa); did you mean 'A'?"),
        ("workload=v", "--only: workload: the suite has no such workload; it has w (got v)"),
        ("seed=9", "--only: seed: the suite has no such seed; it has 0, 1 (got 9)"),
        (
            "metod=A",
            "must have the form method=LABEL, workload=LABEL or seed=NUMBER (got metod=A); did you mean",
        ),
        ("A", "--only: must have the form"),
        ("", "--only: must have the form"),
    ],
)
def test_parts_that_are_not_there(write: Write, only: str, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        suites.select(suites.load(write(SWEPT)), [only])
    assert problem in str(caught.value)


def test_a_part_of_a_suite_has_the_targets_of_its_workloads(write: Write) -> None:
    text = SMALL.replace(
        "workloads:",
        "workloads:\n  base: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.9}\n"
        "  variant: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.8, held_out_of: base}",
    )
    part = suites.select(suites.load(write(text)), ["workload=variant"])
    assert (part.targets, part.held_out) == ({"variant": 0.8}, {})
