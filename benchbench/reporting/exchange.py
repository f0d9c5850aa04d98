"""Results in long form, to hand them on and to show those of others next to one's own."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from benchbench.problems import BadInputError, Problem, invalid, printable
from benchbench.reporting.csv_text import as_written, spreadsheet_safe
from benchbench.reporting.metrics import better
from benchbench.suite.schema import Label
from benchbench.values import (
    Component,
    Cost,
    EpochRecord,
    Frozen,
    Heading,
    Method,
    Metrics,
    Outcome,
    Row,
    RunResult,
    RunSpec,
    Suite,
)

IMPORTED = " (imported)"
"""Ends the labels of methods whose results come from a file."""

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes."""

_FREE_TEXTS = ("category", "group", "metric", "protocol", "source", "key", "device", "versions")

_LABELS = ("method", "workload", "held_out_of")
"""Texts that all can be printed, and that are the same after they have been read back."""

_Count = Annotated[int, Field(ge=0)]


class Record(Frozen):
    """One value of one run, or a run that has none.

    Attributes:
        method: Label of the method.
        category: What the method is grouped under.
        workload: Label of the workload.
        group: What the workload is grouped under.
        seed: The run's seed.
        outcome: How the run ended.
        metric: Name of the metric, such as `test/accuracy`; empty for a run without any.
        at: What the value belongs to: the last epoch, the best one by the run's selection metric, or one evaluation of
            many along the run.
        evaluation: Number of that evaluation, from 1; 0 for other values.
        value: Its value in the metric's own unit (accuracies are fractions); may be `NaN` or infinite.
        better: Which way is better, for the metric that chose the best epoch; empty for others.
        target: Value of that metric that has to be reached on the workload, if one is set.
        held_out_of: The workload of which this one is a held-out variant, or empty.
        study: Study that the run is one of several trials of, if it is: the best of them counts for a score.
        epochs: Epochs completed; 0 where that is not known.
        steps: Optimizer steps of the run, or up to the evaluation; likewise what follows.
        forwards: Its evaluations of the loss; with no gradients and no products either, they were not counted.
        gradients: Its gradient computations.
        hvps: Its Hessian-vector products.
        train_seconds: Its seconds of training, evaluation and warm-up left out.
        protocol: What chose the best epoch.
        synthetic: Whether the data were made up.
        source: Where the result comes from: the name of the suite, the program or the paper.
        key: What identifies the run there.
        device: What it ran on.
        versions: Versions of what it ran with.
    """

    method: Label
    category: str = ""
    workload: Label
    group: str = ""
    seed: _Count
    outcome: Outcome = "finished"
    metric: str = ""
    at: Literal["final", "best", "evaluation"] = "final"
    evaluation: _Count = 0
    value: float | None = None
    better: Literal["", "higher", "lower"] = ""
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    held_out_of: str = ""
    study: _Count | None = None
    epochs: _Count = 0
    steps: _Count = 0
    forwards: _Count = 0
    gradients: _Count = 0
    hvps: _Count = 0
    train_seconds: Annotated[float, Field(ge=0)] = 0.0
    protocol: str = ""
    synthetic: bool = False
    source: str = ""
    key: str = ""
    device: str = ""
    versions: str = ""


