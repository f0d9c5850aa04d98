"""The keys of suites in words: one description each, for editors, in the documentation and in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench import suite as suites
from benchbench.cli import completion
from benchbench.suite.schema import MEASUREMENTS, TABLES
from tests import documented_keys
from tests.helpers.command_line import call


def test_every_property_of_the_schema_has_a_description() -> None:
    schema = suites.json_schema()
    properties = [each.get("properties", {}) for each in (schema, *schema["$defs"].values())]
    without = [name for each in properties for name, value in each.items() if not value.get("description", "").strip()]
    assert (without, sum(map(len, properties)) > 150) == ([], True)
    assert "\\n" not in json.dumps(schema)


@pytest.mark.parametrize("page", documented_keys.pages(), ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == documented_keys.renewed(text), "renew it by `python -m tests.documented_keys`"


def test_every_key_is_in_a_table_of_the_documentation() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in documented_keys.pages())
    for kind in ("", "workloads", "methods", "methods.overrides", "methods.search", "methods.schedule"):
        for key in json.loads(call("show", "suite", *filter(None, [kind]), "--json").stdout):
            assert f"`{key['key']}`" in shown or f"`{key['key']}." in shown


def test_the_keys_of_suites_are_shown_by_level() -> None:
    top = call("show", "suite")
    assert top.exit_code == 0
    assert [line.split()[0] for line in top.stdout.splitlines()[2:]] == list(suites.json_schema()["properties"])
    [tables] = json.loads(call("show", "suite", "tables", "--json").stdout)
    assert (tables["values"], tables["default"]) == (f"[{' | '.join(TABLES)}, ...]", '["accuracy", "cost"]')
    assert " | ".join(MEASUREMENTS) in call("show", "suite", "measure").stdout
    overrides = call("show", "suite", "methods.overrides").stdout
    assert "clip_norm" in overrides
    assert "batch_size" not in overrides
    drop = json.loads(call("show", "suite", "methods.schedule.multistep", "--json").stdout)
    assert {each["key"]: each["default"] for each in drop} == {
        "warmup_epochs": "0.0",
        "name": '"multistep"',
        "milestones": "required",
        "gamma": "0.1",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("suite", "method"), "method: unknown key of a suite; allowed: name, title, "),
        (("suite", "method"), "(got method); did you mean 'methods'?"),
        (("suite", "methods.SGD"), "methods.SGD: unknown key of a suite; allowed: schedule, epochs, "),
        (("suite", "timeout.x"), "timeout.x: unknown key of a suite; allowed: none below it (got x)"),
        (("suite", ""), ""),
        (("sgd", "lr"), "a key is one of suite files: `benchbench show suite KEY` (got lr)"),
    ],
)
def test_a_key_that_there_is_not_is_one_line(arguments: tuple[str, str], said: str) -> None:
    result = call("show", *arguments)
    if not said:
        assert result.stdout == call("show", "suite").stdout
        return
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert said in line


def test_a_plugin_of_that_name_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "names", lambda incomplete: ["suite"])
    result = call("show", "suite")
    assert result.exit_code == 2
    assert "unknown optimizer, workload, model or data set 'suite'" in result.stderr
    assert call("show", "suite", "seeds").exit_code == 0
