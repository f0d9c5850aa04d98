"""What is expected of a run's memory, from pretend peaks."""

from __future__ import annotations

from benchbench.scheduling.memory_needs import MemoryNeeds
from benchbench.values import Memory, RunResult, RunSpec
from tests.helpers.specs import run_spec


def spec(method: str, workload: str, seed: int = 0, ranks: int = 1) -> RunSpec:
    labels = {"method": method, "workload_label": workload}
    return run_spec(workload=workload, parameters={}, seed=seed, execution={"ranks": ranks}, **labels)


def ended(peak: int | None) -> RunResult:
    return RunResult(key="k", outcome="finished", memory=Memory(host_peak=peak))


def test_a_run_is_expected_to_need_what_its_like_has_needed() -> None:
    needs = MemoryNeeds()
    assert needs.expected(spec("A", "x")) == 0
    needs.learn(spec("A", "x"), ended(None))
    assert needs.expected(spec("A", "x")) == 0
    needs.learn(spec("A", "x", seed=1), ended(300))
    needs.learn(spec("A", "x", seed=2), ended(200))
    needs.learn(spec("B", "x"), ended(500))
    assert needs.expected(spec("A", "x", seed=3)) == 300
    assert needs.expected(spec("C", "x")) == 500  # the workload tells
    assert needs.expected(spec("A", "y")) == 0  # another one does not
    assert needs.expected(spec("A", "x", ranks=2)) == 600


def test_what_a_suite_states_counts_more_than_what_was_measured() -> None:
    needs = MemoryNeeds()
    needs.learn(spec("A", "x"), ended(300))
    assert needs.expected(spec("A", "x", ranks=2).model_copy(update={"memory": 1.5})) == 3 * 2**30
