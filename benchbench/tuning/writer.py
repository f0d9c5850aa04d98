"""A suite file with what was chosen, and where it comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchbench.plugin_files import FILE_TARGET
from benchbench.suite.yaml_source import Document
from benchbench.suite.yaml_writer import as_text, edited
from benchbench.tuning.study import StudyStatus
from benchbench.values import Tuned

_NAME = re.compile(r"\w([\w .-]*\w)?")

_LONGEST_NAME = 60

_DIGITS = 8
"""Significant digits of what was measured."""


def provenance(status: StudyStatus, *, version: str, date: str) -> Tuned:
    """Return how the settings of a study's winner were chosen.

    Args:
        status: A study that has come to a winner.
        version: Version of benchbench.
        date: The day, as `YYYY-MM-DD`.
    """
    winner, tuning = status.winner, status.study.tuning
    assert winner is not None
    return Tuned(
        budget=tuning.budget.model_copy(update={"unit": tuning.gradient_unit if tuning.budget.gc else None}),
        trials=status.spent,
        broken=status.broken,
        finals=status.finals,
        sampler=tuning.sampler,
        seed=tuning.seed,
        seeds=tuning.seeds,
        finalist_seeds=tuning.finalists.seeds,
        space=dict(status.study.space),
        chosen=winner.values,
        metric=winner.metric,
        value=winner.value,
        version=version,
        date=date,
    )


def tuned_suite(
    suite: Document,
    statuses: Sequence[StudyStatus],
    out: Path,
    *,
    version: str,
    date: str,
    warn: Callable[[str], None] = lambda text: None,
) -> str:
    """Return the text of a suite file with the chosen values in the place of the search spaces.

    Args:
        suite: The suite's file; files that it names are found from its folder.
        statuses: What the searches have come to, a winner each.
        out: Where the text will be written.
        version: Version of benchbench.
        date: The day, as `YYYY-MM-DD`.
        warn: Told in one line when the comments of the suite are lost.
    """
    content = with_files_from(suite.data, Path(suite.file).parent, out.parent)
    content.pop("tuning", None)
    for entry in (content.get("defaults", {}).get("methods", {}), *content["methods"].values()):
        _without_search(entry)
    for status in statuses:
        _choose(content, status, provenance(status, version=version, date=date))
    name = str(content["name"])
    content["name"] = renamed(name, out, "tuned")
    content.setdefault("tables", ["accuracy", "cost"])
    content["tables"] = list(dict.fromkeys([*content["tables"], "tuning"]))
    head = f"# Made by `benchbench tune` {version} on {date} from the suite {name}, to be trained on fresh seeds.\n"
    return head + with_comments(suite, content, warn)


def with_comments(suite: Document, content: Mapping[str, Any], warn: Callable[[str], None]) -> str:
    """Return the text of a suite file with other content, its comments kept if its text can be edited into that."""
    text = edited(suite.text, content)
    if text is None:
        warn(f"{suite.file}: comments are not kept: edits of this text cannot express what is to be written")
    return as_text(content) if text is None else text


def renamed(name: str, out: Path, suffix: str) -> str:
    """Return what a suite is called in another file: as the file if it can, else its old name with a suffix."""
    if _NAME.fullmatch(out.stem) and len(out.stem) <= _LONGEST_NAME:
        return out.stem
    return f"{name[: _LONGEST_NAME - len(suffix) - 1]} {suffix}"


def with_files_from(data: Mapping[str, Any], folder: Path, to: Path) -> dict[str, Any]:
    """Return a copy of a suite's content with the files that it names as they are found from another folder."""
    return {name: _moved(value, folder, to) for name, value in data.items()}


def _without_search(entry: dict[str, Any]) -> None:
    entry.pop("search", None)
    for override in (entry.get("overrides") or {}).values():
        override.pop("search", None)


def _choose(content: dict[str, Any], status: StudyStatus, tuned: Tuned) -> None:
    """Write what was chosen: into the method where there is but one workload, else into its override for this one."""
    study = status.study
    entry = content["methods"][study.method]
    alone = len(content["workloads"]) == 1 and study.workload not in entry.get("overrides", {})
    target = entry if alone else entry.setdefault("overrides", {}).setdefault(study.workload, {})
    target.update(tuned.chosen)
    entry.setdefault("tuned", {})[study.workload] = _plain(tuned.model_dump(mode="json", exclude_defaults=True))


def _plain(value: Any) -> Any:
    """Return a value with its numbers in as many digits as a reader needs."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _moved(value: JsonValue, folder: Path, to: Path) -> JsonValue:
    """Return a value with the files that it names as they are found from another folder."""
    if isinstance(value, dict):
        return {name: _moved(each, folder, to) for name, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, folder, to) for each in value]
    match = FILE_TARGET.fullmatch(value) if isinstance(value, str) else None
    if match is None or Path(match["file"]).is_absolute():
        return value
    path = os.path.relpath((folder / match["file"]).resolve(), to.resolve())
    return f"{Path(path).as_posix()}:{match['attribute']}"
