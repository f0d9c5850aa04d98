"""Logs of modded-nanogpt's track 3, and the rule by which its records are judged."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from scipy.stats import norm

from benchbench.problems import BadInputError
from benchbench.reporting import exchange
from benchbench.reporting.importers import read_modded_nanogpt
from benchbench.stats import z_between
from tests.helpers.command_line import call

RULE = ("--sigma", "0.0013", "--margin", "0.004", "--per-step", "0.000045")

# The sixteen seeds of a published result, whose page states a mean of 3.2786 and a margin of 0.0056.
PUBLISHED = (
    *(3.27888, 3.27934, 3.28172, 3.27806, 3.27840, 3.27796, 3.27715, 3.27835),
    *(3.27760, 3.27729, 3.28080, 3.27650, 3.27822, 3.27977, 3.27832, 3.27924),
)


def log(path: Path, losses: dict[int, object], *, steps: int, seed: int | None = None) -> None:
    """Write a log as the benchmark's script does: its own code first, then evaluations among steps of training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        'print0(f"step:{step}/{train_steps} val_loss:{val_loss:.5f} train_time:{training_time:.3f}s")',
        "=" * 100,
        *([f"Using seed={seed}"] if seed is not None else []),
    ]
    for step, loss in losses.items():
        lines.append(f"step:{step}/{steps} val_loss:{loss} train_time:{step / 10:.3f}s step_avg:100.00ms")
        lines.append(f"step:{step + 1}/{steps} train_time:{step / 10:.3f}s step_avg:100.00ms")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def published(folder: Path) -> None:
    for number, loss in enumerate(PUBLISHED, start=1):
        log(folder / "soap" / f"seed{number:02}.txt", {0: 10.8, 3000: 3.29, 3148: loss}, steps=3148, seed=number)


def printed(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def judged(folder: Path, *options: str) -> list[list[dict[str, str]]]:
    """Import a folder on the command line, test it there, and return the lines of both tables as texts."""
    (folder / "results.csv").write_text(
        printed("import", folder / "logs", "--from", "modded-nanogpt"), encoding="utf-8"
    )
    made = json.loads(printed("z-test", folder / "results.csv", *options, "--format", "json"))["tables"]
    return [
        [
            dict(zip(table["headers"], row["headers"], strict=True))
            | {
                column["label"]: " ± ".join(filter(None, (cell["figures"][0]["value"], cell["figures"][0]["spread"])))
                if cell["figures"]
                else cell["remark"]
                for column, cell in zip(table["columns"], row["cells"], strict=True)
            }
            for row in table["rows"]
        ]
        for table in made
    ]


def test_every_evaluation_of_a_log_is_kept(tmp_path: Path) -> None:
    log(tmp_path / "adamw" / "a.txt", {0: 10.8, 125: 4.5, 250: 3.2}, steps=250, seed=7)
    records = read_modded_nanogpt(tmp_path)
    assert [(each.at, each.evaluation, each.steps, each.value, each.train_seconds) for each in records] == [
        ("final", 0, 250, 3.2, 25.0),
        ("evaluation", 1, 0, 10.8, 0.0),
        ("evaluation", 2, 125, 4.5, 12.5),
        ("evaluation", 3, 250, 3.2, 25.0),
    ]
    assert {(each.method, each.seed, each.outcome, each.metric, each.better, each.target) for each in records} == {
        ("adamw", 7, "finished", "validation/loss", "lower", 3.28)
    }


def test_seeds_are_those_that_logs_state_where_all_state_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 5)):
        log(tmp_path / "all" / f"{name}.txt", {10: 3.2}, steps=10, seed=seed)
        log(tmp_path / "same" / f"{name}.txt", {10: 3.2}, steps=10, seed=3)
        log(tmp_path / "some" / f"{name}.txt", {10: 3.2}, steps=10, seed=None if name == "a" else 5)
    seeds = {(each.method, each.key[-5:]): each.seed for each in read_modded_nanogpt(tmp_path)}
    assert seeds == {
        ("all", "a.txt"): 3, ("all", "b.txt"): 5,
        ("same", "a.txt"): 0, ("same", "b.txt"): 1,
        ("some", "a.txt"): 0, ("some", "b.txt"): 1,
    }  # fmt: skip


