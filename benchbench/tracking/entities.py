"""Specs and results as MLflow's parameters, metrics and tags, and back."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from benchbench.runs.checksums import sealed, unsealed
from benchbench.tracking.errors import TrackingError
from benchbench.values import (
    CONCLUSIVE,
    EpochRecord,
    Frozen,
    Metrics,
    RunResult,
    RunSpec,
    canonical_json,
)
from benchbench.values.sharpness import SharpnessSettings, SharpnessSummary, with_sharpness

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


TAG = "benchbench."
KEY = f"{TAG}key"
COMMAND = f"{TAG}command"
"""The command that writes a run, by the name that `Holder` gives it."""
REVISION = f"{TAG}revision"
"""Number of the repetition of a key by commands that knew its result before, from 1."""
LONGEST_TEXT = 4000
_PART = f"{TAG}result."
_SHARPNESS = f"{TAG}sharpness."
_Value = TypeVar("_Value", bound=Frozen)
_EVALUATED = ("validation/", "test/")
_LONGEST_NAME = 250
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]|_(?=x[0-9a-f]*_)")
"""Characters of names that MLflow refuses, and sequences that look like an escape."""
_NOT_A_FOLDER = re.compile(r"^\.{0,2}$")
"""Parts between slashes that mean another folder, or none, for names are paths to MLflow."""


def parameters(spec: RunSpec) -> dict[str, object]:
    """Return what of a spec MLflow shows as parameters."""
    return {
        "workload": spec.workload.target,
        "optimizer": spec.optimizer.target,
        "seed": spec.seed,
        "epochs": spec.epochs,
        "batch_size": spec.batch_size,
        **{f"optimizer.{name}": value for name, value in spec.optimizer.parameters.items()},
        **{f"workload.{name}": value for name, value in spec.workload.parameters.items()},
        **{f"schedule.{name}": value.model_dump_json() for name, value in spec.schedule.items()},
    }


def epoch_metrics(record: EpochRecord) -> list[Metric]:
    """Return what a run recorded after an epoch, by epoch."""
    cost = record.cost.model_dump(exclude_none=True)
    values = {**record.metrics, **{f"cost/{name}": float(value) for name, value in cost.items()}}
    return [metric(name, value, record.epoch) for name, value in values.items()]


def result_metrics(result: RunResult, last: Metrics) -> Metrics:
    """Return the numbers of a result, but for what the metrics of the last epoch have shown already.

    Of the best epoch they are those of the evaluations; its learning rate, say, is with the metrics by epoch.
    """
    return {
        **{f"final/{name}": value for name, value in result.final.items() if last.get(name) != value},
        **{f"best/{name}": value for name, value in result.best.items() if name.startswith(_EVALUATED)},
        **{f"memory/{name}": float(value) for name, value in result.memory.model_dump(exclude_none=True).items()},
        **({} if result.gc_measured is None else {"cost/gc_measured": result.gc_measured}),
    }


def result_tags(result: RunResult) -> dict[str, str]:
    """Return a result as tags: for people how the run ended, for `read_result` all of it, in parts that a tag can hold.

    MLflow takes its time for every tag and every metric, so a result is not put together from them again.
    """
    return {
        **({f"{TAG}message": text(result.message)} if result.message else {}),
        **_parts(_PART, result, f"{result.key}/tracked"),
        f"{TAG}outcome": result.outcome,
    }


def sharpness_tags(summary: SharpnessSummary, key: str) -> dict[str, str]:
    """Return a measurement of a run's sharpness as tags, from which `read_sharpness` has it."""
    return _parts(f"{_SHARPNESS}{summary.settings}.", summary, f"{key}/{summary.settings}")


def _parts(name: str, value: Frozen, place: str) -> dict[str, str]:
    content = sealed(value.model_dump_json(exclude_defaults=True), place).decode().rstrip()
    starts = range(0, len(content), LONGEST_TEXT)
    return {f"{name}{i}": content[start : start + LONGEST_TEXT] for i, start in enumerate(starts)}


