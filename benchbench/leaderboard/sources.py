"""Sources of a site's results: bundles, folders of bundles, result files, and suites that were run here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchbench.leaderboard import bundle
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.problems import BadInputError, Problem
from benchbench.reporting import exchange
from benchbench.suite.schema import check_label

BUNDLES = "bundles"
"""Folder of a leaderboard that holds its accepted bundles."""


def read_all(sources: Sequence[str], read_suite: Callable[[str], Submission]) -> list[Submission]:
    """Return the submissions of all sources, with names of their own.

    Args:
        sources: Bundles, leaderboards (folders that `add` has made), files of results in long form, and names or files
            of suites.
        read_suite: Reads the results of a suite.

    Raises:
        BadInputError: A bundle cannot be used, there is none, or two have one name.
    """
    found = [each for source in sources for each in _read(source, read_suite)]
    names = [each.name for each in found]
    problems = [Problem("two submissions have this name", value=name) for name in set(names) if names.count(name) > 1]
    if not found:
        problems.append(Problem("there are no submissions", field=", ".join(sources)))
    if problems:
        raise BadInputError(problems)
    return found


def add(path: Path, leaderboard: Path) -> Path:
    """Check a bundle and copy it into a leaderboard.

    Args:
        path: A zip file.
        leaderboard: The leaderboard's folder, which is made if it does not exist.

    Returns:
        The copy.

    Raises:
        BadInputError: It is no whole bundle, or the leaderboard has one of that name already.
    """
    if path.is_dir():
        raise BadInputError([Problem("is a folder; a leaderboard takes zip files", file=str(path))])
    bundle.read(path)
    try:
        check_label(path.stem)
    except ValueError as error:
        raise BadInputError([Problem(f"the file's name: {error}", file=str(path))]) from None
    kept = leaderboard / BUNDLES / f"{path.stem}.zip"
    if kept.exists():
        raise BadInputError([Problem("the leaderboard has a bundle of this name", file=str(path), value=path.stem)])
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, kept)
    return kept


def _read(source: str, read_suite: Callable[[str], Submission]) -> list[Submission]:
    path = Path(source)
    if (path / BUNDLES).is_dir():
        return [bundle.read(each) for each in sorted((path / BUNDLES).glob("*.zip"))]
    if path.suffix == ".zip" or (path / bundle.MANIFEST).is_file():
        return [bundle.read(path)]
    if path.suffix in (".csv", ".json"):
        suite, rows = exchange.as_suite(exchange.read(path))
        runs = {
            row.spec.key: StoredRun(row.result, row.records, study=row.study) for row in rows if row.result is not None
        }
        return [Submission(name=path.stem, suite=suite.model_copy(update={"name": path.stem}), runs=runs)]
    return [read_suite(source)]
