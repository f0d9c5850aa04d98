"""`benchbench tune` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench import suite as suites
from benchbench.runs.folder import RunFolder
from benchbench.values import RunSpec
from tests.conftest import wait_for
from tests.helpers.command_line import call

SUITE = """
name: lines
seeds: [0, 1]
tuning: {budget: {trials: 6}, finalists: {count: 2, seeds: [7, 8]}}
workloads:
  line: {workload: "STUBS:line", epochs: 2, batch_size: 8}
methods:
  One:
    optimizer: sgd
    search: {lr: {log_uniform: [1e-3, 1]}}
  Two:
    optimizer: sam
    base: sgd
    search: {lr: {log_uniform: [1e-3, 1]}, rho: {choices: [0.05, 0.1]}}
"""

TUNING = "tuning: {budget: {trials: 6}, finalists: {count: 2, seeds: [7, 8]}}"

SMALL = SUITE.replace(TUNING, "tuning: {budget: {trials: 4}, finalists: {count: 1, seeds: [7]}}")


def ended(folder: Path) -> dict[str, int]:
    """When each run's result was written, by key."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / ".benchbench/runs").glob("*/result.json")}


def specs(folder: Path) -> list[RunSpec]:
    files = (folder / ".benchbench/runs").glob("*/spec.json")
    return [RunFolder(file.parent).spec() for file in files]


def test_a_suite_is_tuned_and_then_runs(workplace: Path, write_suite: Callable[..., Path]) -> None:
    result = call("tune", write_suite(SUITE), "--engine", "inline", "--out", "tuned.yaml")
    assert result.exit_code == 0, result.output
    tuned = suites.load(workplace / "tuned.yaml")
    assert tuned.name == "tuned"
    assert not tuned.spaces
    for method in tuned.methods:
        provenance = method.tuned["line"]
        assert (provenance.trials.runs, provenance.finals.runs) == (6, 4)
        chosen = next(spec for spec in tuned.specs if spec.method == method.label).optimizer.parameters
        assert provenance.chosen.items() <= chosen.items()
    result = call("run", "tuned.yaml", "--engine", "inline")
    assert result.exit_code == 0, result.output
    assert "Cost of tuning" in result.stdout


def test_what_has_been_tuned_is_not_tuned_again(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE)
    first = call("tune", path, "--engine", "inline", "--json")
    before = ended(workplace)
    assert call("tune", path, "--engine", "inline", "--json").stdout == first.stdout
    assert call("tune", path, "--report", "--json").stdout == first.stdout
    assert ended(workplace) == before


def test_test_data_are_never_read(workplace: Path, write_suite: Callable[..., Path]) -> None:
    text = SUITE.replace("STUBS:line", "STUBS:untestable").replace("seeds: [0, 1]", "seeds: [0, 1]\nprotocol: paper")
    result = call("tune", write_suite(text), "--engine", "inline", "--json")
    assert result.exit_code == 0, result.output
    assert [each["broken"] for each in json.loads(result.stdout)] == [0, 0]
    # The same workload without a search breaks: the stub does notice.
    fixed = text.replace("search: {lr: {log_uniform: [1e-3, 1]}}", "lr: 0.1")
    fixed = fixed.replace("search: {lr: {log_uniform: [1e-3, 1]}, rho: {choices: [0.05, 0.1]}}", "lr: 0.1")
    assert call("run", write_suite(fixed), "--engine", "inline").exit_code == 1


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("old", "new", "arguments", "said"),
    [
        (TUNING, "", [], "tuning: nothing says how to tune"),
        ("search:", "x: 1 #", [], "methods: nothing to tune"),
        ("lr: {log", "learning_rate: {log", [], "unknown parameter of sgd"),
        ("rho: {choices: [0.05, 0.1]}", "rho: {choices: [0.05, much]}", [], "14: methods.Two.search.rho: must be"),
        ("", "", ["--only", "method=One", "--out", "x.yaml"], "--out: is written when all of the suite is tuned"),
        ("", "", ["--synthetic", "--out", "x.yaml"], "--out: values that made-up data have chosen are not written"),
        ("{trials: 6}", "{trials: 6}, sampler: grid, grid_points: 1000", [], "a grid of 1,000,000 points"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_said_in_a_line_and_nothing_runs(
    write_suite: Callable[..., Path], old: str, new: str, arguments: list[str], said: str
) -> None:
    lr = "{lr: {log_uniform: [1e-3, 1]}"
    text = SUITE.replace(f"{lr}}}", f"{lr}, momentum: {{uniform: [0, 0.5]}}}}")
    result = call("tune", write_suite(text.replace(old, new)), "--engine", "inline", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not ended(Path())


@pytest.mark.usefixtures("workplace")
def test_a_suite_that_is_still_to_be_tuned_is_not_run(write_suite: Callable[..., Path]) -> None:
    for command in ("run", "plan"):
        result = call(command, write_suite(SUITE))
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "methods.One.search.lr: is still to be chosen: `benchbench tune` writes" in result.stderr


def test_hostile_names_and_broken_trials_are_shown_as_what_they_are(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    text = SUITE.replace("  One:", '  "<b>|[red]$x_\\\\":').replace("trials: 6", "trials: 3")
    text = text.replace("optimizer: sam\n    base: sgd", 'optimizer: "STUBS:Exploding"\n    lr: 0.1')
    text = text.replace("{lr: {log_uniform: [1e-3, 1]}, rho: {choices: [0.05, 0.1]}}", "{after: {integers: [1, 3]}}")
    result = call("tune", write_suite(text), "--engine", "inline", "--figures", "figures", "--out", "tuned.yaml")
    assert result.exit_code == 2, result.output
    assert "tuned.yaml: no trial has come to a result: Two on line" in result.stderr
    assert not (workplace / "tuned.yaml").exists()
    assert "<b>|[red]$x_" in result.stdout
    assert len(list((workplace / "figures").glob("*.svg"))) == 2
    shown = json.loads(call("tune", workplace / "suite.yaml", "--report", "--json").stdout)
    assert [(each["trials"], each["broken"]) for each in shown] == [(3, 0), (3, 3)]


@pytest.mark.slow
def test_a_killed_tuning_goes_on_without_repeating_a_trial(workplace: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SMALL.replace('"STUBS:line"', '"STUBS:line", pause: 0.05'))
    command = [str(Path(sys.executable).with_name("benchbench")), "tune", str(path), "--slots", "2", "--json"]
    process = subprocess.Popen(command, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(ended(workplace)) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = ended(workplace)
    finished = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=120, check=True)
    after = ended(workplace)
    assert before.items() <= after.items()
    assert len(after) == 2 * 4 + 2 * 1
    assert [each["trials"] for each in json.loads(finished.stdout)] == [4, 4]


@pytest.mark.slow
def test_two_tunings_on_one_store_share_the_work(workplace: Path, write_suite: Callable[..., Path]) -> None:
    same = write_suite(SMALL.replace('"STUBS:line"', '"STUBS:line", pause: 0.02'))
    other = write_suite(SMALL.replace("budget: {trials: 4}", "budget: {trials: 2}, seed: 5"), "other.yaml")
    benchbench = str(Path(sys.executable).with_name("benchbench"))
    running = [
        subprocess.Popen(
            [benchbench, "tune", str(path), "--slots", "1", "--json"],
            cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for path in (same, same, other)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert len(ended(workplace)) == 2 * (4 + 1) + 2 * (2 + 1)
    alone = call("tune", other, "--report", "--json").stdout
    assert json.loads(alone) == json.loads(outputs[2][0])
