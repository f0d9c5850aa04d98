"""Bundles: results as a zip file (or a folder of the same files) that says itself whether it is whole.

A bundle holds `manifest.json`, `suite.json` and, for every run, `runs/KEY/result.json`, `metrics.jsonl` and `log.txt`.
It is read in memory and never unpacked, so no name in it can become a path on the disk.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from benchbench.distribution import own_version
from benchbench.leaderboard import consistency
from benchbench.leaderboard.submission import Declaration, Manifest, StoredRun, Submission
from benchbench.problems import BadInputError, Problem, invalid
from benchbench.processes.memory import without_garbage_collection
from benchbench.values import EpochRecord, Frozen, RunResult, Suite

_MIB = 1024 * 1024

LARGEST_BUNDLE = 1024 * _MIB
"""Bytes of all files of a bundle together, unpacked."""

LARGEST_ARCHIVE = 256 * _MIB
"""Bytes of a zip file, whose list of names is read as a whole."""

LARGEST_FILE = 64 * _MIB
"""Bytes of one file of a bundle, unpacked."""

DENSEST = 200
"""Most times by which a bundle larger than `LARGEST_FILE` can be packed: results are numbers, which are ten times
smaller."""

MANIFEST = "manifest.json"
SUITE = "suite.json"

_NAME = re.compile(r"suite\.json|runs/[0-9a-f]{16}/(?:result\.json|metrics\.jsonl|log\.txt)")
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
"""Errors of `zipfile` for archives that are damaged, or packed in ways that it does not know."""
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_Value = TypeVar("_Value", bound=Frozen)


def write(submission: Submission, declaration: Declaration, date: str, path: Path) -> None:
    """Write a bundle. The same submission, declaration and date give the same bytes.

    Args:
        submission: The results.
        declaration: What is declared about them.
        date: The day to state, such as `2026-01-31`.
        path: The zip file to write.

    Raises:
        BadInputError: The results are not complete or contradict each other, or the date is none.
    """
    problems = list(consistency.problems(submission.suite, submission.runs, submission.suite.name))
    if problems:
        raise BadInputError(problems)
    files = {SUITE: _json(submission.suite)}
    for key, run in sorted(submission.runs.items()):
        files[f"runs/{key}/result.json"] = _json(run.result)
        epochs = "".join(f"{each.model_dump_json()}\n" for each in run.records)
        files[f"runs/{key}/metrics.jsonl"] = epochs.encode()
        files[f"runs/{key}/log.txt"] = run.log.encode()
    stated = {
        "declaration": declaration,
        "date": date,
        "software": f"benchbench {own_version()}",
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    manifest = _parse(Manifest, stated, "bundle", MANIFEST)
    temporary = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MANIFEST: _json(manifest), **files}.items():
            member = zipfile.ZipInfo(name, _FIXED_TIME)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    temporary.replace(path)


def declare(words: Mapping[str, str]) -> Declaration:
    """Return what a user declares.

    Args:
        words: Text by name of the field.

    Raises:
        BadInputError: It does not say how the hyperparameters were chosen, or a text is too long.
    """
    return _parse(Declaration, words, "bundle", MANIFEST)


@without_garbage_collection()
def read(path: Path) -> Submission:
    """Read a bundle and check it: its form, its sums, and whether its parts agree (see `consistency`).

    Args:
        path: A zip file, or a folder with the same files.

    Raises:
        BadInputError: It is no whole bundle; carries every problem found.
    """
    contents = _contents(path)
    manifest = _parse(Manifest, contents.pop(MANIFEST, None), path, MANIFEST)
    _check_sums(path, manifest.files, contents)
    suite = _parse(Suite, contents.get(SUITE), path, SUITE)
    runs, problems = _runs(path, contents)
    if not problems:
        problems += consistency.problems(suite, runs, str(path))
    if problems:
        raise BadInputError(problems)
    archive = None if path.is_dir() else path
    return Submission(name=path.stem, suite=suite, runs=runs, manifest=manifest, archive=archive)


def _json(value: Frozen) -> bytes:
    return (value.model_dump_json(indent=2) + "\n").encode()


def _contents(path: Path) -> dict[str, bytes]:
    # No name becomes a path: zip files are read in memory, and folders are listed, not looked up in.
    try:
        if path.is_dir():
            found = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if not file.is_dir()}
            _check_files(path, list(found), [file.lstat().st_size for file in found.values()])
            linked = [name for name, file in found.items() if file.is_symlink()]
            if linked:
                raise BadInputError([Problem("is a link", file=str(path), field=name) for name in linked])
            return {name: file.read_bytes() for name, file in found.items()}
        return _unpacked(path)
    except OSError as error:
        raise BadInputError([Problem(f"cannot be read: {error.strerror or error}", file=str(path))]) from None


def _unpacked(path: Path) -> dict[str, bytes]:
    packed = path.stat().st_size
    _check_size(path, packed, LARGEST_ARCHIVE)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_files(path, [member.filename for member in members], [member.file_size for member in members])
            unpacked = sum(member.file_size for member in members)
            what = f"unpacks from {packed:,} to {unpacked:,} bytes, which "
            _check_size(path, unpacked, max(DENSEST * packed, LARGEST_FILE), what)
            if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
                raise NotImplementedError("it is not packed by deflation")
            return {member.filename: archive.read(member) for member in members}
    except BadInputError:
        raise
    except _DAMAGE as error:
        raise BadInputError([Problem(f"is no bundle: {error}", file=str(path))]) from None


def _check_files(path: Path, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Raise if a bundle has no such files, one problem of a kind: there may be hundreds of thousands of names.

    Raises:
        BadInputError: A name is not one of a bundle's files or is there twice, or a file or all of them are too large.
    """
    unknown = [name for name in names if name != MANIFEST and not _NAME.fullmatch(name)]
    if unknown:
        others = f", nor {len(unknown) - 1:,} others that are in it" if len(unknown) > 1 else ""
        raise BadInputError([Problem(f"a bundle has no such file{others}", file=str(path), value=unknown[0])])
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInputError([Problem("a name occurs twice", file=str(path), value=twice[0])])
    _check_size(path, max(sizes, default=0), LARGEST_FILE, "a file in it ")
    _check_size(path, sum(sizes), LARGEST_BUNDLE)