class ResultFile(Frozen):
    """Results in long form, as JSON."""

    format: Literal["benchbench-results/1"] = "benchbench-results/1"
    records: tuple[Record, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of result files."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ResultFile.model_json_schema()}


def records(suite: Suite, rows: Sequence[Row]) -> list[Record]:
    """Return what the runs of a suite came to; runs without a result are left out."""
    return [record for row in rows if row.result for record in _records(suite, row, row.result)]


def to_json(found: Sequence[Record]) -> str:
    """Return records as JSON, without a line end; characters that cannot be printed are escaped."""
    text = ResultFile(records=tuple(found)).model_dump_json(indent=2)
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def to_csv(found: Sequence[Record]) -> str:
    """Return records as comma-separated values with a header line, without a line end.

    Characters that cannot be printed are escaped, as in all tables, and no text begins like a formula of a spreadsheet.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Record.model_fields), lineterminator="\n")
    writer.writeheader()
    for record in found:
        texts = {name: spreadsheet_safe(printable(getattr(record, name))) for name in _FREE_TEXTS}
        texts |= {name: spreadsheet_safe(getattr(record, name)) for name in _LABELS}
        writer.writerow(record.model_dump(mode="json") | texts)
    return text.getvalue().rstrip("\n")


def read(path: Path) -> list[Record]:
    """Read a file that `to_json` or `to_csv` wrote, or another program in the same form.

    Args:
        path: A file that ends in `.json` or `.csv`.

    Raises:
        BadInputError: It cannot be read, or is not of that form; carries every problem found.
    """
    text = _text(path)
    if path.suffix.lower() == ".json":
        try:
            found = list(ResultFile.model_validate_json(text).records)
        except ValidationError as error:
            raise BadInputError(invalid(error, str(path))) from None
        lines: list[int | None] = [None] * len(found)
    else:
        found, lines = _from_csv(path, text)
    problems = _repetitions([(path, line, record) for record, line in zip(found, lines, strict=True)])
    if problems:
        raise BadInputError(problems)
    return found


def read_all(paths: Sequence[Path]) -> list[Record]:
    """Read several files as one.

    Raises:
        BadInputError: A file cannot be used, or two hold the same value.
    """
    found = [(path, record) for path in paths for record in read(path)]
    problems = _repetitions([(path, None, record) for path, record in found])
    if problems:
        raise BadInputError(problems)
    return [record for _, record in found]


def with_imported(suite: Suite, rows: Sequence[Row], found: Sequence[Record]) -> tuple[Suite, list[Row]]:
    """Return a suite and its rows with the methods of records next to its own, marked as imported.

    Args:
        suite: The suite.
        rows: What is known of its runs.
        found: The records; those on workloads that the suite lacks are left out.
    """
    runs: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in found:
        if record.workload in suite.workloads:
            runs[record.method, record.workload, record.seed].append(record)
    imported = [_row(_beside(suite, of_run[0]), of_run) for of_run in runs.values()]
    categories = {record.method: record.category for record in found if record.workload in suite.workloads}
    methods = [Method(label=label + IMPORTED, category=category) for label, category in categories.items()]
    specs = (*suite.specs, *(row.spec for row in imported))
    extended = suite.model_copy(update={"methods": (*suite.methods, *methods), "specs": specs})
    return extended, [*rows, *imported]


def _records(suite: Suite, row: Row, result: RunResult) -> Iterator[Record]:
    spec = row.spec
    categories = {method.label: method.category for method in suite.methods}
    versions = {
        name: text
        for name, text in result.environment.items()
        if name not in ("device", "concurrent_runs", "other_commands_runs")
    }
    run = Record(
        method=spec.method,
        category=categories[spec.method],
        workload=spec.workload_label,
        group=suite.heading(spec.workload_label).group,
        seed=spec.seed,
        outcome=result.outcome,
        epochs=result.epochs,
        **_counts(result.cost),
        protocol=spec.protocol,
        synthetic=spec.synthetic,
        source=suite.name,
        key=spec.key,
        device=result.environment.get("device", ""),
        versions=json.dumps(versions, sort_keys=True, ensure_ascii=False),
    )

    def chosen(name: str) -> dict[str, Any]:
        """Return what is said of the metric that chose the best epoch alone."""
        if name != result.selection_metric:
            return {}
        return {"better": better(name, [result]) or "", "target": suite.targets.get(spec.workload_label)}

    parts: Mapping[Literal["final", "best"], Metrics] = {"final": result.final, "best": result.best}
    if not any(parts.values()):
        yield run
    for at, metrics in parts.items():
        for name, value in metrics.items():
            yield run.model_copy(update={"metric": name, "at": at, "value": value, **chosen(name)})
    for each in row.records:
        costs = {"evaluation": each.epoch, "at": "evaluation", **_counts(each.cost)}
        for name, value in each.metrics.items():
            yield run.model_copy(update={"metric": name, "value": value, **costs, **chosen(name)})


def _counts(cost: Cost) -> dict[str, Any]:
    counts = cost.model_dump(include={"steps", "forwards", "gradients", "hvps"})
    return {**counts, "train_seconds": cost.steady_seconds}


def as_suite(found: Sequence[Record]) -> tuple[Suite, list[Row]]:
    """Return records as a suite of their own, with targets and held-out variants as they say.

    Args:
        found: The records, of which there must be at least one.
    """
    runs: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in found:
        runs[record.workload, record.method, record.seed].append(record)
    rows = [_row(_spec(of_run[0]), of_run) for of_run in runs.values()]
    workloads = {record.workload: record for record in found}
    targets = {record.workload: record.target for record in found if record.target is not None}
    sources = list(dict.fromkeys(record.source for record in found if record.source))
    return Suite(
        name="imported",
        title=f"Results of {', '.join(sources)}" if sources else "Imported results",
        seeds=tuple(sorted({record.seed for record in found})),
        methods=tuple(Method(label=label, category=of) for label, of in {r.method: r.category for r in found}.items()),
        workloads=tuple(workloads),
        headings={label: Heading(label=label, group=record.group) for label, record in workloads.items()},
        targets=targets,
        held_out={record.workload: record.held_out_of for record in workloads.values() if record.held_out_of},
        tables=(),
        specs=tuple(row.spec for row in rows),
    ), rows


def _spec(first: Record) -> RunSpec:
    return RunSpec(
        suite="imported",
        method=first.method,
        workload_label=first.workload,
        workload=Component(target="imported", parameters={"label": first.workload}),
        optimizer=_origin(first),
        epochs=first.epochs,
        batch_size=0,
        seed=first.seed,
        protocol="paper" if first.protocol == "paper" else "holdout",
        synthetic=first.synthetic,
    )


def _beside(suite: Suite, first: Record) -> RunSpec:
    """Return the spec of a run that was not made here as if it were one of the suite's."""
    own = next(spec for spec in suite.specs if spec.workload_label == first.workload)
    return own.model_copy(
        update={
            "method": first.method + IMPORTED,
            "optimizer": _origin(first),
            "seed": first.seed,
            "protocol": first.protocol if first.protocol in ("holdout", "paper") else own.protocol,
            "synthetic": first.synthetic,
        }
    )


def _origin(first: Record) -> Component:
    return Component(target="imported", parameters={"source": first.source, "key": first.key, "method": first.method})


def _row(spec: RunSpec, of_run: Sequence[Record]) -> Row:
    values: dict[str, Metrics] = {"final": {}, "best": {}}
    history: dict[int, tuple[Cost, Metrics]] = {}
    for record in of_run:
        if record.metric and record.value is not None:
            if record.at == "evaluation":
                history.setdefault(record.evaluation, (_cost(record), {}))[1][record.metric] = record.value
            else:
                values[record.at][record.metric] = record.value
    first = next((record for record in of_run if record.at != "evaluation"), of_run[-1])
    environment = {"device": first.device} if first.device else {}
    chosen_by = next((record for record in of_run if record.metric and record.better), None)
    result = RunResult(
        key=spec.key,
        outcome=first.outcome,
        selection_metric=chosen_by.metric if chosen_by else "",
        higher_is_better=chosen_by.better == "higher" if chosen_by else None,
        epochs=first.epochs,
        cost=_cost(first),
        environment=environment,
        **values,
    )
    records = [EpochRecord(epoch=at, metrics=history[at][1], cost=history[at][0]) for at in sorted(history)]
    return Row(spec=spec, result=result, records=tuple(records), study=first.study)


def _cost(record: Record) -> Cost:
    return Cost(**record.model_dump(include={"steps", "forwards", "gradients", "hvps", "train_seconds"}))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInputError([Problem(f"is larger than {LARGEST_FILE:,} bytes", file=str(path))])
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise BadInputError([Problem(f"cannot be read: {error.strerror}", file=str(path))]) from error
    except UnicodeDecodeError as error:
        raise BadInputError([Problem("is not UTF-8 text", file=str(path))]) from error


def _from_csv(path: Path, text: str) -> tuple[list[Record], list[int | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found: list[Record] = []
    lines: list[int | None] = []
    problems: list[Problem] = []
    try:
        for values in reader:
            try:
                texts = {name: text for name, text in values.items() if text}
                # Where a line has too many columns, the rest of it is a list.
                texts |= {name: as_written(text) for name, text in texts.items() if isinstance(text, str)}
                found.append(Record.model_validate(texts))
                lines.append(reader.line_num)
            except ValidationError as error:
                problems += invalid(error, str(path), reader.line_num)
    except csv.Error as error:
        problems.append(Problem(f"is not CSV: {error}", file=str(path), line=reader.line_num))
    if not problems and not found:
        problems.append(Problem(f"has no records; the first line names the columns: {', '.join(Record.model_fields)}",
                                file=str(path)))  # fmt: skip
    if problems:
        raise BadInputError(problems)
    return found, lines


def _repetitions(found: Sequence[tuple[Path, int | None, Record]]) -> list[Problem]:
    """Return a problem for each value that is there twice."""
    seen: set[tuple[object, ...]] = set()
    problems = []
    for path, line, record in found:
        what = (record.method, record.workload, record.seed, record.metric, record.at, record.evaluation)
        if what in seen:
            named = f"{record.method} on {record.workload}, seed {record.seed}: {record.metric} ({record.at})"
            problems.append(Problem("there are two records of one value", file=str(path), line=line, value=named))
        seen.add(what)
    return problems
