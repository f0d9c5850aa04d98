"""Which optimizers of other packages run in the harness, unchanged, from YAML alone.

Every optimizer class of `torch.optim`, `pytorch_optimizer`, `schedulefree` and, where it is installed, `heavyball` is
written into a suite of its own, checked as `benchbench run` would, and trained in this process with its default
hyperparameters; what it needs beside them stands in `SETTINGS`. Then it is graded as by `benchbench check`.

    pip install pytorch_optimizer==4.1.0 schedulefree==1.4.1
    TORCHDYNAMO_DISABLE=1 python benchmarks/third_party.py --write docs/third_party.md
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import benchbench
from benchbench import api
from benchbench.checks import component_problems, conformance
from benchbench.checks.conformance import Verdict, nan
from benchbench.checks.conformance.candidate import Candidate
from benchbench.checks.conformance.trying import BrokenPromiseError
from benchbench.plugins.names import describe_exception
from benchbench.runs.folder import RunFolder
from benchbench.training.trainer import run_in_folder
from benchbench.values import Component, RunResult
from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import TensorClassification
from benchbench.workloads.digits import load_splits

EPOCHS = 2
PACKAGES = {
    "torch": "torch.optim",
    "schedulefree": "schedulefree",
    "heavyball": "heavyball",
    "pytorch_optimizer": "pytorch_optimizer",
}
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""The lines of the page between which the script writes."""

GRADES = ("ok", "differs", "unknown", "FAIL")
"""From best to worst: what an optimizer is counted as is the worst of its promises."""

CURVATURE = "lets its Hessian-vector products have an effect"
"""A promise that says nothing of the many that compute no such product."""
SPARSE = f"{Path(__file__).resolve()}:sparse"


class PixelBag(nn.Module):
    """A linear classifier whose weights are rows of an embedding with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.EmbeddingBag(64, 10, mode="sum", sparse=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map images of shape (n, 1, 8, 8) to logits."""
        pixels = images.flatten(1)
        places = torch.arange(64, device=pixels.device).expand_as(pixels)
        return self.rows(places, per_sample_weights=pixels)


def build_sparse(setup: Setup) -> TensorClassification:
    """Handwritten digits with a linear model whose gradients are sparse."""
    splits = load_splits()
    return TensorClassification(setup, PixelBag(), splits.pop("train"), splits)


sparse = Workload(build_sparse)


def _matrices(target: str) -> dict[str, Any]:
    return {"optimizer": "by_role", "matrices": target, "matrices_group": {"use_muon": True}}


SETTINGS: dict[str, dict[str, Any]] = {
    "torch.optim:Muon": {"optimizer": "by_role", "matrices": "muon"},
    "torch.optim:SparseAdam": {"workload": SPARSE},
    "pytorch_optimizer:AdaHessian": {"create_graph": True},
    "pytorch_optimizer:SophiaH": {"create_graph": True},
    "pytorch_optimizer:SpectralSphere": {"optimizer": "by_role", "matrices": "pytorch_optimizer:SpectralSphere"},
    "pytorch_optimizer:BSAM": {"num_data": 1197},
    "pytorch_optimizer:Ranger21": {"num_iterations": 10 * EPOCHS},
    **{
        f"pytorch_optimizer:{name}": _matrices(f"pytorch_optimizer:{name}")
        for name in ("AdaGO", "AdaMuon", "DistributedMuon", "Muon", "MuonClip", "NorMuon")
    },
    **{
        f"pytorch_optimizer:{name}": {"optimizer_": "adamw"}
        for name in ("Lookahead", "Magma", "OrthoGrad", "ScheduleFreeWrapper", "TRAC")
    },
    **{
        f"pytorch_optimizer:{name}": {"base_optimizer": "sgd", "lr": 0.1}
        for name in ("FriendlySAM", "GSAM", "LookSAM", "SAM", "WSAM")
    },
}
"""What stands in the suite beside `optimizer`, where the defaults are not enough."""

REASONS = {
    "pytorch_optimizer:AdaLOMO": "updates inside the backward pass (`fused_backward`); it has no `step`",
    "pytorch_optimizer:LOMO": "updates inside the backward pass (`fused_backward`); it has no `step`",
    "pytorch_optimizer:DeMo": "for several processes: needs an initialised `torch.distributed`",
    "pytorch_optimizer:DistributedMuon": "for several processes: needs an initialised `torch.distributed`",
    "pytorch_optimizer:GSAM": "wants a scheduler object, which no suite can name",
    "pytorch_optimizer:PCGrad": "wraps an optimizer that exists already, and wants one loss per task",
    "pytorch_optimizer:SafeFP16Optimizer": "wraps an optimizer that exists already, for weights in half precision",
    "schedulefree:ScheduleFreeWrapper": "wraps an optimizer that exists already, and is no `torch.optim.Optimizer`",
    "schedulefree:ScheduleFreeWrapperReference": "wraps an optimizer that exists already",
}
"""Why an optimizer cannot run, in words; others show the harness's own message."""


