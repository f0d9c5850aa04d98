"""What counts as claimed when a run is made again: equal bits on the same CPU, the scatter of seeds elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.leaderboard import verify as verifying
from benchbench.leaderboard.submission import StoredRun, Submission
from benchbench.leaderboard.verify import Check
from benchbench.problems import BadInputError
from benchbench.values import Component, RunResult, RunSpec
from tests.helpers.synthetic_submissions import stored, submission

HERE = {"device": "cpu (x86_64)", "threads": "1", "platform": "Linux", "python": "3.11.7", "torch": "2.14.1"}


def numbers(claimed: float, measured: float | None, tolerance: float = 0.0) -> Check:
    return Check(submission({"A": 0.9}, seeds=1).suite.specs[0], "final test/loss", claimed, measured, tolerance)


@pytest.mark.parametrize(
    ("claimed", "measured", "tolerance", "holds"),
    [
        (0.5, 0.5, 0.0, True),
        (0.5, math.nextafter(0.5, 1), 0.0, False),
        (0.5, 0.625, 0.125, True),
        (0.5, 0.375, 0.125, True),
        (0.5, 0.626, 0.125, False),
        (0.5, None, 1.0, False),
        (math.nan, math.nan, 0.0, True),
        (0.5, math.nan, 1.0, False),
        (math.nan, 0.5, 1.0, False),
        (math.inf, math.inf, 0.0, True),
        (math.inf, 0.5, 1.0, False),
        (-math.inf, math.inf, 1.0, False),
    ],
)
def test_a_number_is_as_claimed_or_differs(
    claimed: float, measured: float | None, tolerance: float, holds: bool
) -> None:
    check = numbers(claimed, measured, tolerance)
    assert check.holds is holds
    assert check.as_row()["verdict"] == ("as claimed" if holds else "DIFFERS")


@pytest.fixture
def claim() -> Submission:
    """Two seeds of a method that is installed, made on one CPU."""
    made = submission({"A": 0.9}, seeds=2)
    specs = tuple(
        spec.model_copy(
            update={
                "workload": Component(target="digits-mlp"),
                "optimizer": Component(target="sgd", parameters={"lr": 0.1}),
            }
        )
        for spec in made.suite.specs
    )
    runs = {spec.key: stored(spec, 0.9 - 0.1 * spec.seed, hvps=2) for spec in specs}
    runs = {
        key: StoredRun(run.result.model_copy(update={"environment": HERE}), run.records) for key, run in runs.items()
    }
    return Submission("made", made.suite.model_copy(update={"specs": specs}), runs)


Measure = Callable[..., list[Check]]


@pytest.fixture
def measure(claim: Submission, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measure:
    """A function that verifies the claim with runs that give what was claimed, apart from what it is told."""

    def verified(tolerance: float = 0.0, **changes: Any) -> list[Check]:
        def run(spec: RunSpec, *_: object) -> RunResult:
            return claim.runs[spec.key].result.model_copy(update=changes)

        monkeypatch.setattr("benchbench.checks.problems", lambda *_: [])
        monkeypatch.setattr(verifying, "_run", run)
        return list(verifying.verify(claim, claim.suite.specs[:1], tmp_path, tolerance))

    return verified


def allowed(checks: list[Check]) -> dict[str, float]:
    return {check.name: check.tolerance for check in checks}


def test_equal_bits_are_demanded_where_all_that_decides_them_is_equal(measure: Measure) -> None:
    checks = measure(tolerance=0.5)
    assert set(allowed(checks).values()) == {0.0}
    assert all(check.holds for check in checks)


@pytest.mark.parametrize("name", list(HERE))
def test_elsewhere_metrics_may_scatter_and_counts_may_not(name: str, measure: Measure) -> None:
    checks = measure(tolerance=0.05, environment={**HERE, name: "another"})
    spread = verifying.SPREADS * 0.1 / 2**0.5  # of 0.9 and 0.8
    assert allowed(checks)["final test/accuracy"] == pytest.approx(spread)
    assert allowed(checks)["best validation/accuracy"] == pytest.approx(spread)
    assert allowed(checks)["final train/loss"] == pytest.approx(0.05 * 0.5)  # its seeds do not scatter
    assert {allowed(checks)[count] for count in ("steps", "forwards", "gradients", "hvps")} == {0.0}


def test_no_bits_are_demanded_of_gpus(claim: Submission, measure: Measure) -> None:
    on_gpu = {**HERE, "device": "cuda (H200)"}
    for key, run in claim.runs.items():
        changed = run.result.model_copy(update={"environment": on_gpu})
        claim.runs[key] = StoredRun(changed, run.records)  # type: ignore[index]
    assert allowed(measure(tolerance=0.05, environment=on_gpu))["final test/accuracy"] > 0.0


def test_sharpness_is_no_part_of_what_is_made_again(claim: Submission, measure: Measure) -> None:
    made = claim.runs[claim.suite.specs[0].key]
    final = {**made.result.final, "sharpness/trace": 3.0}
    claim.runs[made.result.key] = StoredRun(made.result.model_copy(update={"final": final}), made.records)  # type: ignore[index]
    checks = measure(final=made.result.final)
    assert "final test/accuracy" in allowed(checks)
    assert all(check.holds for check in checks)


@pytest.mark.parametrize("name", ["steps", "forwards", "gradients", "hvps"])
def test_every_count_is_compared(name: str, claim: Submission, measure: Measure) -> None:
    cost = claim.runs[claim.suite.specs[0].key].result.cost
    more = cost.model_copy(update={name: getattr(cost, name) + 1})
    wrong = [check for check in measure(tolerance=1.0, environment={}, cost=more) if not check.holds]
    assert [check.name for check in wrong] == [name]


def test_an_outcome_and_a_metric_that_is_missing_are_named(measure: Measure) -> None:
    checks = measure(outcome="diverged", final={}, best={})
    wrong = [check.name for check in checks if not check.holds]
    names = ("validation/accuracy", "train/loss", "test/accuracy")
    assert wrong == ["outcome finished", *(f"{part} {name}" for part in ("final", "best") for name in names)]


@pytest.mark.parametrize("claimed", [math.inf, math.nan])
def test_what_was_no_number_allows_no_number(claimed: float, claim: Submission, measure: Measure) -> None:
    spec = claim.suite.specs[0]
    run = claim.runs[spec.key]
    final = {**run.result.final, "test/perplexity": claimed}
    claim.runs[spec.key] = StoredRun(run.result.model_copy(update={"final": final}), run.records)  # type: ignore[index]
    checks = measure(tolerance=0.05, environment={}, final={**final, "test/perplexity": 3.0})
    assert [check.name for check in checks if not check.holds] == ["final test/perplexity"]


def test_a_draw_is_repeated_by_its_seed_and_never_draws_a_run_twice() -> None:
    made = submission({"A": 0.9, "B": 0.8}, seeds=10)
    drawn = verifying.draw(made, 5)
    assert verifying.draw(made, 5, drawn.seed) == drawn
    assert len({spec.key for spec in drawn.specs}) == 5
    assert len(verifying.draw(made, 100, 1).specs) == 20
    assert len({tuple(spec.key for spec in verifying.draw(made, 5, seed).specs) for seed in range(5)}) > 1


def test_problems_of_the_suite_stop_it_before_any_run(claim: Submission, tmp_path: Path) -> None:
    specs = tuple(
        spec.model_copy(update={"optimizer": Component(target="sgd", parameters={"lr": -1})})
        for spec in claim.suite.specs
    )
    runs = {spec.key: stored(spec, 0.9) for spec in specs}
    wrong = Submission("made", claim.suite.model_copy(update={"specs": specs}), runs)
    with pytest.raises(BadInputError, match="Invalid learning rate"):
        list(verifying.verify(wrong, specs[:1], tmp_path, 0.0))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("target", ["sgdd", " os:system"])
def test_what_is_not_installed_is_said_whichever_seed_is_drawn(
    seed: int, target: str, claim: Submission, tmp_path: Path
) -> None:
    specs = [
        spec.model_copy(update={"optimizer": Component(target=target, parameters={"lr": 0.1})})
        for spec in claim.suite.specs
    ]
    renamed = {spec.key: claim.runs[before.key] for spec, before in zip(specs, claim.suite.specs, strict=True)}
    made = Submission("made", claim.suite.model_copy(update={"specs": tuple(specs)}), renamed)
    with pytest.raises(BadInputError, match=r"unknown optimizer|is no name"):
        next(verifying.verify(made, [specs[seed]], tmp_path, 0.05))
