"""Sections about time and memory: steps, epochs, executions, several runs on a device, several devices for a run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchbench import api
from benchbench.devices import use
from benchbench.devices.visible import visible
from benchbench.optim import stepping
from benchbench.plugins.factories import Factory
from benchbench.runs.folder import RunFolder
from benchbench.training import backends
from benchbench.values import Execution
from benchmarks.figures import ratio, time_in_turns
from benchmarks.gpu.report import Findings
from benchmarks.gpu.settings import Scale, timed

POSTER_SECONDS = {"adamw": 5.03, "sassha": 12.00}
"""Seconds per epoch of the paper's poster: ResNet-32, CIFAR-10."""

EXECUTIONS: Mapping[str, dict[str, Any]] = {
    "tf32": {"tf32": True},
    "cudnn_benchmark": {"cudnn_benchmark": True},
    "channels_last": {"channels_last": True},
    "bf16": {"autocast": "bf16"},
    "bf16, channels_last, cudnn_benchmark": {"autocast": "bf16", "channels_last": True, "cudnn_benchmark": True},
}

COMPILED: Mapping[str, dict[str, Any]] = {
    "compile": {"compile": True},
    "compile, bf16": {"compile": True, "autocast": "bf16"},
}

FROM_TORCH = {"sgd", "adamw"}
"""Methods whose steps take gradients that are there already."""


def steps(scale: Scale, findings: Findings) -> None:
    """Time the steps of every method over a bare loop of the same step, and over SGD's."""
    with backends.configured(Execution(), scale.device):
        times: dict[str, float] = {}
        for method in scale.methods:
            harness, bare = _period(scale, method), _bare_period(scale, method)
            seconds = time_in_turns(
                {"harness": partial(timed, scale.device, harness), "bare": partial(timed, scale.device, bare)},
                rounds=max(scale.rounds, 2),
                warmup=1 if scale.is_rehearsal else 2,
            )
            times[method] = statistics.median(seconds["bare"]) / scale.period
            over, *_ = ratio(seconds, "harness", "bare")
            milliseconds = 1e3 * statistics.median(seconds["harness"]) / scale.period
            findings.figure(f"{method}: step", milliseconds, " ms", note=f"mean over {scale.period}")
            target = None if scale.is_rehearsal else 1.05
            findings.figure(f"{method}: step / the same in a bare loop", over, at_most=target)
        for method in scale.methods:
            findings.figure(f"{method}: bare step / SGD's", times[method] / times["sgd"])


def _period(scale: Scale, method: str, execution: dict[str, Any] | None = None) -> Callable[[], None]:
    training = scale.training(method, execution=execution)

    def make() -> None:
        for _ in range(scale.period):
            training.step()

    return make


def _bare_period(scale: Scale, method: str) -> Callable[[], None]:
    """Return what makes the steps of a method as a script would, its batches as they come from the same data path."""
    task = scale.training(method).training.task
    factory = Factory("optimizer", scale.spec(method).optimizer)
    optimizer = factory.build_optimizer(task.model.parameters(), seed=0, model=task.model)
    source = scale.training(method)

    def make() -> None:
        for _ in range(scale.period):
            batch = source.batch()

            def loss(batch: Any = batch) -> torch.Tensor:
                return task.loss(batch)

            if method in FROM_TORCH:
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
            else:
                optimizer.step(loss)

    stepping.training(optimizer)
    return make


def executions(scale: Scale, findings: Findings) -> None:
    """Time settings of a run over the plain ones."""
    _against_plain(scale, findings, EXECUTIONS)


def compiled(scale: Scale, findings: Findings) -> None:
    """Time compiled gradients over eager ones."""
    if scale.is_rehearsal:
        findings.fact("not done", "compiling takes a minute on a CPU: benchmarks/compiled.py measures it there")
        return
    _against_plain(
        scale, findings, {"compile": {"compile": True}, "compile, bf16": {"compile": True, "autocast": "bf16"}}
    )


def _against_plain(scale: Scale, findings: Findings, settings: Mapping[str, dict[str, Any]]) -> None:
    for method in ("sgd", "sassha"):
        plain = _time_with(scale, method, {})
        findings.figure(f"{method}: step", 1e3 * plain, " ms")
        for name, execution in settings.items():
            try:
                findings.figure(f"{method}, {name}: step / plain", _time_with(scale, method, execution) / plain)
            except ValueError as refused:
                findings.fact(f"{method}, {name}", refused)


def _time_with(scale: Scale, method: str, execution: dict[str, Any]) -> float:
    """Return the seconds of a step, its share of the Hessians included."""
    with backends.configured(Execution(**execution), scale.device):
        make = _period(scale, method, execution)
        for _ in range(1 if scale.is_rehearsal else 2):
            make()
        return statistics.median(timed(scale.device, make) for _ in range(scale.rounds)) / scale.period


def memory(scale: Scale, findings: Findings) -> None:
    """Measure peaks of memory, and what happens where there is too little."""
    device = scale.device
    if use.peak(device) is None:
        findings.fact(
            "not done", f"{device.type} does not tell peaks; benchmarks/optimizer_arithmetic.py measures the process"
        )
        return
    peaks: dict[str, int] = {}
    for method in ("sgd", "sam", "sassha"):
        training = scale.training(method)
        training.step()
        for _ in range(scale.period + 1):
            use.reset_peak(device)
            name = f"{method} with a product" if training.step() else method
            peaks[name] = use.peak(device) or 0
        del training
    for name, peak in peaks.items():
        findings.figure(f"{name}: peak of a step", peak / 2**20, " MiB")
    findings.figure("peak of a step without a product, sassha / sam", peaks["sassha"] / peaks["sam"], at_most=1.10)
    findings.figure("peak of a step with a product, sassha / sgd", peaks["sassha with a product"] / peaks["sgd"])
    if device.type == "cuda":
        _out_of_memory(scale, findings, peaks["sgd"])


