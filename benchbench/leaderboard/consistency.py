"""Consistency checks of a submission: recomputes whatever its suite, epochs and counts determine.

What they do not determine is a claim that only `verify` can look into: the metrics themselves within their bounds (a
changed one has to be changed in every place where it is repeated), seconds, memory, operations, the environment, and
counts beyond the least that the steps need.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from benchbench.leaderboard.submission import StoredRun
from benchbench.problems import Problem, shorten
from benchbench.reporting.metrics import impossible
from benchbench.suite.schema import MethodEntry, SuiteFile, WorkloadEntry
from benchbench.values import Cost, EpochRecord, Metrics, Protocol, RunResult, RunSpec, Suite, canonical_json

LARGEST_COUNT = 2**53
"""Counts beyond this are not exact in the floating-point numbers that tables are made of."""

_ROUNDING = 1e-12
"""Relative tolerance between two sums of the same floating-point numbers."""

_READ_AT_THE_END: dict[Protocol, tuple[str, ...]] = {"holdout": ("test/",), "paper": ()}
"""Prefixes of metrics that are evaluated once, after training."""


def problems(suite: Suite, runs: Mapping[str, StoredRun], file: str) -> Iterator[Problem]:
    """Yield what is wrong with a submission: values that no suite can have, what is missing, and what disagrees.

    Args:
        suite: The suite.
        runs: What its runs left, by key.
        file: What the problems name as their origin.
    """
    wrong = [*_suite_problems(suite, file)]
    yield from wrong
    if wrong:
        return
    specs = {spec.key: spec for spec in suite.specs}
    for key, spec in specs.items():
        run = runs.get(key)
        found = iter(["has no result"]) if run is None else _problems_of_run(spec, run)
        for message in itertools.islice(found, 1):
            yield Problem(message, file=file, field=called(spec))
    for key in runs.keys() - specs.keys():
        yield Problem("is a run that the suite does not ask for", file=file, field=f"runs/{key}")
    ended = [(spec, runs[key]) for key, spec in specs.items() if key in runs and runs[key].result.conclusive]
    for spec, message in _differences(ended):
        yield Problem(message, file=file, field=called(spec))


def called(spec: RunSpec) -> str:
    """Return a run in words."""
    return f"{spec.method} on {spec.workload_label}, seed {spec.seed}"


# The suite


def _suite_problems(suite: Suite, file: str) -> Iterator[Problem]:
    """Yield which values no suite file could have given, and whether the runs are not those that the suite asks for."""
    content: dict[str, Any]
    labels = {"methods": [method.label for method in suite.methods], "workloads": list(suite.workloads)}
    content = {
        "name": suite.name,
        "title": suite.title,
        "seeds": list(suite.seeds),
        "protocol": suite.protocol,
        "tables": list(suite.tables),
        "workloads": {
            label: {"target": suite.targets.get(label), "held_out_of": suite.held_out.get(label)}
            for label in labels["workloads"]
        },
        "methods": {method.label: {"category": method.category} for method in suite.methods},
    }
    yield from _invalid(SuiteFile, content, file, "")
    for name, given in labels.items():
        for label, count in Counter(given).items():
            if count > 1:
                yield Problem("is listed twice", file=file, field=name, value=label)
    for name, of in (("targets", suite.targets), ("held_out", suite.held_out), ("headings", suite.headings)):
        for label in of.keys() - set(suite.workloads):
            yield Problem("is no workload of the suite", file=file, field=name, value=label)
    expected = {(w, m, seed) for w in labels["workloads"] for m in labels["methods"] for seed in suite.seeds}
    specs = {(spec.workload_label, spec.method, spec.seed) for spec in suite.specs}
    if specs != expected or len(specs) != len(suite.specs):
        yield Problem("the runs are not those of each method on each workload with each seed", file=file, field="specs")
    seen: set[str] = set()
    for spec in suite.specs:
        execution = {name: value for name, value in spec.execution.model_dump().items() if value is not None}
        entry = {"epochs": spec.epochs, "batch_size": spec.batch_size, "memory": spec.memory, **execution}
        content = {"workload": spec.workload.target, **entry, "synthetic": spec.synthetic}
        if (text := canonical_json(content)) not in seen:
            seen.add(text)
            yield from _invalid(WorkloadEntry, content, file, called(spec))
        if (text := canonical_json([spec.method, spec.optimizer.target])) not in seen:
            seen.add(text)
            yield from _invalid(MethodEntry, {"optimizer": spec.optimizer.target}, file, called(spec))
        if spec.protocol != suite.protocol:
            yield Problem("is not the protocol of the suite", file=file, field=called(spec), value=spec.protocol)


def _invalid(
    model: type[SuiteFile | WorkloadEntry | MethodEntry], content: Any, file: str, at: str
) -> Iterator[Problem]:
    try:
        model.model_validate(content)
    except ValidationError as error:
        for details in error.errors():
            field = ".".join(filter(None, (at, *map(str, details["loc"]))))
            yield Problem(
                details["msg"].removeprefix("Value error, "),
                file=file,
                field=field,
                value=shorten(str(details["input"])),
            )


# One run


def _problems_of_run(spec: RunSpec, run: StoredRun) -> Iterator[str]:
    """Yield what is wrong with a run; each check relies on what those before it have found to be right."""
    result, records = run.result, run.records
    if not result.conclusive:
        yield f"did not come to a result: {result.outcome}"
    elif result.outcome == "finished" and result.epochs != spec.epochs:
        yield f"finished after {result.epochs} of {spec.epochs} epochs"
    elif not 1 <= result.epochs <= spec.epochs:
        yield f"ended in epoch {result.epochs} of {spec.epochs}"
    elif not result.has_all_of(records):
        yield f"has not the metrics of each of its {result.epochs} epochs"
    else:
        yield from _wrong_values(result, records)
        yield from _wrong_costs(result, records)
        yield from _wrong_outcome(spec, result, records)
        # With what was measured since the last epoch.
        if differing := _not_of(result.final, records[-1].metrics, ("sharpness/", *_READ_AT_THE_END[spec.protocol])):
            yield f"the last epoch and the result differ in {differing}"
        yield from _wrong_best(spec, result, records)


def _wrong_values(result: RunResult, records: Sequence[EpochRecord]) -> Iterator[str]:
    """Yield which numbers no run can have."""
    for cost in (result.cost, *(record.cost for record in records)):
        amounts = [amount for amount in vars(cost).values() if amount is not None]
        if not all(0 <= amount <= LARGEST_COUNT for amount in amounts) or cost.warm_up_steps > cost.steps:
            yield "a cost is negative or not finite"
    memory = [amount for amount in vars(result.memory).values() if amount is not None]
    if not all(0 <= amount <= LARGEST_COUNT for amount in memory):
        yield "an amount of memory is negative or not finite"
    if result.gc_measured is not None and not 0 < result.gc_measured <= LARGEST_COUNT:
        yield f"{result.gc_measured} gradients per step cannot have been measured"
    for metrics in (result.final, result.best, *(record.metrics for record in records)):
        for name, value in metrics.items():
            if reason := impossible(name, value):
                yield reason


def _wrong_costs(result: RunResult, records: Sequence[EpochRecord]) -> Iterator[str]:
    """Yield what is wrong with the counts: each epoch has as many steps, each step at least a loss and a gradient."""
    if records[-1].cost != result.cost:
        yield "the last epoch and the result differ in cost"
    each = records[0].cost.steps
    for record, before in zip(records, (Cost(), *(record.cost for record in records)), strict=False):
        steps = record.cost.steps - before.steps
        is_broken_off = result.outcome == "diverged" and record.epoch == result.epochs and steps < each
        if steps != each and not (is_broken_off and steps >= 0):
            yield f"epoch {record.epoch} has {steps} steps and epoch 1 has {each}"
        if not steps and result.outcome == "finished":
            yield f"epoch {record.epoch} has no steps"
        if _seconds(record.cost) < _seconds(before) * (1 - _ROUNDING):
            yield f"epoch {record.epoch} ends before it begins: at {_seconds(record.cost)} s of training"
        for name, least in (("forwards", steps), ("gradients", steps), ("hvps", 0)):
            more = getattr(record.cost, name) - getattr(before, name)
            if more < least:
                yield f"{more} {name} in the {steps} steps of epoch {record.epoch}"


def _seconds(cost: Cost) -> float:
    """Return the time of training so far; how much of it was warm-up is told better with every epoch."""
    return cost.train_seconds + (cost.warm_up_seconds or 0.0)


def _wrong_outcome(spec: RunSpec, result: RunResult, records: Sequence[EpochRecord]) -> Iterator[str]:
    """Yield where the losses speak against the outcome: a run ends with the first epoch whose loss is not finite."""
    for record in records:
        losses = [record.metrics.get(name, 0.0) for name in ("train/loss", f"{_judged(spec)}/loss")]
        lost = not all(map(math.isfinite, losses))
        if lost != (result.outcome == "diverged" and record.epoch == result.epochs):
            yield f"{result.outcome}, and the losses of epoch {record.epoch} are {'not ' if lost else ''}finite"


def _wrong_best(spec: RunSpec, result: RunResult, records: Sequence[EpochRecord]) -> Iterator[str]:
    """Yield how the best result is not that of the epoch that the selection metric chooses."""
    name, since = result.selection_metric, _READ_AT_THE_END[spec.protocol]
    if name.partition("/")[0] != _judged(spec) or not all(name in record.metrics for record in records):
        yield f"{name or 'no metric'} cannot have chosen the best epoch"
        return
    scores = [record.metrics[name] for record in records]
    signs = (1, -1) if result.higher_is_better is None else (1,) if result.higher_is_better else (-1,)
    ranks = [[-math.inf if math.isnan(score) else sign * score for score in scores] for sign in signs]
    # The first epoch with the best score; NaN is the worst.
    if result.best_epoch not in {1 + found.index(max(found)) for found in ranks}:
        yield f"epoch {result.best_epoch} of {result.epochs} does not have the best {name}"
        return
    if differing := _not_of(result.best, records[result.best_epoch - 1].metrics, since):
        yield f"epoch {result.best_epoch} and the best result differ in {differing}"
    read = [{name for name in part if name.startswith(since)} for part in (result.final, result.best)]
    if read[0] != read[1]:
        yield f"only one of the final and the best result has {', '.join(sorted(read[0] ^ read[1]))}"
    if result.best_epoch == result.epochs and (differing := _differing(result.best, result.final, read[0])):
        yield f"the last epoch was the best, and the two results differ in {differing}"


def _not_of(given: Metrics, recorded: Metrics, since: tuple[str, ...]) -> str:
    """Return the names of metrics that are not as recorded, or that were neither recorded nor measured since."""
    return _differing(given, recorded, [*recorded, *(name for name in given if not name.startswith(since))])


def _differing(one: Metrics, other: Metrics, names: Iterable[str]) -> str:
    """Return the names under which two do not hold the same number; NaN is the same as NaN."""
    return ", ".join(sorted({name for name in names if str(one.get(name)) != str(other.get(name))}))


def _judged(spec: RunSpec) -> str:
    return "validation" if spec.protocol == "holdout" else "test"


# Several runs


def _differences(ended: Iterable[tuple[RunSpec, StoredRun]]) -> Iterator[tuple[RunSpec, str]]:
    """Yield in what a run differs from most of those on the same data in batches of the same size."""
    groups: dict[str, list[tuple[RunSpec, StoredRun]]] = defaultdict(list)
    for spec, run in ended:
        data = [spec.workload.model_dump(mode="json"), spec.batch_size, spec.synthetic, spec.execution.drop_last]
        groups[canonical_json(data)].append((spec, run))
    for group in groups.values():
        shared = [(spec, _shared(run)) for spec, run in group]
        for what in shared[0][1]:
            usual = Counter(found[what] for _, found in shared if found[what] is not None).most_common(1)
            for spec, found in shared:
                if found[what] is not None and found[what] != usual[0][0]:
                    yield spec, f"{what}: {found[what]}, and {usual[0][0]} in other runs on the same data"


def _shared(run: StoredRun) -> dict[str, int | str | None]:
    """Return what must be equal for all runs on the same data, `None` where the run does not tell it."""
    result, records = run.result, run.records
    finished = result.outcome == "finished"
    measured = sorted(name for name in result.final if not name.startswith(("sharpness/", "schedule/")))
    return {
        "steps per epoch": records[0].cost.steps if records and (finished or len(records) > 1) else None,
        "metrics": ", ".join(measured) if finished else None,
        "metric that chooses the best epoch": result.selection_metric,
        "what is better": {True: "higher", False: "lower", None: None}[result.higher_is_better],
    }
