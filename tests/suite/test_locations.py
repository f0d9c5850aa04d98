"""Lines of problems: wherever a value is broken, the problem names the line of its key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench import suite as suites
from benchbench.problems import SourceLocation
from tests.suite.texts import Path, Text

SCHEDULES = st.sampled_from([{"rho": {"name": "cosine", "end_factor": 0.5}}, {"lr": {"name": "linear"}}, {}])
SETTINGS: dict[str, st.SearchStrategy[Any]] = {"clip_norm": st.just(1.0), "schedule": SCHEDULES, "x": st.just(1)}
OVERRIDES = st.fixed_dictionaries({"w": st.fixed_dictionaries({}, optional=SETTINGS)})
METHOD = st.fixed_dictionaries(
    {"optimizer": st.just("one")}, optional={**SETTINGS, "category": st.just("First"), "overrides": OVERRIDES}
)
WORKLOAD = st.fixed_dictionaries(
    {"epochs": st.just(2), "batch_size": st.just(8)}, optional={**SETTINGS, "metrics": st.just(["a/b"])}
)
SUITES = st.fixed_dictionaries(
    {
        "name": st.just("small"),
        "seeds": st.just([0, 1]),
        "workloads": st.fixed_dictionaries({"w": WORKLOAD}, optional={"v: #": WORKLOAD}),
        "methods": st.fixed_dictionaries({"A": METHOD}, optional={"B.c": METHOD}),
    },
    optional={
        "defaults": st.fixed_dictionaries({}, optional={"methods": METHOD, "workloads": WORKLOAD}),
        "sharpness": st.just({"trace": {"products": 3}, "radii": [0.1, 0.2]}),
        "tuning": st.just({"budget": {"trials": 3}, "finalists": {"seeds": [7, 8]}}),
        "tables": st.just(["accuracy", "cost"]),
    },
)  # fmt: skip


def paths(value: Any, path: Path = ()) -> list[Path]:
    """Return the paths of all scalars."""
    if not isinstance(value, dict | list):
        return [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [each for key, inner in pairs for each in paths(inner, (*path, key))]


def changed(value: Any, path: Path, new: object) -> Any:
    """Return data with another value at a path."""
    if not path:
        return new
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    inner = {key: changed(each, path[1:], new) if key == path[0] else each for key, each in pairs}
    return inner if isinstance(value, dict) else list(inner.values())


@given(st.data())
def test_a_broken_value_is_found_on_the_line_of_its_key(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    valid = data.draw(SUITES)
    path = data.draw(st.sampled_from(paths(valid)))
    text = Text(changed(valid, path, -1 if path[0] == "seeds" else float("inf")), data.draw)
    file = tmp_path_factory.getbasetemp() / "broken.yaml"
    file.write_bytes(str(text).replace("Infinity", ".inf").encode())
    _, problems = suites.read(file)
    assert (str(file), text.lines[path], ".".join(map(str, path))) in [(p.file, p.line, p.field) for p in problems]
    assert {problem.line for problem in problems} == {text.lines[path]}


@given(st.data())
def test_a_setting_is_found_where_the_value_that_counts_is_written(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    text = Text(data.draw(SUITES), data.draw)
    file = tmp_path_factory.getbasetemp() / "valid.yaml"
    file.write_bytes(str(text).encode())
    suite = suites.load(file)
    for spec in suite.specs:
        own: list[Path] = [("methods", spec.method, "overrides", "w")] if spec.workload_label == "w" else []
        if ("methods", spec.method, "overrides") not in text.lines and spec.workload_label == "w":
            own = [("defaults", "methods", "overrides", "w")]
        method: list[Path] = [*own, ("methods", spec.method)]
        workload: Path = ("workloads", spec.workload_label)
        general: list[Path] = [("defaults", "methods"), workload, ("defaults", "workloads")]
        for_schedules: list[Path] = [workload, ("defaults", "methods"), ("defaults", "workloads")]
        for name, levels in {
            "x": [*method, *general],
            "clip_norm": [*method, *general],
            **{f"schedule.{each}": [*method, *for_schedules] for each in spec.schedule},
        }.items():
            candidates = [(*level, *name.split(".")) for level in levels]
            line = next((text.lines[path] for path in candidates if path in text.lines), None)
            found = suite.source.find(method=spec.method, workload=spec.workload_label, name=name)
            assert found.line == (line or text.lines["methods", spec.method]), name
            assert isinstance(found, SourceLocation)
