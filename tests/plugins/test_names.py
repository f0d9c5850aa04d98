"""Names, modules and files to factories; whatever a plugin does, one line says it."""

from __future__ import annotations

import sys

import pytest
import torch

from benchbench.plugins import names as plugins
from benchbench.plugins.names import Kind
from tests.plugins.installed_plugins import OPTIMIZERS, Install, error


def test_torch_brings_its_own_optimizers() -> None:
    names = {name.lower() for name in ("SGD", "AdamW", "LBFGS", "RMSprop")}
    found = plugins.plugins("optimizer")
    assert names <= set(found)
    assert "optimizer" not in found
    assert found["adamw"].target == "torch.optim:AdamW"
    assert found["adamw"].distribution == "torch"
    assert found["adamw"].version.partition("+")[0] == torch.__version__.partition("+")[0]
    assert plugins.resolve("optimizer", "AdamW") is torch.optim.AdamW
    assert plugins.resolve("optimizer", "adamw") is torch.optim.AdamW


def test_plugins_are_listed_without_their_code(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain [extra]"}, "raise RuntimeError")
    plugin = plugins.plugins("optimizer")["my_optimizer"]
    assert plugin == plugins.Plugin("my_optimizer", "optimizer", "my_plugin:Plain", "my-plugin", "1.5")
    assert "my_plugin" not in sys.modules
    assert "my_optimizer" not in plugins.plugins("workload")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("raise RuntimeError", "RuntimeError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def x(:", "SyntaxError: invalid syntax"),
        ("import missing_module", "ModuleNotFoundError: No module named 'missing_module'"),
        ("class E(BaseException): pass\nraise E('odd')", "E: odd"),
        ("raise RuntimeError('\\x1b[31mred')", "RuntimeError: \\x1b[31mred"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth"),
    ],
)
def test_a_broken_plugin_harms_nothing_else(install: Install, code: str, message: str) -> None:
    install("broken", {"broken": "broken:Plain"}, code)
    install("good", {"good": "good:Plain"}, OPTIMIZERS)
    found = plugins.plugins("optimizer")
    assert plugins.status(found["good"]) is None
    status = plugins.status(found["broken"])
    assert status is not None
    assert status.startswith(f"module broken cannot be imported: {message}")
    assert error("optimizer", "broken") == status


def test_an_interrupt_is_no_broken_plugin(install: Install) -> None:
    install("broken", {"broken": "broken:Plain"}, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.resolve("optimizer", "broken")


def test_a_distribution_that_was_renamed_is_no_rival_of_itself(install: Install) -> None:
    install("before", {"same": "first:Plain"}, OPTIMIZERS)
    install("first", {"same": "first:Plain"}, OPTIMIZERS)
    plugin = plugins.plugins("optimizer")["same"]
    assert plugin.rivals == ()
    assert plugins.status(plugin) is None


def test_only_torchs_own_names_are_known_in_any_case_of_letters(install: Install) -> None:
    install("first", {"plain": "first:Plain"}, OPTIMIZERS)
    assert plugins.resolve("optimizer", "AdamW") is plugins.resolve("optimizer", "adamw")
    with pytest.raises(plugins.PluginError, match=r"unknown optimizer 'Plain'.*did you mean 'plain'"):
        plugins.resolve("optimizer", "Plain")


def test_a_collision_names_both_distributions(install: Install) -> None:
    install("first", {"same": "first:Plain", "own": "first:Plain"}, OPTIMIZERS)
    install("second", {"same": "second:Plain"}, OPTIMIZERS)
    plugin = plugins.plugins("optimizer")["same"]
    assert {plugin.distribution, *plugin.rivals} == {"first", "second"}
    assert "offered by" in (plugins.status(plugin) or "")
    message = error("optimizer", "same")
    assert "first" in message
    assert "second" in message
    assert plugins.status(plugins.plugins("optimizer")["own"]) is None
    assert plugins.resolve("optimizer", "second:Plain").__module__ == "second"


def test_nobody_takes_a_name_of_torch(install: Install) -> None:
    install("greedy", {"rprop": "greedy:Plain"}, OPTIMIZERS)
    assert "torch and greedy" in error("optimizer", "rprop")


def test_unknown_names_and_missing_attributes(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain", "not_there": "my_plugin:Plaim"}, OPTIMIZERS)
    assert error("optimizer", "my_optimiser").endswith("did you mean 'my_optimizer'?")
    assert "allowed: adadelta, " in error("optimizer", "zzz")
    assert "has no attribute 'Plaim'; did you mean 'Plain'?" in error("optimizer", "not_there")
    assert "has no attribute 'no'" in error("optimizer", "my_plugin:no")
    assert "No module named 'my_plugim'" in error("optimizer", "my_plugim:Plain")
    assert "it cannot be called" in error("optimizer", "my_plugin:thing")
    assert "is not a Workload" in error("workload", "my_plugin:Plain")
    for target in ("", ":", "a:", ":b", "a..b:c", ".:x", "a b:c", "x.py:", "\0:a", "\0.py:a"):
        assert error("optimizer", target)


def test_modules_of_targets(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain"}, OPTIMIZERS)
    assert plugins.module_of("optimizer", "my_optimizer") == "my_plugin"
    assert plugins.module_of("optimizer", "some.where:One") == "some.where"
    assert plugins.module_of("optimizer", "some/where.py:One") is None
    assert plugins.module_of("optimizer", "unknown") is None


@pytest.mark.parametrize(
    ("kind", "name", "near"), [("model", "resnet-20", "resnet20"), ("dataset", "cifar01", "cifar10")]
)
def test_unknown_models_and_data_sets_have_a_nearest_name(kind: Kind, name: str, near: str) -> None:
    assert error(kind, name).endswith(f"did you mean '{near}'?")