def test_a_log_of_several_runs_is_several_runs_and_milliseconds_are_seconds(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    lines = ["step:5/10 val_loss:4.0 train_time:500ms", "step:10/10 val_loss:3.3 train_time:1000ms"]
    (tmp_path / "m" / "both.txt").write_text("\n".join([*lines, "step:5/10 val_loss:4.1", "step:10/10 val_loss:3.2"]))
    final = [each for each in read_modded_nanogpt(tmp_path) if each.at == "final"]
    assert [(each.seed, each.value, each.train_seconds) for each in final] == [(0, 3.3, 1.0), (1, 3.2, 0.0)]


@pytest.mark.parametrize(
    ("losses", "outcome"),
    [({5: 4.0, 10: 3.3}, "finished"), ({5: 4.0}, "interrupted"), ({5: 4.0, 10: math.nan}, "diverged")],
)
def test_how_a_log_ended(losses: dict[int, object], outcome: str, tmp_path: Path) -> None:
    log(tmp_path / "m" / "a.txt", losses, steps=10)
    assert {each.outcome for each in read_modded_nanogpt(tmp_path)} == {outcome}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no file with lines"),
        ("step:5/10 val_loss:low\n", "low"),
        ("step:5/10 val_loss:3.0\nstep:5/10 val_loss:3.1\n", "two evaluations at step 5"),
    ],
)
def test_logs_of_another_form_are_named(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.txt").write_text(text)
    with pytest.raises(BadInputError, match=reason):
        read_modded_nanogpt(tmp_path)


def test_a_published_record_is_one_on_the_command_line(tmp_path: Path) -> None:
    published(tmp_path / "logs")
    [[attempt], pairs] = judged(tmp_path, *RULE)
    assert (attempt["n"], attempt["steps"], attempt["mean"]) == ("16", "3,148", "3.27860 ± 0.00135")
    assert (attempt["margin"], attempt["z"], attempt["verdict"]) == ("0.00560", "4.31", "reached")
    assert attempt["p"] == "< 0.0001"
    assert pairs == []


def test_the_margin_decides_and_not_the_mean_alone(tmp_path: Path) -> None:
    for number in range(
        4
    ):  # 0.002 beyond the target, times two: 0.004, which is enough; one hundredth of it less is not
        log(tmp_path / "logs" / "just" / f"{number}.txt", {100: 3.278}, steps=100)
        log(tmp_path / "logs" / "less" / f"{number}.txt", {100: 3.27802}, steps=100)
        log(tmp_path / "logs" / "worse" / f"{number}.txt", {100: 3.29}, steps=100)
    attempts, _ = judged(tmp_path, *RULE)
    assert {each["Method"]: each["verdict"] for each in attempts} == {
        "just": "reached", "less": "not shown", "worse": "not shown",
    }  # fmt: skip
    assert {each["p"] for each in attempts} == {"n < 5"}


def test_a_run_that_did_not_come_to_its_end_is_not_left_out_in_silence(tmp_path: Path) -> None:
    for number in range(6):
        log(tmp_path / "logs" / "m" / f"{number}.txt", {90: 3.2, **({100: 3.1} if number else {})}, steps=100)
        log(tmp_path / "logs" / "k" / f"{number}.txt", {100 + (number == 3): 3.1}, steps=100 + (number == 3))
    attempts, pairs = judged(tmp_path, *RULE)
    assert {each["Method"]: each["verdict"] for each in attempts} == {
        "m": "not all runs: interrupted (1)",
        "k": "runs end at different steps: 100, 101",
    }
    assert pairs == []


def test_methods_are_compared_with_what_fewer_steps_are_worth(tmp_path: Path) -> None:
    for number in range(8):
        log(tmp_path / "logs" / "short" / f"{number}.txt", {3210: 3.2782}, steps=3210)
    for number in range(10):
        log(tmp_path / "logs" / "long" / f"{number}.txt", {3250: 3.2787}, steps=3250)
    _, [pair] = judged(tmp_path, *RULE)
    margin = (0.0005 + 40 * 0.000045) / math.sqrt(1 / 8 + 1 / 10)
    assert (pair["Method"], pair["Than"], pair["steps less"]) == ("short", "long", "40")
    assert (pair["margin"], pair["z"]) == (f"{margin:.5f}", f"{margin / 0.0013:.2f}")
    assert norm.sf(margin / 0.0013) == pytest.approx(0.0001, rel=0.05)
    assert (pair["p"], pair["verdict"]) == ("< 0.0001", "better")
    _, without = judged(tmp_path, *RULE[:4])
    assert without == []  # other numbers of steps, of which nothing is said


def test_what_is_better_is_up_to_the_metric() -> None:
    assert z_between([0.9] * 5, [0.8] * 5, 0.1, lower_is_better=False).statistic == pytest.approx(1 / math.sqrt(0.4))
    assert z_between([0.9] * 5, [0.8] * 5, 0.1, lower_is_better=True).statistic == pytest.approx(-1 / math.sqrt(0.4))
    assert z_between([0.9] * 5, [0.8] * 4, 0.1, lower_is_better=True).p == "n < 5"
    assert z_between([math.nan], [0.8], 0.1, lower_is_better=True).statistic == "not finite"
    with pytest.raises(ValueError, match="sigma must be positive"):
        z_between([1.0], [1.0], 0.0, lower_is_better=True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--sigma", "0", "--margin", "0.004"), "--sigma: must be a finite number above 0 (got 0.0)"),
        (("--sigma", "0.1", "--margin", "nan"), "--margin: must be a finite number (got nan)"),
        (("--sigma", "0.1", "--margin", "1"), "there is no target to test against: no result names one"),
    ],
)
def test_what_cannot_be_tested_is_a_line(options: tuple[str, ...], line: str, tmp_path: Path) -> None:
    record = exchange.Record(method="A", workload="w", seed=0, metric="validation/loss", value=1.0)
    (tmp_path / "r.csv").write_text(exchange.to_csv([record]), encoding="utf-8")
    result = call("z-test", str(tmp_path / "r.csv"), *options)
    assert result.exit_code == 2
    assert line in result.stderr


