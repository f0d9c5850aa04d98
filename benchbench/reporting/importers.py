"""Results of other benchmarks, from the folders in which those leave them, as records. Nothing in them is run."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from benchbench.problems import BadInputError, Problem
from benchbench.reporting.exchange import LARGEST_FILE, Record

_ALGOPERF = "eval_measurements.csv"
_FOB = {"final": "results_final_model.json", "best": "results_best_model.json"}
_FOB_NAMES = {"acc": "accuracy"}


def read_algoperf(folder: Path) -> list[Record]:
    """Read the logs of AlgoPerf: `SUBMISSION/study_S/WORKLOAD/trial_T/eval_measurements.csv`.

    A trial of a study becomes a run; its metrics are those of the last evaluation, steps and seconds come from the same
    line of the file. The seed is 1000 times the study's number plus the trial's: it tells runs apart and says nothing
    about random numbers. The framework stays in the workload's label (`wmt_pytorch`).

    Args:
        folder: The folder of one or several submissions.

    Raises:
        BadInputError: There are no such files, or one cannot be used; carries every problem found.
    """
    return _read(folder, _ALGOPERF, _algoperf_records)


def read_fob(folder: Path) -> list[Record]:
    """Read the outputs of FOB: `TASK/OPTIMIZER/SETTINGS/results_final_model.json` and `results_best_model.json`.

    The method is the optimizer with those settings that are not its defaults, by which FOB names folders. The seed is
    the `seed` under `engine` in `config.yaml`, or `engine.seed=N` in the folder's name, or FOB's default of 42.

    Args:
        folder: The folder of the outputs.

    Raises:
        BadInputError: There are no such files, or one cannot be used; carries every problem found.
    """
    return _read(folder, _FOB["final"], _fob_records)


READERS: Mapping[str, Callable[[Path], list[Record]]] = {"algoperf": read_algoperf, "fob": read_fob}
"""Reader by name of the program."""


def _read(folder: Path, name: str, records: Callable[[Path, Path], Iterator[Record]]) -> list[Record]:
    found: list[Record] = []
    problems: list[Problem] = []
    files = sorted(folder.rglob(name))
    for file in files:
        try:
            found += records(folder, file)
        except ValidationError as error:
            problems += [
                Problem(each["msg"], file=str(file), field=".".join(map(str, each["loc"])), value=str(each["input"]))
                for each in error.errors()
            ]
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
            problems.append(Problem(f"cannot be read: {type(error).__name__}: {error}", file=str(file)))
        except OSError as error:
            problems.append(Problem(f"cannot be read: {error.strerror}", file=str(file)))
    if not files:
        problems.append(Problem(f"has no file {name} in it", file=str(folder)))
    if problems:
        raise BadInputError(problems)
    return found


def _text(file: Path) -> str:
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE:,} bytes")
    return file.read_text(encoding="utf-8-sig")


def _algoperf_records(folder: Path, file: Path) -> Iterator[Record]:
    trial, workload = file.parent.name, file.parent.parent.name
    study_folder = file.parent.parent.parent
    study = re.fullmatch(r"study_(\d+)", study_folder.name)
    method = (study_folder.parent if study else study_folder).resolve().name
    lines = list(csv.DictReader(io.StringIO(_text(file), newline=""), strict=True))
    if not lines:
        raise ValueError("it has no evaluations")
    last = max(lines, key=lambda line: int(line["global_step"]))
    run = Record(
        method=method,
        workload=workload,
        seed=1000 * int(study[1] if study else 0) + int(re.sub(r"\D", "", trial) or 0),
        steps=int(last["global_step"]),
        train_seconds=float(last["accumulated_submission_time"]),
        source="AlgoPerf",
        key=file.parent.relative_to(folder).as_posix(),
        **_algoperf_environment(file.parent),
    )
    values = {
        name: float(text)
        for name, text in last.items()
        if text and re.fullmatch(r"(train|validation|test)/(?!num_examples)\w+", name)
    }
    yield from _with_values(run, values, "final")


def _algoperf_environment(trial: Path) -> dict[str, str]:
    file = trial / "meta_data_0.json"
    if not file.exists():
        return {}
    known = json.loads(_text(file))
    device = known.get("gpu_model_name") or known.get("cpu_model_name") or ""
    count = known.get("gpu_count")
    versions = {name: known[name] for name in ("python_version", "git_commit_hash", "os_platform") if name in known}
    return {"device": f"{count} x {device}" if count else str(device), "versions": json.dumps(versions, sort_keys=True)}


def _fob_records(folder: Path, file: Path) -> Iterator[Record]:
    place = file.parent
    settings = [part for part in place.name.split(",") if "=" in part]
    config = place / "config.yaml"
    engine = (yaml.safe_load(_text(config)) or {}).get("engine", {}) if config.exists() else {}
    named = next((part.partition("=")[2] for part in settings if part.startswith("engine.seed=")), None)
    seed = engine.get("seed", named)
    others = [part for part in settings if not part.startswith("engine.seed=")]
    label = f"{place.parent.name} ({', '.join(others)})" if others else place.parent.name
    run = Record(
        method=_short(label),
        workload=place.parent.parent.name,
        seed=42 if seed is None else seed,  # FOB's default
        source="FOB",
        key=place.relative_to(folder).as_posix(),
    )
    for at, name in _FOB.items():
        if (place / name).exists():
            (measured,) = json.loads(_text(place / name))
            values = {_fob_metric(metric): float(value) for metric, value in measured.items()}
            yield from _with_values(run, values, at)


def _fob_metric(name: str) -> str:
    split, _, metric = name.partition("_")
    return f"{split}/{_FOB_NAMES.get(metric, metric)}"


def _short(label: str) -> str:
    """Return a label that is short enough for a table, and still its own."""
    return label if len(label) <= 100 else f"{label[:88]}… {zlib.crc32(label.encode()):08x}"


def _with_values(run: Record, values: Mapping[str, float], at: Any) -> Iterator[Record]:
    """Yield a record per value; a loss that is not finite says that the run diverged."""
    diverged = any(name.endswith("/loss") and not math.isfinite(value) for name, value in values.items())
    for name, value in values.items():
        yield run.model_copy(
            update={"metric": name, "at": at, "value": value, "outcome": "diverged" if diverged else "finished"}
        )
