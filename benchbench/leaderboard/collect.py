"""Submissions from what runs have left on this machine, without what is private."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.problems import BadInputError, Problem
from benchbench.runs.folder import RunFolder
from benchbench.values import EpochRecord, Row, RunResult, RunSpec, Suite

LONGEST_LOG = 64 * 1024
"""Characters of a run's log that are handed on: its end."""


def submission(
    suite: Suite,
    rows: Sequence[Row],
    runs_dir: Path,
    commits: Mapping[str, str],
    histories: Mapping[str, Sequence[EpochRecord]],
) -> Submission:
    """Return the results of a suite, with the logs of those runs whose folders are here.

    The names of this machine, of the home folder and of the current folder are left out of all of it.

    Args:
        suite: The suite.
        rows: What tracking holds of its runs.
        runs_dir: The folder in which runs leave their files.
        commits: Commit that each run was started from, by key, where it is known.
        histories: What the runs recorded after every epoch, by key, where it is known.

    Raises:
        BadInputError: A path of the home folder is part of what identifies a run, and cannot be left out.
    """
    folders = {str(Path.cwd()): ".", str(Path.home()): "~"}
    hide = _hider({**folders, platform.node(): "HOST"})
    specs = tuple(_public_spec(spec, _hider(folders)) for spec in suite.specs)
    runs = {
        row.spec.key: _stored(
            row.spec,
            RunFolder(runs_dir / row.spec.key),
            row.result,
            tuple(histories.get(row.spec.key, ())),
            commits.get(row.spec.key),
            hide,
        )
        for row in rows
        if row.result is not None
    }
    return Submission(name=suite.name, suite=suite.model_copy(update={"specs": specs}), runs=runs)


def _stored(
    spec: RunSpec,
    folder: RunFolder,
    tracked: RunResult,
    history: tuple[EpochRecord, ...],
    commit: str | None,
    hide: Callable[[str], str],
) -> StoredRun:
    kept = folder.answer(spec)
    here = kept is not None and kept.conclusive
    result = kept if kept is not None and here else tracked
    environment = {name: hide(text) for name, text in result.environment.items() if name != "host"}
    if commit:
        environment["commit"] = commit
    result = result.model_copy(update={"environment": environment, "message": hide(result.message)})
    if not here:
        return StoredRun(result, history)
    log = hide(folder.log_tail(lines=1000))[-LONGEST_LOG:]
    records = folder.records()
    return StoredRun(result, tuple(records) if result.has_all_of(records) else history, log)


def _public_spec(spec: RunSpec, hide: Callable[[str], str]) -> RunSpec:
    public = RunSpec.model_validate(_over_texts(spec.model_dump(mode="json"), hide))
    if public.key != spec.key:
        raise BadInputError(
            [
                Problem(
                    "a path of this machine is part of what identifies the run; name files relative to the current "
                    "folder in suites that are to be published",
                    field=f"{spec.method} on {spec.workload_label}",
                )
            ]
        )
    return public


def _over_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _over_texts(each, change) for name, each in value.items()}
    if isinstance(value, list):
        return [_over_texts(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _hider(hidden: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that replaces names in a text by what they are to be called in public."""
    pattern = "|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])" for name in hidden if len(name) > 1)
    return lambda text: re.sub(pattern, lambda found: hidden[found[0]], text)
