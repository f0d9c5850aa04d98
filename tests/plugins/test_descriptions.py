"""What a plugin's signature says about it."""

from __future__ import annotations

import pytest

from benchbench.plugins.descriptions import describe
from benchbench.plugins.names import PluginError
from tests.plugins.installed_plugins import OPTIMIZERS, WORKLOADS, Install


def test_descriptions(install: Install) -> None:
    install("my-plugin", {"mine": "my_plugin:mine"}, WORKLOADS, kind="workload")
    install("other", {"seeded": "other:Seeded", "open": "other:open_ended"}, OPTIMIZERS)
    found = describe("mine")
    assert (found.plugin.name, found.plugin.kind, found.plugin.distribution) == (
        "mine",
        "workload",
        "my-plugin",
    )
    assert found.doc == "Build it."
    assert [(each.name, each.type, each.default) for each in found.parameters] == [
        ("width", "int", "3"),
        ("sizes", "tuple[int, ...]", "(1, 2)"),
    ]
    assert describe("other:Plain").doc == "A plain one."
    assert describe("my_plugin:mine").plugin.kind == "workload"
    assert describe("AdamW").plugin.name == "adamw"
    assert [each.name for each in describe("open").parameters] == ["lr", "**"]
    with pytest.raises(PluginError, match="unknown optimizer, workload, model or data set 'mime'; did you mean 'mine'"):
        describe("mime")


@pytest.mark.usefixtures("named")
def test_models_and_data_sets_are_described() -> None:
    model = describe("small")
    assert (model.plugin.kind, model.doc) == ("model", "A small one.")
    assert [each.name for each in model.parameters] == ["width", "sizes"]  # the workload fills the others
    assert [(each.name, each.default) for each in describe("files").parameters] == [
        ("path", None),
        ("size", "8"),
    ]
    assert [each.type for each in describe("nested").parameters] == ["model", "dataset"]
