"""From a suite file to its runs: defaults, overrides and sweeps applied, every run spelled out."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from benchbench.problems import Problem, SourceMap, nearest_name
from benchbench.suite import searching
from benchbench.suite.file_targets import FileTargets
from benchbench.suite.locations import SuiteLocations, Variant, entry_path
from benchbench.suite.schema import MethodEntry, OverrideEntry, SuiteFile, WorkloadEntry, check_label
from benchbench.suite.validation import value_text
from benchbench.suite.yaml_source import Document, FieldPath
from benchbench.values import Component, Execution, Heading, Method, RunSpec, Schedule, Suite
from benchbench.values.specs import unfolded

MOST_RUNS = 100_000

_Entry = TypeVar("_Entry", WorkloadEntry, MethodEntry)


class Expansion:
    """Spells out the runs of a suite file.

    Args:
        file: The suite file, valid in itself.
        document: The document that it was read from.
        folder: Where file targets start.

    Attributes:
        problems: What is wrong with the suite, once it is spelled out.
    """

    def __init__(self, file: SuiteFile, document: Document, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._document = document
        self._files = FileTargets(folder, self._complain)
        self._workloads = {label: _filled(entry, file.defaults.workloads) for label, entry in file.workloads.items()}
        self._methods = {label: _filled(entry, file.defaults.methods) for label, entry in file.methods.items()}
        self._path = functools.partial(entry_path, document)

    def suite(self) -> Suite:
        """Return the suite; what is wrong with it is added to `problems`."""
        file = self._file
        self._require("workloads", self._workloads, ("epochs", "batch_size"))
        self._require("methods", self._methods, ("optimizer",))
        self._check_overrides()
        self._check_held_out()
        searching.check(file, self._methods, self._complain)
        rows = self._rows()
        self._check_labels(rows)
        return Suite(
            name=file.name,
            title=file.title or file.name,
            protocol=file.protocol,
            seeds=tuple(file.seeds),
            methods=tuple(map(_method, rows)),
            workloads=tuple(self._workloads),
            headings={label: _heading(label, entry) for label, entry in self._workloads.items()},
            targets={label: entry.target for label, entry in self._workloads.items() if entry.target is not None},
            held_out={label: entry.held_out_of for label, entry in self._workloads.items() if entry.held_out_of},
            exclusive=file.exclusive,
            mixed_devices=file.mixed_devices,
            robust_within=file.robust_within,
            baseline=self._baseline(rows),
            tables=tuple(file.tables),
            tuning=file.tuning,
            spaces=searching.spaces(self._methods, self._workloads),
            specs=tuple(self._specs(rows)),
            engine_options={"slurm": file.slurm, "ray": file.ray.model_dump(exclude_none=True)},
        ).with_source(SourceMap(SuiteLocations(self._document, {row.label: row for row in rows}).find))

    # Runs

    def _rows(self) -> list[Variant]:
        """Return the methods with their sweeps expanded; none when that would be too many runs."""
        counts = [math.prod(map(len, entry.sweep.values())) for entry in self._methods.values()]
        runs = sum(counts) * len(self._workloads) * len(self._file.seeds)
        if runs > MOST_RUNS:
            self._complain(("methods",), f"{runs:,} runs in all; at most {MOST_RUNS:,} are allowed")
            return []
        return [row for label, entry in self._methods.items() for row in self._combinations(label, entry)]

    def _combinations(self, label: str, entry: MethodEntry) -> Iterator[Variant]:
        if not entry.sweep:
            yield Variant(label, label, entry)
            return
        sweep = self._path("methods", label, "sweep")
        for combination in itertools.product(*(enumerate(values) for values in entry.sweep.values())):
            chosen = dict(zip(entry.sweep, combination, strict=True))
            swept = {name: value for name, (_, value) in chosen.items()}
            paths: dict[str, FieldPath] = {name: (*sweep, name, index) for name, (index, _) in chosen.items()}
            texts = {name: each if isinstance(each, str) else value_text(each) for name, each in swept.items()}
            settings = ", ".join(f"{name}={text}" for name, text in texts.items())
            yield Variant(f"{label} ({settings})", label, entry, swept, paths)

    def _specs(self, rows: list[Variant]) -> Iterator[RunSpec]:
        for label, row in itertools.product(self._workloads, rows):
            spec = self._spec(label, row)
            for seed in self._file.seeds:
                # Operations do not depend on the seed: once is enough.
                first = seed == self._file.seeds[0]
                measure = tuple(name for name in self._file.measure if first or name != "flops")
                yield spec.model_copy(update={"seed": seed, "measure": measure})

    def _spec(self, label: str, row: Variant) -> RunSpec:
        workload = self._workloads[label]
        override = row.entry.overrides.get(label, OverrideEntry())
        parameters = unfolded({**row.entry.parameters, **row.swept, **override.parameters})
        return RunSpec(
            suite=self._file.name,
            method=row.label,
            workload_label=label,
            workload=self._component("workloads", label, "workload", workload.workload or label, workload.parameters),
            optimizer=self._component("methods", row.base, "optimizer", row.entry.optimizer or "", parameters),
            create_graph=row.entry.create_graph,
            leave_out=tuple(
                dict.fromkeys(name for each in (workload, row.entry, override) for name in each.leave_out or ())
            ),
            roles=workload.roles or {},
            no_decay=tuple(
                next((each for one in (override, row.entry, workload) if (each := one.no_decay) is not None), ())
            ),
            epochs=override.epochs or row.entry.epochs or workload.epochs or 1,
            batch_size=workload.batch_size or 1,
            schedule=self._schedule(label, row.base, override),
            protocol=self._file.protocol,
            synthetic=workload.synthetic or False,
            execution=Execution(**{**workload.execution, **row.entry.execution, **override.execution}),
            seed=0,
            timeout=self._file.timeout,
            memory=override.memory or row.entry.memory or workload.memory,
            checkpoint_minutes=self._file.checkpoint_minutes,
            sharpness=self._file.sharpness,
            diagnostics=self._file.diagnostics,
        )

    def _schedule(self, workload: str, method: str, override: OverrideEntry) -> dict[str, Schedule]:
        # Merged by hyperparameter, the more specific one last.
        return {
            **self._file.defaults.workloads.schedule,
            **self._file.defaults.methods.schedule,
            **self._file.workloads[workload].schedule,
            **self._file.methods[method].schedule,
            **override.schedule,
        }

    def _component(
        self, kind: str, label: str, key: str, target: str, parameters: Mapping[str, JsonValue]
    ) -> Component:
        # What its parameters name, such as models and what a wrapper wraps, can come from files as well.
        of_parameter = functools.partial(self._path, kind, label)
        return self._files.component(target, of_parameter(key), parameters, of_parameter)

    # Checks

    def _require(self, kind: str, entries: Mapping[str, WorkloadEntry | MethodEntry], keys: tuple[str, ...]) -> None:
        for label, entry in entries.items():
            for key in keys:
                path = self._path(kind, label, key)
                # A value that stands in the file and is not here has been complained about already.
                if getattr(entry, key) is None and self._document.value(path) is None:
                    self._complain((kind, label, key), "is required")

    def _check_overrides(self) -> None:
        for method, entry in self._methods.items():
            path = self._path("methods", method, "overrides")
            for workload, override in entry.overrides.items():
                if workload not in self._workloads:
                    message = f"unknown workload; allowed: {', '.join(self._workloads)}"
                    self._complain((*path, workload), message, nearest=nearest_name(workload, self._workloads))
                for name in override.parameters:
                    if name in entry.sweep:
                        self._complain((*path, workload, name), "is swept: it cannot be overridden as well")

    def _check_held_out(self) -> None:
        for label, entry in self._workloads.items():
            base = entry.held_out_of
            if base is None:
                continue
            allowed = [each for each, other in self._workloads.items() if each != label and not other.held_out_of]
            path = self._path("workloads", label, "held_out_of")
            if base not in allowed:
                message = f"must be a workload that is not held out itself; allowed: {', '.join(allowed)}"
                self._complain(path, message, base, nearest_name(base, allowed))
            elif (entry.target is None) != (self._workloads[base].target is None):
                self._complain(path, f"{label} and {base} must both have a target, or neither", base)

    def _check_labels(self, rows: list[Variant]) -> None:
        seen: set[str] = set()
        for row in rows:
            path = self._path("methods", row.base, "sweep") if row.swept else ("methods", row.base)
            if row.label in seen:
                self._complain(path, "two methods have the same label", row.label)
            seen.add(row.label)
            try:
                check_label(row.label)
            except ValueError as error:
                self._complain(path, str(error), row.label)

    def _baseline(self, rows: list[Variant]) -> str:
        """Return the label of the method that others are compared with, empty where the suite names none."""
        named, labels = self._file.baseline or "", [row.label for row in rows]
        if named and labels and named not in labels:
            message = f"unknown method; allowed: {', '.join(labels)}"
            self._complain(("baseline",), message, named, nearest_name(named, labels))
        return named

    def _complain(self, path: FieldPath, message: str, value: str = "", nearest: str | None = None) -> None:
        problem = self._document.problem(path, message, value, nearest)
        if problem not in self.problems:
            self.problems.append(problem)


def _method(row: Variant) -> Method:
    """Return a row as the suite knows it."""
    return Method(
        label=row.label,
        category=row.entry.category or "",
        base=row.base if row.swept else "",
        swept=dict(row.swept),
        tuned=row.entry.tuned,
        tuned_on=row.entry.tuned_on,
    )


def _heading(label: str, entry: WorkloadEntry) -> Heading:
    """Return what a workload is called in tables: under its group, without repeating the group's name."""
    before, _, after = (part.strip() for part in label.partition(" / "))
    group = (before if after else "") if entry.group is None else entry.group
    rest = label.removeprefix(group).lstrip(" /:")
    follows = label.startswith((f"{group} ", f"{group}:")) and rest
    return Heading(label=rest if follows else label, group=group, metrics=tuple(entry.metrics or ()))


def _filled(entry: _Entry, defaults: _Entry) -> _Entry:
    """Return the entry with what it does not say taken from the defaults (schedules are merged elsewhere)."""
    said = {
        **{name: getattr(defaults, name) for name in sorted(defaults.model_fields_set)},
        **{name: getattr(entry, name) for name in sorted(entry.model_fields_set)},
    }
    return type(entry).model_construct(**said)
