"""What the documentation says is refused: through the command, in one line that names its place, before any run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.conftest import benchbench, pretend_gpus
from tests.helpers.command_line import call

SUITE = """
name: lines
title: Lines
seeds: [0]
workloads:
  line: {workload: "STUBS:line", epochs: 2, batch_size: 8}
methods:
  It: {optimizer: sgd, lr: 0.1}
"""
WORKLOAD, METHOD, TOP = "batch_size: 8", "lr: 0.1", "title: Lines"
IMAGES = "SEPARATE other: {workload: image-classification, model: resnet20, synthetic: true, epochs: 1, batch_size: 8, "
BOMB = "\n".join(
    f"x-{here}: &{here} [{', '.join([f'*{before}'] * 9)}]" for before, here in zip("abcde", "bcdef", strict=True)
)

SUITES = {
    "execution": [
        (WORKLOAD, "accumulate: 9", "6: workloads.line.accumulate: a batch of 8 examples has no 9 parts (got 9)"),
        (WORKLOAD, "accumulate: 0", "6: workloads.line.accumulate: must be at least 1 (got 0)"),
        (WORKLOAD, "clip_norm: 0", "6: workloads.line.clip_norm: must be greater than 0 (got 0)"),
        (METHOD, "clip_norm: .nan", "8: methods.It.clip_norm: must be a finite number (got NaN)"),
        (WORKLOAD, "autocast: fp8", "6: workloads.line.autocast: must be 'off', 'bf16' or 'fp16' (got \"fp8\")"),
        (WORKLOAD, "autocast_evaluation: true", "6: workloads.line.autocast_evaluation: there is no autocast"),
        (WORKLOAD, "cudnn_benchmark: true, deterministic: true", "6: workloads.line.cudnn_benchmark: deterministic"),
        (METHOD, "cudnn_benchmark: true, deterministic: warn", "8: methods.It.cudnn_benchmark: deterministic"),
        (METHOD, "ranks: 2, create_graph: true", "8: methods.It.ranks: gradients that are summed over ranks"),
        (WORKLOAD, "ranks: 0", "6: workloads.line.ranks: must be at least 1 (got 0)"),
        (WORKLOAD, "batch_norm: synchronised", "6: workloads.line.batch_norm: with one rank there is nothing"),
        (WORKLOAD, "batch_norm: global", "6: workloads.line.batch_norm: must be 'local' or 'synchronised'"),
        (WORKLOAD, "compile: yes", '6: workloads.line.compile: must be true or false (got "yes")'),
        (WORKLOAD, "memory: 0", "6: workloads.line.memory: must be greater than 0 (got 0)"),
        (METHOD, "batch_size: 4", "8: methods.It.batch_size: unknown parameter of sgd"),
    ],
    "suites": [
        (TOP, "x: 1", "4: x: unknown key; allowed: name, title"),
        (TOP, "title: again", "4: title: duplicate key, already set on line 3"),
        (TOP, "timeout: !!python/name:os.system", "4: timeout: the tag !!python/name:os.system is not allowed"),
        (TOP, f"x-a: &a [1, 2, 3]\n{BOMB}", "more than 20,000 values (with every alias written out)"),
        (TOP, "protocol: papers", "4: protocol: must be 'holdout' or 'paper' (got \"papers\"); did you mean 'paper'?"),
        (TOP, "timeout: 0", "4: timeout: must be greater than 0 (got 0)"),
        (TOP, "checkpoint_minutes: 0", "4: checkpoint_minutes: must be greater than 0 (got 0)"),
        (TOP, "measure: [flop]", "4: measure.0: unknown measurement; allowed: flops, sharpness"),
        (TOP, "tables: [acuracy]", "4: tables.0: unknown table; allowed: accuracy, ranking"),
        (TOP, "exclusive: 1", "4: exclusive: must be true or false (got 1)"),
        (TOP, "mixed_devices: maybe", '4: mixed_devices: must be true or false (got "maybe")'),
        (TOP, "ray: {num_cpu: 1}", "4: ray.num_cpu: unknown key; allowed: num_cpus, num_gpus, memory"),
        (TOP, "slurm: [gpu]", '4: slurm: must be a mapping (got ["gpu"])'),
        (TOP, "defaults: {method: {lr: 1}}", "4: defaults.method: unknown key; allowed: workloads, methods"),
        (TOP, "diagnostics: {every: 0}", "4: diagnostics.every: must be at least 1 (got 0)"),
        (TOP, "sharpness: {dtype: float16}", "4: sharpness.dtype: must be 'float32' or 'float64' (got \"float16\")"),
        ("seeds: [0]", "REPLACE seeds: [0, 0]", "4: seeds: 0 is listed twice (got [0, 0])"),
        ("seeds: [0]", "REPLACE seeds: [-1]", "4: seeds.0: must be at least 0 (got -1)"),
        ("name: lines", "REPLACE name: a/../b", '2: name: must be a file name: letters and digits'),
        (WORKLOAD, "synthetic: true", "cannot make up its data (got true)"),
        (WORKLOAD, "held_out_of: nowhere", "6: workloads.line.held_out_of: must be a workload"),
        (WORKLOAD, "target: high", '6: workloads.line.target: must be a number (got "high")'),
        (METHOD, "tuned_on: train", "8: methods.It.tuned_on: must be 'validation' or 'test' (got \"train\")"),
        (METHOD, "overrides: {lines: {lr: 1}}", "8: methods.It.overrides.lines: unknown workload; allowed: line"),
        (METHOD, "sweep: {lr: []}", "8: methods.It.sweep.lr: must not be empty (got [])"),
        (METHOD, "leave_out: bias", '8: methods.It.leave_out: must be a list (got "bias")'),
    ],
    "schedules": [
        (METHOD, "schedule: {name: cosin}", "8: methods.It.schedule.lr: unknown schedule; allowed: 'constant'"),
        (METHOD, "schedule: {name: multistep}", "8: methods.It.schedule.lr.milestones: is required"),
        (
            METHOD,
            "schedule: {name: piecewise, milestones: [1], factors: [1]}",
            "8: methods.It.schedule.lr: factors must have 2 entries, one more than milestones",
        ),
        (METHOD, "schedule: {name: cosine, warmup_epochs: -1}", "8: methods.It.schedule.lr.warmup_epochs: must be"),
        (METHOD, "schedule: {rho: {name: cosine}}", "8: methods.It.schedule.rho: sgd has no such number to schedule"),
    ],
    "images": [
        (WORKLOAD, f"{IMAGES}dataset: mnst", "7: workloads.other.dataset: unknown dataset 'mnst'; allowed: cifar10"),
        (WORKLOAD, f"{IMAGES}dataset: mnist, label_noise: 2", "7: workloads.other.label_noise: must be"),
        (WORKLOAD, f"{IMAGES}dataset: mnist, noise_over: some", "7: workloads.other.noise_over: must be"),
        (WORKLOAD, f"{IMAGES}dataset: mnist, validation: 1", "7: workloads.other.validation: must be"),
        (WORKLOAD, f"{IMAGES}dataset: mnist, examples: 0", "7: workloads.other.examples: must be"),
    ],
    "tuning": [
        (METHOD, "search: {lr: {log_uniform: [0, 1]}}", "8: methods.It.search.lr.log_uniform.0: must be"),
        (METHOD, "search: {lr: {uniform: [1, 0]}}", "8: methods.It.search.lr: the first end must be smaller"),
        (METHOD, "search: {lr: {integers: [1, 1.5]}}", "8: methods.It.search.lr.integers.1: must be a whole number"),
        (METHOD, "search: {lr: {normal: [1, 2]}}", "8: methods.It.search.lr.normal: unknown key; allowed: log_uniform"),
        (TOP, "tuning: {budget: {gc: 9, unit: my}}", "4: tuning.budget.unit: must be 'paper' or 'flops' (got \"my\")"),
        (TOP, "tuning: {budget: {gc: 9, trials: 2}}", "4: tuning.budget: a budget has exactly one of gc, seconds"),
        (TOP, "tuning: {budget: {trials: 2}, sampler: bayes}", "4: tuning.sampler: must be 'quasi-random', 'random'"),
    ],
}  # fmt: skip


def refuses(result: Result, said: str) -> None:
    """Check that one line says it, and that nothing has been printed, made or raised beside that."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert isinstance(result.exception, SystemExit)
    assert not Path(".benchbench").exists()


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("old", "new", "said"), [pytest.param(*each, id=each[1][:40]) for page in SUITES.values() for each in page]
)
def test_a_suite_is_refused(old: str, new: str, said: str, write_suite: Callable[..., Path]) -> None:
    text = (
        new.removeprefix("REPLACE ") if new.startswith("REPLACE ") else f"{old}{'NEWLINE' if old == TOP else ', '}{new}"
    )
    text = text.replace(", SEPARATE ", "}\n  ").replace("NEWLINE", "\n")
    refuses(call("run", write_suite(SUITE.replace(old, text))), said)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run SUITE --engine inline --slots 2", "--slots: the engine inline makes one run after the other; allowed: 1"),
        ("run SUITE --devices cpu --slots-per-device 2", "--slots-per-device: there is no GPU to share"),
        ("run SUITE --devices cpu,0", "--devices: "),
        ("run SUITE --engine slurm --devices 0", "--devices: a cluster chooses the GPU of a run itself; allowed: cpu"),
        ("run SUITE --engine slurm --slots-per-device 2", "--slots-per-device: this cluster gives every run a GPU"),
        ("run SUITE --only colour=red", "--only: must have the form method=LABEL, workload=LABEL or seed=NUMBER"),
        ("run SUITE --set workloads.line.epochs", "--set: must have the form path.to.key=value"),
        ("run SUITE --set workloads.line.epochs=many", '--set: workloads.line.epochs: must be a whole number'),
        ("run SUITE --runs-dir /proc/nowhere", "/proc/nowhere"),
        ("compare SUITE --with nowhere", "no such publication; allowed: a path to a .yaml file, or one of"),
        ("check sgd --set lr=fast", '--set: lr: must be float | torch.Tensor (got "fast")'),
        ("check digits-mlp --set widht=3", "--set: widht: unknown parameter of digits-mlp"),
        ("check nowhere:Thing", "module nowhere cannot be imported"),
        ("new optimizer class", "name: must be small letters and digits"),
        ("export SUITE --bundle all.zip", "tuning"),
    ],
)  # fmt: skip
def test_a_command_is_refused(arguments: str, said: str, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE)
    refuses(call(*(path if word == "SUITE" else word for word in arguments.split())), said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "methods.It.ranks=3"), "ranks: each rank needs a GPU of its own; allowed: up to 2, or any number"),
        (("--slots", "3"), "--slots: room for 2 at a time (GPUs: 2); --slots-per-device lets several runs share"),
        (("--devices", "0,2"), "--devices: no such device; allowed: "),
        (("--engine", "inline", "--slots-per-device", "2"), "--slots-per-device: the engine inline makes one run"),
    ],
)
def test_what_two_gpus_have_no_room_for_is_refused(
    arguments: tuple[str, ...], said: str, write_suite: Callable[..., Path], workplace: Path, nvml_folder: Path
) -> None:
    done = benchbench("run", str(write_suite(SUITE)), *arguments, cwd=workplace, **pretend_gpus(nvml_folder, 2))
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (workplace / ".benchbench").exists()