@dataclass(frozen=True)
class Attempt:
    """One optimizer: what its suite said, and what became of it.

    Attributes:
        target: What the suite names.
        settings: What the suite says beside it.
        result: What its training came to, or `None` where it cannot run.
        message: Why not.
        first_loss: The training loss of the first epoch.
        verdicts: What `benchbench check` says, promise by promise; empty where it refuses to.
        refusal: Why it refuses.
        measured: Whether there was time for it.
    """

    target: str
    settings: dict[str, Any]
    result: RunResult | None = None
    message: str = ""
    first_loss: float = 0.0
    verdicts: tuple[Verdict, ...] = ()
    refusal: str = ""
    measured: bool = True

    @property
    def grade(self) -> str:
        """The worst grade of its promises, or `refused`."""
        found = {each.grade for each in self.verdicts if (each.promise, each.grade) != (CURVATURE, "unknown")}
        return max(found, key=GRADES.index) if found else "refused"

    @property
    def trains(self) -> bool:
        """Return whether it ran to the end of its epochs."""
        return self.result is not None and self.result.outcome == "finished"


def targets(module: str) -> list[str]:
    """Return the optimizer classes of a module, each once."""
    base = torch.optim.Optimizer
    names = {name for name in dir(importlib.import_module(module)) if not name.startswith("_")}
    found = {name: getattr(importlib.import_module(module), name) for name in sorted(names)}
    classes = {name: each for name, each in found.items() if inspect.isclass(each) and each is not base}
    offered = [name for name, each in classes.items() if issubclass(each, base) or "ScheduleFree" in name]
    return [f"{module}:{name}" for name in offered]


def attempt(target: str, folder: Path) -> Attempt:
    """Write a suite with one optimizer, load it as `benchbench run` does, and train."""
    settings = SETTINGS.get(target, {})
    method = {"optimizer": target, **settings}
    workload = {"workload": method.pop("workload", "digits-mlp"), "epochs": EPOCHS, "batch_size": 128}
    path = folder / "suite.yaml"
    suite = {"name": "third", "title": "t", "seeds": [0], "workloads": {"digits": workload}, "methods": {"it": method}}
    path.write_text(json.dumps(suite))  # JSON is YAML
    try:
        loaded = benchbench.load_suite(path)
        api.check(loaded)
        [spec] = loaded.specs
    except Exception as error:  # noqa: BLE001 - that is the question
        return Attempt(target, settings, None, describe_exception(error).replace(f"{path}:1: ", ""))
    run_folder = RunFolder(folder / spec.key)
    run_folder.prepare(spec)
    result = run_in_folder(spec, torch.device("cpu"), run_folder)
    if not result.conclusive:
        return Attempt(target, settings, None, result.message.splitlines()[-1])
    return Attempt(target, settings, result, result.message, run_folder.records()[0].metrics["train/loss"])


def graded(attempt: Attempt) -> Attempt:
    """Return an attempt with what `benchbench check` says of its optimizer."""
    parameters = {name: value for name, value in attempt.settings.items() if name != "workload"}
    create_graph = parameters.pop("create_graph", None)
    component = Component(target=parameters.pop("optimizer", attempt.target), parameters=parameters)
    if problems := component_problems("optimizer", component):
        return replace(attempt, refusal="; ".join(str(each) for each in problems))
    return replace(attempt, verdicts=tuple(conformance.verdicts(component, create_graph=create_graph)))