def has_ended(run: Run) -> bool:
    """Return whether a run of MLflow has a result."""
    return run.data.tags.get(f"{TAG}outcome") not in (None, "running") and f"{_PART}0" in run.data.tags


def is_conclusive(run: Run) -> bool:
    """Return whether a run of MLflow has answered what it asked."""
    return run.data.tags.get(f"{TAG}outcome") in CONCLUSIVE


def revision(run: Run) -> int:
    """Return the revision of a run of MLflow, 0 where it has none."""
    written = run.data.tags.get(REVISION, "")
    return int(written) if written.isdecimal() else 0


def rank(run: Run) -> tuple[bool, int, int, str]:
    """Return the place of a run that has ended among those of its key, of which the one with the highest counts.

    It never changes, so all who look at any two of them, at the same time or later, agree on which is the higher of
    two: what one command deletes is never what another one relies on. A later revision has been made to replace the
    earlier ones; of one revision, which several folders have made at the same time, the first to end counts.
    """
    ended = run.info.end_time or run.info.start_time
    return is_conclusive(run), revision(run), -ended, run.info.run_id


def read_result(run: Run, settings: SharpnessSettings) -> RunResult:
    """Return the result that was written as a run of MLflow, with its sharpness by these settings.

    Raises:
        TrackingError: It was changed there, and is none any more.
    """
    try:
        result = _whole(RunResult, run, _PART, f"{run.data.tags[KEY]}/tracked")
        return with_sharpness(result, settings, read_sharpness(run))
    except ValueError as error:
        message = f"the result of run {run.info.run_id} in the tracking store was changed there and cannot be read"
        raise TrackingError(
            message, "delete the run in MLflow, and the same command makes up for it", "store"
        ) from error


def read_sharpness(run: Run) -> list[SharpnessSummary]:
    """Return what was written of the sharpness of a run of MLflow; what was changed there counts as not measured."""
    found = []
    for digest in {name.split(".")[2] for name in run.data.tags if name.startswith(_SHARPNESS)}:
        with suppress(ValueError):
            place = f"{run.data.tags[KEY]}/{digest}"
            found.append(_whole(SharpnessSummary, run, f"{_SHARPNESS}{digest}.", place))
    return found


def _whole(model: type[_Value], run: Run, name: str, place: str) -> _Value:
    """Return a value that was written in parts.

    Raises:
        ValueError: It was changed since, and is none any more.
    """
    parts = itertools.takewhile(bool, (run.data.tags.get(f"{name}{i}", "") for i in itertools.count()))
    # What took the place of something longer leaves the last parts of that behind it.
    written = "".join(parts)
    content, end = json.JSONDecoder().raw_decode(written)
    if "checksum" in content:  # earlier versions wrote none
        content = json.loads(unsealed(f"{written[:end]}\n".encode(), place) or "")
    return model.model_validate(content)


def metric(name: str, value: float, step: int) -> Metric:
    """Return a number as MLflow's metric, recorded now."""
    from mlflow.entities import Metric

    return Metric(stored_name(name), value, int(time.time() * 1000), step)


def stored_name(name: str) -> str:
    """Return a metric's name as MLflow can hold it: itself, or with `_x40_`, say, for every @ in it.

    It is for people. Results are read from their tags, where names are as they were given, so nothing decodes it.
    """
    written = "/".join(_NOT_A_FOLDER.sub(_escaped, part) for part in name.split("/"))
    written = _NOT_IN_NAMES.sub(_escaped, written)
    if len(written) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        written = f"{written[: _LONGEST_NAME - len(digest) - 1]}_{digest}"
    return written


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"_x{ord(character):x}_" for character in found[0]) or "_x_"


def text(value: object) -> str:
    """Return a value as text that a parameter can hold, with a mark where it was cut; databases have no zeros in it."""
    written = (value if isinstance(value, str) else canonical_json(value)).replace("\0", "\\0")
    return written if len(written) <= LONGEST_TEXT else f"{written[: LONGEST_TEXT - 1]}…"
