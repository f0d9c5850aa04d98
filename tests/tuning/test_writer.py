"""Suites that tuning writes: they can be read back, whatever stands in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench import suite as suites
from benchbench.suite import yaml_source
from benchbench.suite.yaml_writer import as_text
from benchbench.tuning import writer
from benchbench.tuning.tuner import studies
from benchbench.tuning.writer import tuned_suite
from tests.tuning.simulated_search import result, search

SUITE = """
name: lines
seeds: [0]
tuning: {budget: {gc: 500}, sampler: random}
defaults:
  methods: {search: {lr: {log_uniform: [1e-3, 1]}}}
workloads:
  one: {workload: "stubs.py:line", epochs: 2, batch_size: 8}
  "two: # | <b>": {workload: "stubs.py:line", epochs: 1, batch_size: 8, steps: 2}
methods:
  "yes": {optimizer: sgd}
  "0o17 {x} 'é": {optimizer: sgd, search: {lr: {uniform: [0, 1]}, nesterov: {choices: [true, "no"]}}}
  fixed: {optimizer: sgd, search: {}, lr: 0.1}
  "half":
    optimizer: sgd
    overrides:
      one: {lr: 0.5}
      "two: # | <b>": {search: {lr: {choices: [0.25, 0.75]}}}
"""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
# What a suite cannot hold: half of a surrogate pair, and characters that YAML has no place for.
contents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.dictionaries(st.text(max_size=8), contents, max_size=4))
def test_what_is_written_reads_as_what_it_was(content):
    assert yaml_source.parse(as_text(content), "x").data == content


def tuned(folder: Path, out: Path) -> None:
    """Tune the suite on made-up results and write what has been chosen."""
    loaded = suites.load(folder / "suite.yaml")
    ends = [search(one, lambda spec: result(spec, spec.optimizer.parameters["lr"]))[0]
            for one in studies(loaded, loaded.tuning)]  # fmt: skip
    document = yaml_source.read(folder / "suite.yaml")
    out.write_text(tuned_suite(document, ends, out, version="1", date="2026-01-31"), encoding="utf-8")


def test_every_searched_value_is_chosen_and_says_where_it_comes_from(
    write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    write_suite(SUITE)
    (tmp_path / "stubs.py").write_text("line = None\n")
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "elsewhere" / "chosen.yaml"
    tuned(tmp_path, out)
    before, after = suites.load(tmp_path / "suite.yaml"), suites.load(out)
    assert after.name == "chosen"
    assert (after.spaces, after.tuning) == ({}, None)
    assert after.seeds == before.seeds
    assert [spec.workload.target for spec in after.specs] == [spec.workload.target for spec in before.specs]
    methods = {method.label: method for method in after.methods}
    assert list(methods) == [method.label for method in before.methods]
    searched = {(w, m): space for w, of_methods in before.spaces.items() for m, space in of_methods.items()}
    assert ("one", "half") not in searched
    assert not methods["fixed"].tuned
    for spec in after.specs:
        space = searched.get((spec.workload_label, spec.method))
        if space is None:
            continue
        provenance = methods[spec.method].tuned[spec.workload_label]
        assert provenance.space == space
        assert provenance.chosen.keys() == space.keys()
        assert provenance.chosen.items() <= spec.optimizer.parameters.items()
        assert (provenance.budget.gc, provenance.trials.runs, provenance.trials.gc) == (
            (500, 5, 500) if "choices" not in str(space["lr"].model_dump(exclude_none=True)) else (500, 2, 200)
        )
    halves = [spec.optimizer.parameters["lr"] for spec in after.specs if spec.method == "half"]
    assert halves == [0.5, 0.75]


def test_comments_are_kept_and_nothing_else_is_different(
    write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comments = ["# fixed by hand", "# half of it", "# the end"]
    text = SUITE.replace("  fixed: {", f"  {comments[0]}\n  fixed: {{").replace('"half":', f'"half":   {comments[1]}')
    write_suite(f"{text}{comments[2]}\n")
    (tmp_path / "stubs.py").write_text("line = None\n")
    out = tmp_path / "chosen.yaml"
    tuned(tmp_path, out)
    edited = suites.load(out)
    assert [line for line in comments if line in out.read_text(encoding="utf-8")] == comments
    monkeypatch.setattr(writer, "edited", lambda text, content: None)
    tuned(tmp_path, out)
    assert not any(line in out.read_text(encoding="utf-8") for line in comments)
    assert suites.load(out) == edited


def test_the_name_of_the_file_becomes_that_of_the_suite_if_it_can(
    write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    write_suite(SUITE)
    (tmp_path / "stubs.py").write_text("line = None\n")
    out = tmp_path / "-.yaml"
    tuned(tmp_path, out)
    assert suites.load(out).name == "lines tuned"
