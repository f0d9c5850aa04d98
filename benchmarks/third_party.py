"""Which optimizers of other packages run in the harness, unchanged, from YAML alone.

Every optimizer class of `torch.optim`, `pytorch_optimizer` and `schedulefree` is written into a suite of its own,
checked as `benchbench run` would, and trained in this process with its default hyperparameters; what it needs beside
them stands in `SETTINGS`.

    pip install pytorch_optimizer==4.1.0 schedulefree==1.4.1
    python benchmarks/third_party.py --write docs/third_party.md
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import benchbench
from benchbench.plugins import describe_exception
from benchbench.training.trainer import run
from benchbench.values import RunResult
from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import TensorClassification
from benchbench.workloads.digits import load_splits

EPOCHS = 2
PACKAGES = {"torch": "torch.optim", "pytorch_optimizer": "pytorch_optimizer", "schedulefree": "schedulefree"}
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
    return {"optimizer": "by_shape", "matrices": target, "matrices_group": {"use_muon": True}}


SETTINGS: dict[str, dict[str, Any]] = {
    "torch.optim:Muon": {"optimizer": "by_shape", "matrices": "muon"},
    "torch.optim:SparseAdam": {"workload": SPARSE},
    "pytorch_optimizer:AdaHessian": {"create_graph": True},
    "pytorch_optimizer:SophiaH": {"create_graph": True},
    "pytorch_optimizer:SpectralSphere": {"optimizer": "by_shape", "matrices": "pytorch_optimizer:SpectralSphere"},
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
    """One optimizer: what its suite said, and what became of it."""

    target: str
    settings: dict[str, Any]
    result: RunResult | None
    message: str
    first_loss: float = 0.0


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
    records = []
    try:
        [spec] = benchbench.load_suite(path).specs
        result = run(spec, torch.device("cpu"), records.append)
    except Exception as error:  # noqa: BLE001 - that is the question
        return Attempt(target, settings, None, describe_exception(error))
    return Attempt(target, settings, result, result.message, records[0].metrics["train/loss"])


def table(attempts: list[Attempt]) -> Iterator[str]:
    """Yield the lines of a Markdown table of the optimizers that ran."""
    heads = ["optimizer", "set in the suite", "training loss, epoch 1 → 2", "test accuracy", "gradients / step"]
    yield "| " + " | ".join([*heads, "HVPs / step"]) + " |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in attempts:
        result = each.result
        assert result is not None
        settings = {name: value for name, value in each.settings.items() if name != "workload"}
        text = ", ".join(f"{name}: {json.dumps(value)}" for name, value in settings.items())
        text += "sparse gradients: a linear model over an embedding" if "workload" in each.settings else ""
        loss = f"{each.first_loss:.3f} → {result.final['train/loss']:.3f}"
        steps = result.cost.steps
        figures = [f"{count / steps:.4g}" for count in (result.cost.gradients, result.cost.hvps)]
        cells = [each.target.partition(":")[2], text, loss, f"{result.final['test/accuracy']:.3f}", *figures]
        yield "| " + " | ".join(cells) + " |"


def page(attempts: dict[str, list[Attempt]]) -> Iterator[str]:
    """Yield the lines of docs/third_party.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield "# Optimizers of other packages"
    yield ""
    yield "Written by `python benchmarks/third_party.py --write docs/third_party.md`, with " + versions + "."
    yield ""
    yield f"Every optimizer class of these packages was named in a suite of its own and trained for {EPOCHS} epochs"
    yield "on `digits-mlp` (batch size 128, seed 0, CPU) with its default hyperparameters. The accuracies say that the"
    yield "harness drives these optimizers, not how good they are: nothing is tuned, and defaults are for long runs."
    yield ""
    yield "| package | optimizer classes | run | cannot run |"
    yield "| --- | --- | --- | --- |"
    for package, of_package in attempts.items():
        ran = sum(each.result is not None for each in of_package)
        yield f"| {package} {version(package)} | {len(of_package)} | {ran} | {len(of_package) - ran} |"
    for package, of_package in attempts.items():
        failed = [each for each in of_package if each.result is None]
        yield f"\n## {package}\n"
        if failed:
            yield "Cannot run:\n"
            yield from (f"- `{each.target}`: {REASONS.get(each.target, each.message)}" for each in failed)
            yield ""
        yield from table([each for each in of_package if each.result is not None])
    yield "\nNext: [plugins](plugins.md), how an optimizer is named in a suite, and how strangers are driven."


def main() -> None:
    parser = argparse.ArgumentParser(description="Run every optimizer of other packages in the harness.")
    parser.add_argument("--write", type=Path, help="the page to write (default: print it)")
    parser.add_argument("--package", action="append", choices=PACKAGES, help="only this one (can be repeated)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    attempts = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in arguments.package or PACKAGES:
            with contextlib.redirect_stdout(io.StringIO()):  # some optimizers print
                attempts[package] = [attempt(target, Path(folder)) for target in targets(PACKAGES[package])]
    text = "\n".join(page(attempts)) + "\n"
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    for package, of_package in attempts.items():
        ran = sum(each.result is not None for each in of_package)
        print(f"{package}: {ran} of {len(of_package)} run")


if __name__ == "__main__":
    main()
