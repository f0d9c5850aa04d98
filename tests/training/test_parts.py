"""Parameters by role in a run: those that are not decayed, and parts with schedules of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench import api
from benchbench.plugins.factories import Factories
from benchbench.training.steps import Training
from benchbench.values import Cosine, Linear, RunSpec
from tests.accelerator import current_device, every_device
from tests.helpers.command_line import call
from tests.helpers.specs import run_spec
from tests.helpers.suites import SGD, suite

DIGITS = {"D": {"workload": "digits-resnet8", "epochs": 1, "batch_size": 256}}
MUON = {"optimizer": "by_role", "matrices": {"name": "muon", "lr": 0.02}, "rest": {"name": "adamw", "lr": 0.003}}


def spec(optimizer: str, parameters: dict[str, Any], **fields: Any) -> RunSpec:
    return run_spec(optimizer, "digits-resnet8", parameters=parameters, epochs=2, batch_size=256, **fields)


def training(chosen: RunSpec) -> Training:
    return Training(chosen, Factories.of(chosen), current_device(), Path("data"))


def trained(chosen: RunSpec, steps: int = 2) -> Training:
    made = training(chosen)
    for _, batch in zip(range(steps), made.task.batches(1), strict=False):
        made.step(batch)
    return made


@every_device
def test_roles_that_are_not_decayed_are_those_of_groups_made_by_hand() -> None:
    chosen = spec("sgd", {"lr": 0.1, "weight_decay": 0.5}, no_decay=("norm", "bias"))
    made = trained(chosen)
    by_hand = training(spec("sgd", {"lr": 0.1, "weight_decay": 0.5}))
    model = by_hand.task.model
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    by_hand.optimizer = torch.optim.SGD(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=0.1, weight_decay=0.5
    )
    for _, batch in zip(range(2), by_hand.task.batches(1), strict=False):
        by_hand.step(batch)
    for ours, theirs in zip(made.task.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    without = trained(spec("sgd", {"lr": 0.1, "weight_decay": 0.5}))
    assert not torch.equal(list(without.task.model.parameters())[-1], list(model.parameters())[-1])  # a bias


def test_parts_have_schedules_of_their_own_before_those_of_all() -> None:
    schedule = {"lr": Linear(), "matrices.lr": Cosine(), "rest.weight_decay": Linear(end_factor=1.0)}
    parameters = {"matrices": {"name": "muon", "lr": 0.02}, "rest": {"name": "adamw", "lr": 0.004}}
    made = training(spec("by_role", parameters, schedule=schedule))
    total = 2 * made.task.steps_per_epoch
    made.schedules.apply(total // 2)
    done = (total // 2) / total
    found = {group["part"]: group["lr"] for group in made.optimizer.param_groups}
    assert found == pytest.approx(
        {"matrices": 0.02 * (1 + torch.cos(torch.tensor(torch.pi * done)).item()) / 2, "rest": 0.004 * (1 - done)}
    )
    assert set(made.schedules.values()) == {"lr", "matrices.lr", "rest.weight_decay"}
    filters = sum(p.numel() for p in made.task.model.parameters() if p.dim() == 4)
    rest = sum(p.numel() for p in made.task.model.parameters()) - filters
    assert made.account()["parts"] == f"matrices {filters:,}, rest {rest:,}"


def test_a_setting_that_is_not_used_is_not_in_the_key() -> None:
    plain = spec("sgd", {"lr": 0.1})
    assert plain.model_copy(update={"no_decay": ("norm",)}).key != plain.key
    assert plain.model_copy(update={"roles": {"*": "other"}}).key != plain.key
    assert plain.model_copy(update={"roles": {}, "no_decay": ()}).key == plain.key


WRONG = {
    "pattern": (
        {"roles": {"heads.weight": "head"}},
        {},
        ["roles: roles of D", "no parameter has a name like 'heads.weight'"],
    ),
    "role": ({"roles": {"head.weight": "haed"}}, {}, ["did you mean 'head'?"]),
    "part": ({}, {**MUON, "schedule": {"rst.lr": {"name": "cosine"}}}, ["schedule.rst.lr", "did you mean 'rest.lr'?"]),
    "no decay": ({}, {"optimizer": "rprop", "no_decay": ["norm"]}, ["no_decay: rprop on D has no `weight_decay`"]),
    "decayed all the same": (
        {},
        {"optimizer": "asgd", "lambd": 0.1, "no_decay": ["norm"]},
        ["no_decay: asgd on D decays", "all the same"],
    ),
    "within": ({}, {**MUON, "sweep": {"matrices.lrr": [0.1]}}, ["unknown parameter of muon", "did you mean 'lr'?"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_parameter_answers_to_is_one_line(name: str, tmp_path: Path) -> None:
    of_workload, method, said = WRONG[name]
    workloads = {"D": {**DIGITS["D"], **of_workload}}
    path = tmp_path / "suite.yaml"
    path.write_text(suite(workloads=workloads, methods={"M": {**(method or MUON)}}))
    done = call("plan", path)
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {path}:")
    assert all(each in line for each in said), line


def test_the_command_line_says_who_gets_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suite.yaml").write_text(suite(workloads=DIGITS, methods={"Muon": MUON, "SGD": SGD}, tables=["cost"]))
    shown = json.loads(call("show", "digits-resnet8", "--json").stdout)
    numbers = dict.fromkeys(("filter", "norm", "head", "bias"), 0)
    for each in shown["model"]:
        numbers[each["role"]] += int(torch.tensor(each["shape"]).prod())
    rest = numbers["norm"] + numbers["head"] + numbers["bias"]
    line = f"Muon on D: matrices {numbers['filter']:,}, rest {rest:,} parameters"
    assert line in call("plan", "suite.yaml").stdout
    assert f"{line}." in call("run", "suite.yaml", "--engine", "inline").stdout
    assert "filter" in call("show", "digits-resnet8").stdout
    assert "they depend on dataset, model" in call("show", "image-classification").stdout


@pytest.mark.parametrize("how", ["sweep", "override"])
def test_a_parameter_within_a_part_can_be_varied(how: str, tmp_path: Path) -> None:
    varied = {"sweep": {"matrices.lr": [0.5]}} if how == "sweep" else {"overrides": {"D": {"matrices.lr": 0.5}}}
    path = tmp_path / "suite.yaml"
    path.write_text(suite(workloads=DIGITS, methods={"M": {"optimizer": "by_role", "matrices": "muon", **varied}}))
    [chosen] = api.load_suite(path).specs
    assert chosen.optimizer.parameters == {"matrices": {"name": "muon", "lr": 0.5}}
