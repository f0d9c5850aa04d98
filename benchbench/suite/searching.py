"""Search spaces of a suite file: what is searched where, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from benchbench.problems import nearest_name
from benchbench.suite.schema import MethodEntry, OverrideEntry, SuiteFile
from benchbench.suite.validation import value_text
from benchbench.suite.yaml_source import FieldPath
from benchbench.values import Space, canonical_json
from benchbench.values.tuning import MOST_SEARCHED

Complain = Callable[..., None]
"""Takes a path, a message and, where there are any, the value at that path and the nearest allowed name."""


def spaces(
    methods: Mapping[str, MethodEntry], workloads: Mapping[str, object]
) -> dict[str, dict[str, dict[str, Space]]]:
    """Return the search spaces of each workload and method, by hyperparameter; pairs that search nothing are left out.

    What a method says for one workload comes before what it says for all; a value that it fixes there is not searched.
    """
    found = {
        workload: {
            label: space for label, entry in methods.items() if (space := _space(entry, entry.overrides.get(workload)))
        }
        for workload in workloads
    }
    return {workload: here for workload, here in found.items() if here}


def _space(entry: MethodEntry, override: OverrideEntry | None) -> dict[str, Space]:
    if override is None:
        return dict(entry.search)
    merged = {**entry.search, **override.search}
    fixed = {name: value for name, value in override.parameters.items() if name not in override.search}
    return {
        name: space.model_copy(update={"when": {each: v for each, v in space.when.items() if each not in fixed}})
        for name, space in merged.items()
        if name not in fixed
        and all(canonical_json(fixed.get(each, v)) == canonical_json(v) for each, v in space.when.items())
    }


def check(file: SuiteFile, methods: Mapping[str, MethodEntry], complain: Complain) -> None:
    """Complain about search spaces that contradict each other or the rest of the suite."""
    for label, entry in methods.items():
        if entry.sweep and (entry.search or any(override.search for override in entry.overrides.values())):
            path: FieldPath = ("methods", label, "search")
            complain(path, "a method is either swept or searched")
        for path, space in _declared(label, entry):
            for name in space.keys() & MethodEntry.model_fields.keys():
                written = f"is a key of the suite: a hyperparameter of that name is written {name}_"
                complain((*path, name), written)
            _check_conditions(path, space, complain)
        for workload, override in entry.overrides.items():
            for name in override.search.keys() & override.parameters.keys():
                path = ("methods", label, "overrides", workload, name)
                complain(path, "is searched on this workload: it cannot be fixed as well")
    _check_seeds(file, complain)


def _declared(label: str, entry: MethodEntry) -> Iterator[tuple[FieldPath, dict[str, Space]]]:
    """Yield every search space with its place, what holds for all workloads included in those of one."""
    yield ("methods", label, "search"), dict(entry.search)
    for workload, override in entry.overrides.items():
        if override.search:
            yield ("methods", label, "overrides", workload, "search"), _space(entry, override)


def _check_conditions(path: FieldPath, space: Mapping[str, Space], complain: Complain) -> None:
    if len(space) > MOST_SEARCHED:
        complain(path, f"at most {MOST_SEARCHED} hyperparameters can be searched")
    before: dict[str, tuple[object, ...]] = {}
    for name, one in space.items():
        for parent, value in one.when.items():
            where = (*path, name, "when", parent)
            if parent not in before:
                allowed = ", ".join(before) or "none"
                message = f"must be a hyperparameter with choices that stands before {name}; allowed: {allowed}"
                complain(where, message, parent, nearest_name(parent, before))
            elif canonical_json(value) not in map(canonical_json, before[parent]):
                message = f"is no choice of {parent}; allowed: {', '.join(map(value_text, before[parent]))}"
                complain(where, message, value_text(value))
        if one.choices is not None:
            before[name] = one.choices


def _check_seeds(file: SuiteFile, complain: Complain) -> None:
    """Complain about seeds that have a part in the choice as well as in the result."""
    if file.tuning is None:
        return
    for path, seeds in (
        (("tuning", "seeds"), file.tuning.seeds),
        (("tuning", "finalists", "seeds"), file.tuning.finalists.seeds),
    ):
        for seed in sorted(set(seeds) & set(file.seeds)):
            complain(path, "the winner is trained on fresh seeds: this one is a seed of the suite", str(seed))
