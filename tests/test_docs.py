"""What the pages show is what the program understands: commands with their options, parts of suites, Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core
import typer.main

from benchbench import cli
from benchbench.suite import validation, yaml_source
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

FRAME = [
    "name: page",
    "seeds: [0]",
    "workloads: {digits-mlp: {epochs: 1, batch_size: 64}}",
    "methods: {SGD: {optimizer: sgd}}",
]
"""What a suite must have, for the examples that show a part of one."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every `benchbench ...` in the blocks without a language of a page."""
    for block in blocks(page, "") + blocks(page, "console"):
        for line in block.splitlines():
            if re.match(r"(\$ )?benchbench ", line):
                yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_that_the_program_understands(page: Path) -> None:
    for arguments in commands(page):
        command, rest = typer.main.get_command(cli.app), arguments
        while isinstance(command, typer.core.TyperGroup) and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        assert command.make_context(command.name, rest).command is command, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_part_of_a_suite_is_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "yaml"):
        if "columns:" in block:  # a publication
            continue
        missing = [text for text in FRAME if not re.search(rf"^{text.split(':')[0]}:", block, re.MULTILINE)]
        (tmp_path / "suite.yaml").write_text("\n".join([block, *missing]), encoding="utf-8")
        _, problems = validation.validate(yaml_source.read(tmp_path / "suite.yaml"))
        assert [str(problem) for problem in problems] == [], block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_that_python_imports_is_there(page: Path) -> None:
    for block in blocks(page, "python"):
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        found: dict[str, object] = {}
        exec(compile(ast.Module(imports, []), str(page), "exec"), found)
        named = {(name.asname or name.name).partition(".")[0] for each in imports for name in each.names}
        assert named <= set(found)