def test_the_target_may_be_given(tmp_path: Path) -> None:
    for number in range(5):
        log(tmp_path / "logs" / "m" / f"{number}.txt", {100: 3.2}, steps=100)
    [[attempt], _] = judged(tmp_path, *RULE, "--target", "3.1")
    assert attempt["verdict"] == "not shown"


BOARD = Path(__file__).parents[3] / "shared" / "data" / "boards" / "algoperf_a100"


@pytest.mark.skipif(not BOARD.is_dir(), reason=f"AlgoPerf's logs of 17 submissions are not in {BOARD}")
def test_the_scores_that_algoperf_has_published_come_out_of_one_command() -> None:
    output = json.loads(printed("import", BOARD, "--from", "algoperf", "--table", "profile", "--format", "json"))
    [table] = output["tables"]
    groups = [(column["group"], column["label"]) for column in table["columns"]]
    position = groups.index(("seconds", "score"))
    with (BOARD / "published_scores.csv").open(encoding="utf-8", newline="") as file:
        expected = {line["submission"]: float(line["score"]) for line in csv.DictReader(file)}
    found = {row["headers"][-1]: row["cells"][position]["figures"][0]["mean"] for row in table["rows"]}
    assert len(expected) == 17
    assert found == pytest.approx(expected, rel=1e-12)
