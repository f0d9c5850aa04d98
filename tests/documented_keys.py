"""Tables of the keys of suites in docs/, made from the descriptions in the code: `python -m tests.documented_keys`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchbench.suite.keys import Key, keys
from benchbench.values import Execution
from tests.conftest import REPOSITORY

_TABLE = re.compile(r"(<!-- keys of ([\w. ]+) -->\n).*?(<!-- end of keys -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have such tables."""
    return [page for page in sorted((REPOSITORY / "docs").glob("*.md")) if _TABLE.search(page.read_text("utf-8"))]


def renewed(text: str) -> str:
    """Return a page with its tables as they are by the code."""
    return _TABLE.sub(lambda found: f"{found[1]}{_table(_rows(found[2]))}{found[3]}", text)


def _rows(name: str) -> list[Key]:
    everywhere = {each.key for each in keys("workloads")} & {each.key for each in keys("methods")}
    execution = [*Execution.model_fields]
    if name == "execution":
        return [each for each in keys("workloads") if each.key in execution]
    if name == "all entries":
        return [each for each in keys("workloads") if each.key in everywhere and each.key not in execution]
    if name == "schedules":
        rows = keys("methods.schedule")
        return [replace(row, values=_settings(f"methods.schedule.{row.key}")) for row in rows]
    if name in ("workloads", "methods"):
        return [each for each in keys(name) if each.key not in everywhere]
    return [inner for each in keys("" if name == "suites" else name) for inner in _below(name, each)]


def _below(name: str, key: Key) -> list[Key]:
    """Return a key of a section, and what is below it."""
    inner = keys(f"{name}.{key.key}") if name != "suites" and key.values == "mapping" else [key]
    return [key, *(replace(each, key=f"{key.key}.{each.key}") for each in inner if each != key)]


def _settings(path: str) -> str:
    settings = [each for each in keys(path) if each.key not in ("name", "warmup_epochs")]
    return ", ".join(f"{each.key} ({each.default})" for each in settings)


def _table(rows: Iterable[Key]) -> str:
    lines = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        meaning = re.sub(r"\b(\w+\.md)\b", r"[\1](\1)", row.meaning)
        cells = [f"`{row.key}`", row.values.replace(" | ", ", "), row.default.replace('"', ""), meaning]
        lines.append(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for page in pages():
        page.write_text(renewed(page.read_text("utf-8")), encoding="utf-8")
