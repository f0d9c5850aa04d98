"""Results of other benchmarks, from the folders in which those leave them, as records. Nothing in them is run."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from benchbench.problems import BadInputError, Problem, invalid
from benchbench.reporting.exchange import LARGEST_FILE, Record
from benchbench.values import Frozen

_ALGOPERF = "eval_measurements.csv"
_FOB = {"final": "results_final_model.json", "best": "results_best_model.json"}
_FOB_NAMES = {"acc": "accuracy"}


def read_algoperf(folder: Path) -> list[Record]:
    """Read the logs of AlgoPerf: `SUBMISSION/study_S/WORKLOAD/trial_T/eval_measurements.csv`.

    A trial of a study becomes a run, with all of its evaluations; its metrics are those of the evaluation with the
    highest step. The seed is 1000 times the study's number plus the trial's: it tells runs apart and says nothing about
    random numbers. The framework is no part of the workload's label (`wmt_pytorch` is `wmt`): scores compare both.
    Targets come from AlgoPerf's own `targets.json`, if it lies in the folder: those of its base workloads and of their
    held-out variants.

    Args:
        folder: The folder of one or several submissions.

    Raises:
        BadInputError: There are no such files, or one cannot be used; carries every problem found.
    """
    targets = _algoperf_targets(folder / "targets.json")
    return _read(folder, _ALGOPERF, lambda root, file: _algoperf_records(root, file, targets))


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


def read_modded_nanogpt(folder: Path) -> list[Record]:
    """Read logs of modded-nanogpt's track 3: files `METHOD/NAME.txt` with a line per evaluation.

    Such a line is `step:125/3500 val_loss:4.54 train_time:12.3s ...`; the seconds may be missing, or be milliseconds
    (`12300ms`). A step that is lower than the one before begins another run. The method is the name of the file's
    folder. The seed is the one that the log states (`Using seed=1`) where those of a folder are all different, else a
    run's number by the order of the files: it tells runs apart. A run whose last step is not that of its plan counts as
    interrupted. The target is the track's, a validation loss of 3.28.

    Args:
        folder: The folder of the results, or of one method.

    Raises:
        BadInputError: There are no such lines, or a file cannot be used; carries every problem found.
    """
    stated: dict[str, int] = {}
    found = _read(folder, "*.txt", lambda root, file: _nanogpt_records(root, file, stated))
    if not found:
        raise BadInputError([Problem("has no file with lines `step:N/M val_loss:X` in it", file=str(folder))])
    runs: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in found:
        runs[record.method][record.key].append(record)
    for of_method in runs.values():
        seeds = {stated[key] for key in of_method if key in stated}
        for number, (key, records) in enumerate(of_method.items()):
            seed = stated[key] if len(seeds) == len(of_method) else number
            records[:] = [record.model_copy(update={"seed": seed}) for record in records]
    return [record for of_method in runs.values() for records in of_method.values() for record in records]


READERS: Mapping[str, Callable[[Path], list[Record]]] = {
    "algoperf": read_algoperf,
    "fob": read_fob,
    "modded-nanogpt": read_modded_nanogpt,
}
"""Reader by name of the program."""


def _read(folder: Path, name: str, records: Callable[[Path, Path], Iterator[Record]]) -> list[Record]:
    found: list[Record] = []
    problems: list[Problem] = []
    files = sorted(folder.rglob(name))
    for file in files:
        try:
            found += records(folder, file)
        except ValidationError as error:
            problems += invalid(error, str(file))
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
            problems.append(Problem(f"cannot be read: {type(error).__name__}: {error}", file=str(file)))
        except OSError as error:
            problems.append(Problem(f"cannot be read: {error.strerror}", file=str(file)))
    if not files:
        problems.append(Problem(f"has no file {name} in it", file=str(folder)))
    keys: dict[tuple[str, str, int], str] = {}
    for record in found if name != "*.txt" else ():
        other = keys.setdefault((record.method, record.workload, record.seed), record.key)
        if other != record.key:
            keys[record.method, record.workload, record.seed] = record.key
            problems.append(Problem(f"is the same run of the same method as {other}", file=str(folder / record.key)))
    if problems:
        raise BadInputError(problems)
    return found


def _text(file: Path) -> str:
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE:,} bytes")
    return file.read_text(encoding="utf-8-sig")


class _Target(Frozen):
    """AlgoPerf's targets for one workload."""

    metric: str
    value: float
    held_out_of: str = ""


_ALGOPERF_BETTER: Mapping[str, str] = {
    **dict.fromkeys(("accuracy", "ssim", "mean_average_precision", "bleu"), "higher"),
    **dict.fromkeys(("loss", "wer", "ppl", "ctc_loss"), "lower"),
}
"""Directions of AlgoPerf's metrics."""