def _out_of_memory(scale: Scale, findings: Findings, peak: int) -> None:
    """See that too little memory makes a run fail, not diverge, and that the next run of the process is well."""
    device = scale.device
    half = peak / 2 / torch.cuda.get_device_properties(device).total_memory
    for name, share, outcome in (("half of its memory", half, "failed"), ("all memory again", 1.0, "finished")):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(share, device)
        result = scale.run(scale.spec("sgd", examples=2 * scale.batch_size))
        note = (result.message.splitlines() or [""])[-1]
        findings.figure(f"a run with {name}: ends as {outcome}", result.outcome == outcome, at_least=1, note=note)


def epochs(scale: Scale, findings: Findings) -> None:
    """Time epochs of ResNet-32 at CIFAR-10's shape, next to the poster's."""
    for method, poster in POSTER_SECONDS.items():
        model = "resnet20" if scale.is_rehearsal else "resnet32"
        spec = scale.spec(method, model=model, examples=scale.epoch_examples, epochs=2)
        result = scale.run(spec)
        target = None if scale.is_rehearsal else poster
        findings.figure(f"{method}: seconds per epoch", result.cost.steady_seconds / 2, " s", at_most=target)
        findings.figure(f"{method}: warm-up", result.cost.warm_up_seconds or 0.0, " s")
        findings.fact(f"{method}: run", f"{result.outcome}, training loss {result.final['train/loss']:.4g}")


def runs_per_device(scale: Scale, findings: Findings) -> None:
    """Run the same runs one, two and four at a time on one device, through the local engine."""
    name = visible().identifiers[0] if use.is_accelerator(scale.device) else "cpu"
    count = scale.most_runs
    epochs_ = 1 if scale.is_rehearsal else 8
    makespans: dict[int, float] = {}
    for at_a_time in (0, 1, 2, 4):  # first once for nothing: the server that runs are forked from has to load torch
        if at_a_time > count:
            break
        with tempfile.TemporaryDirectory() as folder:
            suite = api.load_suite(_suite(Path(folder), scale, count if at_a_time else 1, epochs_), synthetic=True)
            workspace = api.Workspace(f"sqlite:///{folder}/mlflow.db", Path(folder, "runs"))
            api.rows(suite, workspace=workspace)  # the store's first migration takes seconds, once
            many = max(at_a_time, 1)
            placed = {"slots_per_device": many} if use.is_accelerator(scale.device) else {"slots": many}
            started = time.perf_counter()
            api.run(suite, devices=(name,), workspace=workspace, **placed)
            makespans[at_a_time] = time.perf_counter() - started
            found = (RunFolder(path.parent).result() for path in workspace.runs_dir.rglob("result.json"))
            results = [result for result in found if result is not None]
        if not at_a_time:
            continue
        ended = sum(result.outcome == "finished" for result in results)
        findings.figure(f"{at_a_time} at a time: runs that finished", ended, at_least=count)
        per_epoch = statistics.mean(result.cost.steady_seconds / epochs_ for result in results)
        findings.figure(f"{at_a_time} at a time: seconds per epoch of a run", per_epoch, " s")
        gain = makespans[1] / makespans[at_a_time]
        findings.figure(f"{at_a_time} at a time: {count} runs one by one / this way", gain, note="starts included")


def _suite(folder: Path, scale: Scale, seeds: int, epochs_: int) -> Path:
    path = folder / "packed.yaml"
    images = f"workload: image-classification, dataset: cifar10, model: resnet20, examples: {scale.examples}"
    path.write_text(
        f"name: packed\nseeds: {list(range(seeds))}\n"
        f"workloads: {{images: {{{images}, epochs: {epochs_}, batch_size: {scale.batch_size}}}}}\n"
        f"methods: {{SGD: {{optimizer: sgd, lr: 0.1}}}}\n",
        encoding="utf-8",
    )
    return path


def ranks(scale: Scale, findings: Findings) -> None:
    """Share a run's batches between two devices, and compare with one."""
    devices = 2 if scale.is_rehearsal else len(visible().identifiers)
    if devices < 2:
        findings.fact("not done", "there is one device")
        return
    results = {}
    for count in (1, 2):
        execution = {"ranks": count, **({"batch_norm": "synchronised"} if count > 1 else {})}
        spec = scale.spec("sassha", execution=execution, examples=scale.examples, epochs=2)
        results[count] = scale.run(spec)
        findings.figure(f"{count} ranks: seconds per epoch", results[count].cost.steady_seconds / 2, " s")
    one, two = (results[count].final["train/loss"] for count in (1, 2))
    findings.figure("training loss with two ranks / with one", two / one, at_most=1.05, at_least=0.95)


SECTIONS: dict[str, tuple[int, Callable[[Scale, Findings], None]]] = {
    "steps": (120, steps),
    "executions": (60, executions),
    "memory": (30, memory),
    "epochs": (90, epochs),
    "runs-per-device": (120, runs_per_device),
    "ranks": (40, ranks),
    "compiled": (110, compiled),
}
"""Seconds that each may take, and what it does."""
