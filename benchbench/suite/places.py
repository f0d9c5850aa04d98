"""Where in its file each part of a suite stands, so that whatever turns out to be wrong with it is said with a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from benchbench.problems import Place
from benchbench.suite.schema import MethodEntry, OverrideEntry, SuiteFile, WorkloadEntry
from benchbench.suite.yaml_source import Document, FieldPath
from benchbench.values import Method, Origin


@dataclass(frozen=True)
class TableRow:
    """A row of the tables: a method with one combination of its swept values.

    Attributes:
        label: Its label in the tables.
        base: The method's label in the file.
        entry: What the file says, defaults filled in.
        swept: The combination.
        paths: Where each swept value stands.
    """

    label: str
    base: str
    entry: MethodEntry
    swept: Mapping[str, JsonValue] = field(default_factory=dict)
    paths: Mapping[str, FieldPath] = field(default_factory=dict)

    @property
    def method(self) -> Method:
        """The row as the suite knows it."""
        category = self.entry.category or ""
        return Method(
            label=self.label,
            category=category,
            base=self.base if self.swept else "",
            swept=dict(self.swept),
            tuned=self.entry.tuned,
            tuned_on=self.entry.tuned_on,
        )


class Places:
    """Notes where the settings of rows and workloads stand.

    Args:
        document: The suite file.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._places: dict[tuple[str, str, str], Place] = {("", "", ""): document.place(())}

    def origin(self) -> Origin:
        """Return what has been noted."""
        return Origin(self._places)

    def path(self, kind: str, label: str, key: str) -> FieldPath:
        """Return where a key of an entry stands: in the entry or, when it is not there, in the defaults."""
        own: FieldPath = (kind, label, key)
        default: FieldPath = ("defaults", kind, key)
        places = self._document.places
        return default if own not in places and default in places else own

    def note_diagnostics(self, file: SuiteFile) -> None:
        """Note the names under `diagnostics`."""
        for key in ("record", "state"):
            for index, name in enumerate(getattr(file.diagnostics, key, ())):
                self._note("", "", f"diagnostics.{name}", ("diagnostics", key, index))

    def note_workload(self, file: SuiteFile, label: str, entry: WorkloadEntry) -> None:
        """Note the settings of a workload.

        Args:
            file: The suite file.
            label: The workload's label.
            entry: What it says, defaults filled in.
        """
        self._note("", label, "", ("workloads", label))
        for name in (
            "workload",
            "epochs",
            "batch_size",
            "synthetic",
            *_said(entry),
            *entry.execution,
            *entry.parameters,
        ):
            self._note("", label, name, self.path("workloads", label, name))
        for name, value in entry.parameters.items():
            for inner in value if isinstance(value, dict) else ():
                self._note("", label, f"{name}.{inner}", (*self.path("workloads", label, name), inner))
        defaults, own = file.defaults, file.workloads[label].schedule
        for name in {**defaults.workloads.schedule, **defaults.methods.schedule, **own}:
            if name in own:
                start: FieldPath = ("workloads", label)
            else:
                start = ("defaults", "methods" if name in defaults.methods.schedule else "workloads")
            self._note("", label, f"schedule.{name}", (*start, "schedule", name))

    def note_method(self, row: TableRow, own_schedule: Iterable[str]) -> None:
        """Note the settings of a row.

        Args:
            row: The row.
            own_schedule: The hyperparameters whose schedule stands in the method's own entry.
        """
        self._note(row.label, "", "", ("methods", row.base))
        for name in ("optimizer", "create_graph", *_said(row.entry), *row.entry.execution, *row.entry.parameters):
            self._note(row.label, "", name, self.path("methods", row.base, name))
        for name in row.entry.search:
            self._note(row.label, "", name, (*self.path("methods", row.base, "search"), name))
        for name, path in row.paths.items():
            self._note(row.label, "", name, path)
        for name in own_schedule:
            self._note(row.label, "", f"schedule.{name}", ("methods", row.base, "schedule", name))
        overrides = self.path("methods", row.base, "overrides")
        for workload, override in row.entry.overrides.items():
            for name in (*_said(override), *override.execution, *override.parameters):
                self._note(row.label, workload, name, (*overrides, workload, name))
            for name in override.search:
                self._note(row.label, workload, name, (*overrides, workload, "search", name))
            for name in override.schedule:
                self._note(row.label, workload, f"schedule.{name}", (*overrides, workload, "schedule", name))

    def _note(self, method: str, workload: str, name: str, path: FieldPath) -> None:
        self._places[method, workload, name] = self._document.place(path)


def _said(entry: WorkloadEntry | MethodEntry | OverrideEntry) -> tuple[str, ...]:
    # Three entries can have this one; a place in the file has whichever does.
    return () if entry.leave_out is None else ("leave_out",)