def _algoperf_targets(file: Path) -> dict[str, _Target]:
    """Return the targets of the base workloads and of their held-out variants, none without the file.

    Raises:
        BadInputError: The file is not of AlgoPerf's form.
    """
    if not file.exists():
        return {}
    try:
        content = json.loads(_text(file))
        bases, held_out = content["base_workloads"], content.get("held_out_workloads", [])
        found = {}
        for name in (*bases, *held_out):
            given = content["workloads"][name]
            of = [base for base in bases if name in held_out and name.startswith(f"{base}_")]
            found[name] = _Target(
                metric=f"validation/{given['target_metric_name']}",
                value=given["validation_target_value"],
                held_out_of=max(of, key=len, default=""),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError([Problem(f"cannot be read: {type(error).__name__}: {error}", file=str(file))]) from error
    return found


def _algoperf_records(folder: Path, file: Path, targets: Mapping[str, _Target]) -> Iterator[Record]:
    trial, name = file.parent.name, file.parent.parent.name
    known = re.fullmatch(r"(.+)_(jax|pytorch)", name)
    workload, framework = (known[1], known[2]) if known else (name, "")
    study_folder = file.parent.parent.parent
    study = re.fullmatch(r"study_(\d+)", study_folder.name)
    method = (study_folder.parent if study else study_folder).resolve().name
    lines = list(csv.DictReader(io.StringIO(_text(file), newline=""), strict=True))
    if not lines:
        raise ValueError("it has no evaluations")
    last = max(lines, key=lambda line: int(line["global_step"]))
    target = targets.get(workload)
    number = int(study[1] if study else 0)
    run = Record(
        method=method,
        workload=workload,
        seed=1000 * number + int(re.sub(r"\D", "", trial) or 0),
        study=number if study else None,
        held_out_of=target.held_out_of if target else "",
        source="AlgoPerf",
        key=file.parent.relative_to(folder).as_posix(),
        **_algoperf_environment(file.parent, framework),
    )
    asked: dict[str, Any] = {}
    if target:
        asked = {"target": target.value, "better": _ALGOPERF_BETTER.get(target.metric.partition("/")[2], "")}

    def records(line: Mapping[str, str], **place: Any) -> Iterator[Record]:
        values = {
            name: float(text)
            for name, text in line.items()
            if text and re.fullmatch(r"(train|validation|test)/(?!num_examples)\w+", name)
        }
        cost: dict[str, Any] = {
            "steps": int(line["global_step"]),
            "train_seconds": float(line["accumulated_submission_time"]),
        }
        for each in _with_values(Record.model_validate({**run.model_dump(), **cost, **place}), values):
            yield each.model_copy(update=asked) if target and each.metric == target.metric else each

    found = list(records(last))
    yield from found
    outcome = {"outcome": found[0].outcome} if found else {}
    for evaluation, line in enumerate(lines, start=1):
        for each in records(line, at="evaluation", evaluation=evaluation):
            yield each.model_copy(update=outcome)


def _algoperf_environment(trial: Path, framework: str) -> dict[str, str]:
    file = trial / "meta_data_0.json"
    known = json.loads(_text(file)) if file.exists() else {}
    device = known.get("gpu_model_name") or known.get("cpu_model_name") or ""
    count = known.get("gpu_count")
    versions = {name: known[name] for name in ("python_version", "git_commit_hash", "os_platform") if name in known}
    versions |= {"framework": framework} if framework else {}
    if not versions and not device:
        return {}
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
            values = {}
            for full_name, value in measured.items():
                split, _, metric = full_name.partition("_")
                values[f"{split}/{_FOB_NAMES.get(metric, metric)}"] = float(value)
            yield from _with_values(run.model_copy(update={"at": at}), values)


def _short(label: str) -> str:
    """Return a label that is short enough for a table, and still its own."""
    return label if len(label) <= 100 else f"{label[:88]}… {zlib.crc32(label.encode()):08x}"


_EVALUATION = re.compile(
    r"(?:step|s):(\d+)/(\d+)\s+(?:val_loss|val):(\S+)(?:.*?\btrain_time:([\d.]+)(ms|s)\b)?", re.ASCII
)


def _nanogpt_records(folder: Path, file: Path, stated: dict[str, int]) -> Iterator[Record]:
    """Yield the records of a log, with seeds of 0, and note the seed of a log that states one.

    Raises:
        ValueError: Two evaluations are at one step.
    """
    runs: list[list[tuple[int, int, float, float]]] = []
    for line in _text(file).splitlines():
        if seed := re.fullmatch(r"Using seed=(\d+)", line):
            stated[file.relative_to(folder).as_posix()] = int(seed[1])
        if found := _EVALUATION.match(line):
            step, steps, loss = int(found[1]), int(found[2]), float(found[3])
            seconds = float(found[4] or 0) / (1000 if found[5] == "ms" else 1)
            if not runs or step < runs[-1][-1][0]:
                runs.append([])
            if runs[-1] and runs[-1][-1][0] == step:
                raise ValueError(f"it has two evaluations at step {step}")
            runs[-1].append((step, steps, loss, seconds))
    for number, evaluations in enumerate(runs):
        step, steps, loss, _ = evaluations[-1]
        outcome = "diverged" if not math.isfinite(loss) else "finished" if step == steps else "interrupted"
        name = file.relative_to(folder).as_posix()
        run: dict[str, Any] = {
            "method": _short(file.resolve().parent.name),
            "workload": "modded-nanogpt",
            "outcome": outcome,
            "metric": "validation/loss",
            "better": "lower",
            "target": 3.28,
            "source": "modded-nanogpt",
            "key": f"{name}#{number + 1}" if len(runs) > 1 else name,
        }
        for evaluation, (at, _, value, seconds) in enumerate((evaluations[-1], *evaluations)):
            measured = {"seed": 0, "steps": at, "value": value, "train_seconds": seconds}
            place = {"at": "evaluation", "evaluation": evaluation} if evaluation else {"at": "final"}
            yield Record.model_validate({**run, **place, **measured})


def _with_values(run: Record, values: Mapping[str, float]) -> Iterator[Record]:
    """Yield a record per value; a loss that is not finite says that the run diverged."""
    diverged = any(name.endswith("/loss") and not math.isfinite(value) for name, value in values.items())
    for name, value in values.items():
        yield run.model_copy(update={"metric": name, "value": value, "outcome": "diverged" if diverged else "finished"})
