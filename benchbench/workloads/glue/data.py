"""Where the sentences of GLUE come from: GLUE's own TSV files, or the `datasets` library's format on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchbench.workloads.glue.tasks import TASKS, GlueTask

HUB = "nyu-mll/glue"
"""Where `prepare` gets the data."""

_SPLITS = {"train": "train", "dev": "validation", "dev_matched": "validation_matched"}
_SPLITS |= {"dev_mismatched": "validation_mismatched"}
"""Names of the files' contents in the `datasets` library."""


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
    """Return which files of a task are missing and how to bring them, or `None`."""
    task = TASKS[name]
    disk, folder = _disk_folder(data, name), _tsv_folder(data, task)
    files = ("train", *task.tests.values())
    if all((disk / _SPLITS[file]).is_dir() for file in files) or all(
        (folder / f"{file}.tsv").is_file() for file in files
    ):
        return None
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


def _from_tsv(path: Path, task: GlueTask) -> Sentences:
    texts, labels = [], []
    for number, row in _rows(path):
        if any(row.get(column) is None for column in (*task.tsv_columns, task.tsv_label)):
            continue  # GLUE's own files have a few lines that break off
        texts.append(tuple(row[column] for column in task.tsv_columns))
        labels.append(_label(row[task.tsv_label], task, f"{path}:{number}"))
    if not texts:
        columns = ", ".join((*task.tsv_columns, task.tsv_label))
        raise ValueError(f"{path}: no line has all of the columns {columns}")
    return Sentences(texts, labels)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        yield from enumerate(reader, start=2)


def _label(text: str, task: GlueTask, place: str) -> float:
    try:
        return float(task.labels.index(text.strip()) if task.labels else float(text))
    except ValueError:
        allowed = ", ".join(task.labels) or "a number"
        raise ValueError(f"{place}: {task.tsv_label} must be {allowed} (got {text!r})") from None
