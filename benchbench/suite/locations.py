"""Locations of the parts of a suite in its file, looked up when something is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from benchbench.problems import SourceLocation
from benchbench.suite.schema import MethodEntry
from benchbench.suite.yaml_source import Document, FieldPath

_OPTIONAL = {
    ("methods", "optimizer"),
    ("methods", "create_graph"),
    ("workloads", "workload"),
    ("workloads", "synthetic"),
}
"""Settings that problems name even where an entry does not have them."""


@dataclass(frozen=True)
class Variant:
    """A method with one combination of its swept values: a row of the tables.

    Attributes:
        label: Its label in the tables.
        base: The method's label in the file.
        entry: What the file says, defaults filled in.
        swept: The combination.
        paths: Where each swept value is written.
    """

    label: str
    base: str
    entry: MethodEntry
    swept: Mapping[str, JsonValue] = field(default_factory=dict)
    paths: Mapping[str, FieldPath] = field(default_factory=dict)


def entry_path(document: Document, kind: str, label: str, key: str) -> FieldPath:
    """Return the path of a key of an entry: in the entry or, when it is not there, in the defaults."""
    own: FieldPath = (kind, label, key)
    default: FieldPath = ("defaults", kind, key)
    return default if not document.holds(own) and document.holds(default) else own


@dataclass(frozen=True)
class SuiteLocations:
    """Finds the parts of a suite in its file.

    Attributes:
        document: The file, its short forms spelled out.
        variants: The rows of the tables, by label.
    """

    document: Document
    variants: Mapping[str, Variant]

    def find(self, *, method: str = "", workload: str = "", name: str = "") -> SourceLocation:
        """Return the location of a setting or, where it is not written, of its entry or the whole suite."""
        variant = self.variants.get(method)
        names = [name, name.rpartition(".")[0]] if "." in name else [name]  # `model.depth` may be within `model`
        paths = [path for each in names for path in self._settings(variant, workload, each)]
        paths += [("methods", variant.base if variant else ""), ("workloads", workload)]
        written = (path for path in paths if path[::2] in _OPTIONAL or self.document.holds(path))
        return self.document.location(next(written, ()))

    def _settings(self, variant: Variant | None, workload: str, name: str) -> Iterator[FieldPath]:
        """Yield the paths at which a setting can be written, the most specific ones first."""
        document = self.document
        outer, _, inner = name.partition(".")
        if variant is not None:
            override = (*entry_path(document, "methods", variant.base, "overrides"), workload)
            yield from ((*override, "search", name), (*override, name))
            if name in variant.paths:
                yield variant.paths[name]
            yield (*entry_path(document, "methods", variant.base, "search"), name)
            yield entry_path(document, "methods", variant.base, name)
            if outer == "schedule":
                yield from ((*override, outer, inner), ("methods", variant.base, outer, inner))
        if outer == "diagnostics":
            for key in ("record", "state"):
                listed = enumerate(document.value((outer, key)) or ())
                yield from ((outer, key, index) for index, each in listed if each == inner)
        elif outer == "schedule":
            sources: list[FieldPath] = [("workloads", workload), ("defaults", "methods"), ("defaults", "workloads")]
            yield from ((*source, outer, inner) for source in sources)
        elif workload:
            yield entry_path(document, "workloads", workload, name)
            yield (*entry_path(document, "workloads", workload, outer), inner)
