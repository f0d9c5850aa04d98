"""What every engine does, with the same jobs on each: results, deaths, clocks, stops."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.engines import Engine, Job
from benchbench.values import Component, RunResult
from tests.conftest import STUBS, STUBS_DIGEST, wait_for
from tests.engines.conftest import ENGINES, execute, make_job

Outcomes = dict[str, tuple[Job, RunResult]]

NOT_INLINE = [engine for engine in ENGINES if engine != "inline"]


def jobs(folder: Path, *, own_process: bool) -> dict[str, Job]:
    runs = folder / "runs"
    exploding = Component(target=f"{STUBS}:Exploding", digest=STUBS_DIGEST)
    made = {
        "finishing": make_job(runs, "line"),
        "diverging": make_job(runs, "line", optimizer=exploding),
        "failing": make_job(runs, "failing"),
        # Inline, a run can only be stopped between two steps.
        "slow": make_job(runs, "line", timeout=1.0, parameters={"pause": 30 if own_process else 0.5}),
        "ranked": make_job(runs, "digits-mlp", ranks=2, batch_size=256),
    }
    if own_process:
        marker = {"marker": str(folder / "kills"), "kills": 9}
        made |= {
            "killed": make_job(runs, "killed", parameters=marker),
            "segfault": make_job(runs, "segfault"),
        }
    return made


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, new_engine: Callable[..., Engine], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    """The same jobs, executed by an engine at once."""
    made = jobs(tmp_path_factory.mktemp(request.param), own_process=request.param != "inline")
    engine = new_engine(request.param)
    results = execute(engine, list(made.values()))
    engine.stop()
    assert len(results) == len(made)
    return {label: (job, results[job.spec.key]) for label, job in made.items()}


@pytest.mark.parametrize("outcomes", ENGINES, indirect=True)
def test_a_run_leaves_its_files_and_says_where_it_ran(outcomes: Outcomes) -> None:
    job, result = outcomes["finishing"]
    assert result.outcome == "finished"
    assert job.folder.result() == result
    assert [record.epoch for record in job.folder.records()] == [1, 2]
    assert job.folder.spec() == job.spec
    assert job.folder.weights_file.exists()
    assert not job.folder.submission_file.exists()
    assert result.environment["host"] == platform.node()
    assert result.environment["device"].startswith("cpu")
    assert result.environment["threads"] == "1"
    assert int(result.environment["concurrent_runs"]) >= 1


@pytest.mark.parametrize("outcomes", ENGINES, indirect=True)
def test_divergence_and_failure_are_results(outcomes: Outcomes) -> None:
    assert outcomes["diverging"][1].outcome == "diverged"
    job, result = outcomes["failing"]
    assert result.outcome == "failed"
    assert "this workload always fails" in result.message
    assert job.folder.result() == result


@pytest.mark.parametrize("outcomes", ENGINES, indirect=True)
def test_ranks_share_the_batches_of_a_run(outcomes: Outcomes) -> None:
    _, result = outcomes["ranked"]
    assert result.outcome == "finished", result.message
    assert result.environment["ranks"] == "2"


@pytest.mark.parametrize("outcomes", NOT_INLINE, indirect=True)
def test_the_death_of_a_process_is_a_result_with_its_cause(outcomes: Outcomes) -> None:
    assert outcomes["killed"][1].outcome == "crashed"
    assert "SIGKILL" in outcomes["killed"][1].message
    job, result = outcomes["segfault"]
    assert result.outcome == "crashed"
    assert "SIGSEGV" in result.message
    assert "build_segfault" in job.folder.log_file.read_text()  # where it happened


@pytest.mark.parametrize("outcomes", ENGINES, indirect=True)
def test_a_run_is_stopped_when_its_time_is_up(outcomes: Outcomes) -> None:
    job, result = outcomes["slow"]
    assert result.outcome == "timeout"
    assert result.message.startswith("stopped after 1 s")
    assert job.folder.result() == result


@pytest.mark.parametrize("outcomes", NOT_INLINE, indirect=True)
def test_what_a_run_prints_is_in_its_log(outcomes: Outcomes) -> None:
    assert "RuntimeError: this workload always fails" in outcomes["failing"][0].folder.log_file.read_text()


@pytest.mark.parametrize("name", NOT_INLINE)
def test_a_stop_leaves_a_checkpoint_that_the_next_attempt_goes_on_from(
    name: str, new_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    slow = make_job(tmp_path / "runs", "line", epochs=20, checkpoint_minutes=1e-6, parameters={"pause": 0.05})
    engine = new_engine(name)
    engine.submit(slow)
    wait_for(lambda: engine.poll(0.2) or slow.folder.checkpoints.files())
    engine.stop()
    stopped = slow.folder.result()
    assert stopped is not None
    assert stopped.outcome == "interrupted"
    assert slow.folder.checkpoints.files()
    time.sleep(0.1)
    again = execute(new_engine(name), [slow])[slow.spec.key]
    assert again.outcome == "finished"
    assert again.environment["resumed"] == "1"
    assert again.cost.steps == 80
