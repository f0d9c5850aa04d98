"""Sentences of GLUE, from GLUE's own TSV files or the `datasets` library's format on disk."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchbench.workloads.glue.tasks import TASKS, GlueTask
from benchbench.workloads.text_files import read_text

HUB = "nyu-mll/glue"
"""Name of the data set that `prepare` downloads."""

_SPLITS = {"train": "train", "dev": "validation", "dev_matched": "validation_matched"}
_SPLITS |= {"dev_mismatched": "validation_mismatched"}
"""Names of the files' contents in the `datasets` library."""


_MOST_BROKEN = 0.01
"""Share of a file's lines that may break off: GLUE's own have far fewer, files with other separators far more."""


@dataclass(frozen=True)
class Sentences:
    """Labelled sentences.

    Attributes:
        texts: One text, or two, per example.
        labels: A class or a score per example.
    """

    texts: list[tuple[str, ...]]
    labels: list[float]


def load(data: Path, name: str) -> dict[str, Sentences]:
    """Return the contents of a task by file: `train`, and what its results are reported on.

    Args:
        data: The data folder.
        name: Name of the task.

    Raises:
        ValueError: A file is damaged; the message names file and line.
    """
    task = TASKS[name]
    files = ("train", *task.tests.values())
    disk = _disk_folder(data, name)
    if disk.exists():
        return {file: _from_disk(disk / _SPLITS[file], task) for file in files}
    folder = _tsv_folder(data, task)
    return {file: _from_tsv(folder / f"{file}.tsv", task) for file in files}


def missing(data: Path, name: str) -> str | None:
    """Return which files of a task are missing and how to bring them, or which one is damaged and where, or `None`."""
    task = TASKS[name]
    disk, folder = _disk_folder(data, name), _tsv_folder(data, task)
    files = ("train", *task.tests.values())
    if all((disk / _SPLITS[file]).is_dir() for file in files):
        return None
    paths = [folder / f"{file}.tsv" for file in files]
    if all(path.is_file() for path in paths):
        return next((line for path in paths if (line := _damaged(path, task))), None)
    return (
        f"GLUE's {task.folder} is neither in {folder.absolute()} (TSV files) nor in {disk.absolute()} (written by "
        "`datasets`); bring it there, download it with `benchbench prepare SUITE`, name another folder with "
        "--data-dir, or rehearse with --synthetic"
    )


def prepare(data: Path, name: str) -> None:
    """Download a task from the hub, unless it is there, and write it into the data folder."""
    if missing(data, name) is None:
        return
    from datasets import load_dataset

    content = load_dataset(HUB, name)
    disk = _disk_folder(data, name)
    for file in ("train", *TASKS[name].tests.values()):
        content[_SPLITS[file]].save_to_disk(disk / _SPLITS[file])


def _disk_folder(data: Path, name: str) -> Path:
    return data / "glue" / name


def _tsv_folder(data: Path, task: GlueTask) -> Path:
    return data / "glue" / task.folder


def _from_disk(path: Path, task: GlueTask) -> Sentences:
    from datasets import load_from_disk

    table = load_from_disk(str(path))
    columns = [table[column] for column in task.columns]
    return Sentences(list(zip(*columns, strict=True)), [float(label) for label in table["label"]])


def _damaged(path: Path, task: GlueTask) -> str | None:
    """Return what is wrong with a TSV file, in one line, or `None`."""
    status = path.stat()
    return _damage(path, task.folder, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _damage(path: Path, folder: str, _size: int, _changed: int) -> str | None:
    # Remembered as long as the file does not change: many workloads of a suite ask for the same one.
    try:
        _from_tsv(path, next(task for task in TASKS.values() if task.folder == folder))
    except ValueError as error:
        return str(error)
    return None


def _from_tsv(path: Path, task: GlueTask) -> Sentences:
    """Return the content of a TSV file.

    Raises:
        ValueError: It is damaged, or another task's.
    """
    texts, labels, broken = [], [], []
    header, rows = _rows(path)
    wanted = (*task.tsv_columns, task.tsv_label)
    if absent := [column for column in wanted if column not in header]:
        names = ", ".join(header[:12])
        raise ValueError(f"{path}:1: {task.folder} needs the column {absent[0]!r} (found {names or 'none'})")
    *text_places, label_place = (header.index(column) for column in wanted)
    for number, row in rows:
        if len(row) != len(header):
            broken.append(number)  # GLUE's own files have a few lines that break off
            continue
        texts.append(tuple(row[place] for place in text_places))
        labels.append(_label(row[label_place], task, f"{path}:{number}"))
    if not texts:
        raise ValueError(f"{path}: no line has all of the columns {', '.join(wanted)}")
    if len(broken) > _MOST_BROKEN * len(texts) + 1:
        raise ValueError(
            f"{path}:{broken[0]}: {len(broken)} of {len(broken) + len(texts)} lines have not the {len(header)} columns "
            "of the first one: the file is damaged, or its columns are not separated by tabs"
        )
    return Sentences(texts, labels)


def _rows(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the names of the columns, and the lines after them with their numbers.

    Raises:
        ValueError: The file is no text in UTF-8.
    """
    text = read_text(path)  # GLUE's own MRPC begins with a byte-order mark
    reader = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    return next(reader, []), ((reader.line_num, row) for row in reader if row)


def _label(text: str, task: GlueTask, place: str) -> float:
    try:
        value = float(task.labels.index(text.strip()) if task.labels else float(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        allowed = ", ".join(task.labels) or "a number"
        raise ValueError(f"{place}: {task.tsv_label} must be {allowed} (got {text!r})")
    return value