def _check_size(path: Path, size: int, largest: int, what: str = "") -> None:
    if size > largest:
        raise BadInputError([Problem(f"{what}is larger than {largest:,} bytes", file=str(path))])


def _check_sums(path: Path, stated: Mapping[str, str], contents: Mapping[str, bytes]) -> None:
    problems = [
        Problem("is not in the bundle", file=str(path), field=name) for name in stated if name not in contents
    ] + [Problem("is not in the manifest", file=str(path), field=name) for name in contents if name not in stated]
    problems += [
        Problem("is not what the manifest's SHA-256 sum says", file=str(path), field=name)
        for name, content in contents.items()
        if name in stated and hashlib.sha256(content).hexdigest() != stated[name]
    ]
    if problems:
        raise BadInputError(problems)


def _parse(model: type[_Value], content: bytes | Mapping[str, object] | None, path: Path | str, name: str) -> _Value:
    if content is None:
        raise BadInputError([Problem(f"has no {name}", file=str(path))])
    try:
        return model.model_validate_json(content) if isinstance(content, bytes) else model.model_validate(content)
    except ValidationError as error:
        raise BadInputError(invalid(error, f"{path}/{name}")) from None


def _runs(path: Path, contents: Mapping[str, bytes]) -> tuple[dict[str, StoredRun], list[Problem]]:
    runs: dict[str, StoredRun] = {}
    problems: list[Problem] = []
    for key in sorted({name.split("/")[1] for name in contents if name.startswith("runs/")}):
        try:
            runs[key] = _run(path, f"runs/{key}", contents)
        except BadInputError as error:
            problems += error.problems
    return runs, problems


def _run(path: Path, folder: str, contents: Mapping[str, bytes]) -> StoredRun:
    result = _parse(RunResult, contents.get(f"{folder}/result.json"), path, f"{folder}/result.json")
    name = f"{folder}/metrics.jsonl"
    records = tuple(
        _parse(EpochRecord, line, path, f"{name}:{number}")
        for number, line in enumerate(contents.get(name, b"").splitlines(), start=1)
    )
    if result.key != folder.rpartition("/")[2]:
        raise BadInputError([Problem("the result is that of another run", file=str(path), field=folder)])
    return StoredRun(result, records, contents.get(f"{folder}/log.txt", b"").decode(errors="replace"))