def survives_nan_in_a_fork(candidate: Candidate) -> str:
    """Do what `nan.survives_nan` does in a fork of this process, which has loaded torch already."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_try_nan, args=(candidate, theirs))
    process.start()
    theirs.close()
    process.join(nan.TIMEOUT)
    if process.is_alive():
        process.kill()
        raise BrokenPromiseError(f"hangs: no answer in {nan.TIMEOUT:g} seconds")
    if process.exitcode:
        raise BrokenPromiseError(f"the process ends with code {process.exitcode}")
    answer, works = ours.recv()
    if not works:
        raise BrokenPromiseError(answer)
    return str(answer)


def _try_nan(candidate: Candidate, answers: Connection) -> None:
    try:
        answers.send(nan.trial(candidate))
    except Exception as error:  # noqa: BLE001 - foreign code
        answers.send((describe_exception(error), False))


def table(attempts: list[Attempt]) -> Iterator[str]:
    """Yield the lines of a Markdown table of the optimizers that ran."""
    heads = ["optimizer", "set in the suite", "training loss, epoch 1 → 2", "test accuracy", "gradients / step"]
    yield "| " + " | ".join([*heads, "HVPs / step", "check"]) + " |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for each in attempts:
        result = each.result
        assert result is not None
        settings = {name: value for name, value in each.settings.items() if name != "workload"}
        text = ", ".join(f"{name}: {json.dumps(value)}" for name, value in settings.items())
        text += "sparse gradients: a linear model over an embedding" if "workload" in each.settings else ""
        if not each.trains:
            yield f"| {each.target.partition(':')[2]} | {text} | {result.outcome} | | | | {each.grade} |"
            continue
        loss = f"{each.first_loss:.3f} → {result.final['train/loss']:.3f}"
        steps = result.cost.steps
        figures = [f"{count / steps:.4g}" for count in (result.cost.gradients, result.cost.hvps)]
        cells = [each.target.partition(":")[2], text, loss, f"{result.final['test/accuracy']:.3f}", *figures]
        cells.append(each.grade)
        yield "| " + " | ".join(cells) + " |"


def findings(attempts: list[Attempt]) -> Iterator[str]:
    """Yield a line for every promise that an optimizer breaks or keeps in a way of its own, or that is unknown."""
    for each in attempts:
        name = each.target.partition(":")[2]
        if each.refusal:
            yield f"- `{name}`: refused: {each.refusal}"
        for verdict in each.verdicts:
            is_plain = verdict.grade == "ok" or (verdict.promise, verdict.grade) == (CURVATURE, "unknown")
            if not is_plain and verdict.reason != "it makes no steps":
                yield f"- `{name}`: {verdict.grade}: {verdict.promise}: {verdict.reason}"


def summary(attempts: dict[str, list[Attempt]]) -> Iterator[str]:
    """Yield the lines of a table that counts, a row for each package."""
    grades = (*GRADES, "refused")
    yield (
        "| package | optimizer classes | train | diverge | cannot run | not tried | "
        + " | ".join(f"check: {grade}" for grade in grades)
        + " |"
    )
    yield "| --- |" + " --- |" * (5 + len(grades))
    for package, of_package in attempts.items():
        tried = [each for each in of_package if each.measured]
        train = sum(each.trains for each in tried)
        fail = sum(each.result is None for each in tried)
        counts = Counter(each.grade for each in tried)
        figures = [len(of_package), train, len(tried) - train - fail, fail, len(of_package) - len(tried)]
        figures += [counts[grade] for grade in grades]
        yield f"| {package} {version(package)} | " + " | ".join(map(str, figures)) + " |"


def section(attempts: dict[str, list[Attempt]], absent: list[str]) -> Iterator[str]:
    """Yield the lines that the page has between its markers."""
    versions = ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(["torch", *attempts]))
    yield f"Measured with {versions}."
    yield from (f"`{name}` was not installed, so nothing is said of it." for name in absent)
    yield ""
    yield from summary(attempts)
    for package, of_package in attempts.items():
        tried = [each for each in of_package if each.measured]
        failed = [each for each in tried if each.result is None]
        yield f"\n## {package}\n"
        if len(tried) < len(of_package):
            names = ", ".join(each.target.partition(":")[2] for each in of_package if not each.measured)
            yield f"Not tried, for want of time: {names}.\n"
        if failed:
            yield "Cannot run:\n"
            yield from (f"- `{each.target}`: {REASONS.get(each.target, each.message)}" for each in failed)
            yield ""
        yield from table([each for each in tried if each.result is not None])
        if lines := list(findings(tried)):
            yield f"\nWhat `check` says beside ok ({package}):\n"
            yield from lines


def written(page: str, lines: list[str]) -> str:
    """Return the text of a page with new lines between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page lacks the lines {BEGIN} and {END}")
    return "\n".join([before + begin, "", *lines, "", end + after])


def is_installed(package: str) -> bool:
    """Return whether a distribution is there."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def attempts_of(package: str, deadline: float) -> Iterator[Attempt]:
    """Yield what becomes of each optimizer of a package, and those that there was no time for as not measured."""
    with tempfile.TemporaryDirectory() as folder:
        for target in targets(PACKAGES[package]):
            if time.monotonic() > deadline:
                yield Attempt(target, {}, measured=False)
                continue
            with contextlib.redirect_stdout(io.StringIO()):  # some optimizers print
                found = graded(attempt(target, Path(folder)))
            print(f"{target}: {'trains' if found.trains else found.message}; check: {found.grade}", file=sys.stderr)
            yield found


def main() -> None:
    parser = argparse.ArgumentParser(description="Run every optimizer of other packages in the harness.")
    parser.add_argument("--write", type=Path, help="the page to write into (default: print)")
    parser.add_argument("--package", action="append", choices=PACKAGES, help="only this one (can be repeated)")
    parser.add_argument("--minutes", type=float, default=60.0, help="after these, the rest counts as not tried")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    conformance.PROMISES["survives NaN without harm to the process"] = survives_nan_in_a_fork
    deadline = time.monotonic() + 60 * arguments.minutes
    chosen = arguments.package or list(PACKAGES)
    attempts = {package: list(attempts_of(package, deadline)) for package in chosen if is_installed(package)}
    lines = list(section(attempts, [package for package in chosen if package not in attempts]))
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(written(page, lines), encoding="utf-8")
    else:
        print("\n".join(lines))
    print("\n".join(summary(attempts)), file=sys.stderr)


if __name__ == "__main__":
    main()
