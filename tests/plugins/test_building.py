"""What is built, with which parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from benchbench.plugins.factories import METHOD_KEYS, Factory, convert, named_component
from benchbench.plugins.names import PluginError
from benchbench.suite.schema import MethodEntry
from benchbench.values import Component
from benchbench.workloads import Setup
from benchbench.workloads.streams import Streams
from tests.plugins.installed_plugins import NAMED, OPTIMIZERS, WORKLOADS, Install


def component(target: str, **parameters: Any) -> Component:
    return Component(target=target, parameters=parameters)


def optimizer(target: str, **parameters: Any) -> Factory:
    return Factory("optimizer", component(target, **parameters))


def build(target: str, **parameters: Any) -> torch.optim.Optimizer:
    return optimizer(target, **parameters).build_optimizer(nn.Linear(2, 1).parameters(), seed=7)


def test_lists_become_tuples_and_integers_floats() -> None:
    built = build("adamw", lr=1, betas=[0.5, 0.9])
    assert built.defaults["betas"] == (0.5, 0.9)
    assert isinstance(built.defaults["lr"], float)


def test_a_wrapper_passes_on_the_parameters_of_its_base(install: Install) -> None:
    install("my-plugin", {"wrapper": "my_plugin:Wrapper"}, OPTIMIZERS)
    by_default = optimizer("wrapper").parameters
    assert {"base", "rho", "lr", "momentum"} <= set(by_default)
    assert "**" not in by_default
    assert "betas" in optimizer("wrapper", base="adamw").parameters
    built = build("wrapper", base="adamw", lr=0.5, betas=[0.1, 0.2], rho=1)
    assert isinstance(built.base, torch.optim.AdamW)  # type: ignore[attr-defined]
    assert built.param_groups[0]["betas"] == (0.1, 0.2)
    with pytest.raises(PluginError, match=r"unknown optimizer 'radamm'.*did you mean 'radam'"):
        _ = optimizer("wrapper", base="radamm").parameters


def test_a_base_may_be_optional_and_a_wrapper_itself(install: Install) -> None:
    install("my-plugin", {"wrapper": "my_plugin:optional_wrapper", "inner": "my_plugin:Wrapper"}, OPTIMIZERS)
    assert "**" in optimizer("wrapper").parameters
    assert "rho" in optimizer("wrapper", base="inner").parameters
    assert build("wrapper", base="inner", rho=0.5, lr=0.2).param_groups[0]["rho"] == 0.5


def test_open_factories_take_anything(install: Install) -> None:
    install("my-plugin", {"open": "my_plugin:open_ended"}, OPTIMIZERS)
    assert "**" in optimizer("open").parameters
    assert build("open", lr=2, other=[1]).options == {"other": [1]}  # type: ignore[attr-defined]


def test_types_that_cannot_be_evaluated_accept_anything(install: Install) -> None:
    install("my-plugin", {"odd": "my_plugin:unknown_types"}, OPTIMIZERS)
    allowed = optimizer("odd").parameters
    assert list(allowed) == ["lr", "mode"]
    assert convert(allowed["mode"], 3) == 3


def test_only_who_wants_a_seed_gets_one(install: Install) -> None:
    install("my-plugin", {"seeded": "my_plugin:Seeded", "plain": "my_plugin:Plain"}, OPTIMIZERS)
    assert build("seeded").seed == 7  # type: ignore[attr-defined]
    assert build("seeded", seed=3).seed == 3  # type: ignore[attr-defined]
    assert build("plain")


def test_who_needs_the_graph_of_gradients(install: Install) -> None:
    install("my-plugin", {"plain": "my_plugin:Plain", "wrapper": "my_plugin:Wrapper"}, OPTIMIZERS)
    assert optimizer("plain").needs_graph()
    assert not optimizer("plain").needs_graph(False)
    assert not optimizer("wrapper").needs_graph()
    assert optimizer("wrapper", base="plain").needs_graph()
    assert optimizer("adamw").needs_graph(True)
    assert not optimizer("adamw").needs_graph()


def test_parameters_with_the_name_of_a_key_of_methods_get_an_underscore() -> None:
    assert set(MethodEntry.model_fields) == METHOD_KEYS


def test_workloads_are_built_from_their_keywords(install: Install) -> None:
    install("my-plugin", {"mine": "my_plugin:mine"}, WORKLOADS, kind="workload")
    assert list(Factory("workload", component("mine")).parameters) == ["width", "sizes"]
    setup = Setup(torch.device("cpu"), 4, Streams(0))
    assert Factory("workload", component("mine", sizes=[5])).build_task(setup) == (setup, 3, (5,))


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("model", "built"),
    [
        ("small", (5, 3, ())),
        ("my_named:model", (5, 3, ())),
        ({"name": "small"}, (5, 3, ())),
        ({"name": "small", "width": 7, "sizes": [1, 2]}, (5, 7, (1, 2))),
    ],
)
def test_a_workload_gets_what_it_names_with_its_parameters(model: Any, built: tuple[Any, ...]) -> None:
    nested = component("nested", model=model, dataset={"name": "files", "path": "here"})
    setup = Setup(torch.device("cpu"), 8, Streams(0))
    assert cast("Any", Factory("workload", nested).build_task(setup)) == (built, ("here", 8))


def test_a_named_model_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NAMED)
    file = f"{tmp_path / 'mine.py'}"
    nested = component(f"{file}:mine", model=f"{file}:model", dataset={"name": f"{file}:dataset", "path": "here"})
    setup = Setup(torch.device("cpu"), 8, Streams(0))
    assert cast("Any", Factory("workload", nested).build_task(setup)) == ((5, 3, ()), ("here", 8))


@pytest.mark.parametrize("value", [3, None, ["resnet20"], {"width": 4}, {"name": 4}])
def test_what_names_nothing_is_a_wrong_value(value: Any) -> None:
    with pytest.raises(
        ValueError, match="must be the name of a model, or a mapping with its `name` and its parameters"
    ):
        named_component("model", value)
