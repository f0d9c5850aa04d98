"""Sections about numbers: is what the device computes right, and the same again?"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.devices import use
from benchbench.optim.hutchinson import rademacher
from benchbench.optim.objective import Objective
from benchbench.runs.folder import RunFolder
from benchbench.training import backends
from benchbench.training.trainer import run_in_folder
from benchbench.values import Execution, RunResult, RunSpec
from benchbench.workloads.models import resnet20
from benchmarks.gpu.report import Findings
from benchmarks.gpu.settings import Scale
from benchmarks.models import GPT

CPU = torch.device("cpu")


def environment(scale: Scale, findings: Findings) -> None:
    """Say what this machine is."""
    device = scale.device
    findings.fact("device", use.description(device))
    for name, text in use.versions(device).items():
        findings.fact(name, text)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        findings.fact(
            "capability", f"{properties.major}.{properties.minor}; this torch has {torch.cuda.get_arch_list()}"
        )
        findings.figure("processors", properties.multi_processor_count)
        findings.figure("memory", properties.total_memory / 2**30, " GiB")
        findings.fact("cuDNN", torch.backends.cudnn.version())
    findings.fact("system", f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}")
    findings.figure("CPU cores", os.cpu_count() or 0)
    work = torch.randn(64, 64, device=device)
    findings.figure("a matrix product is finite", float((work @ work).isfinite().all()), at_least=1)


def products(scale: Scale, findings: Findings) -> None:
    """Compare Hessian-vector products with float64 on the CPU, and with torch's own second derivatives."""
    cases: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {"resnet20": _images, "gpt": _tokens}
    for name, case in cases.items():
        truth = _product(case, CPU, torch.float64)
        for dtype, title in ((torch.float64, "float64"), (torch.float32, "float32")):
            if dtype == torch.float64 and (why := use.lacks(scale.device, "float64")):
                findings.fact("float64", why)
                continue
            with backends.configured(Execution(), scale.device):
                ours = _distance(_product(case, scale.device, dtype), truth)
                theirs = _distance(_product(case, scale.device, dtype, fast=False), truth)
            on_cpu = _distance(_product(case, CPU, dtype), truth)
            what = f"error of H v, {name}, {title}"
            note = f"torch's own {theirs:.1e}, on the CPU {on_cpu:.1e}"
            if dtype == torch.float64:
                findings.figure(what, ours, at_most=1e-10, note=note)
            else:  # what rounding makes of it depends on the network (kinks of ReLU): the CPU's error is the measure
                findings.figure(what, ours, note=note)
                findings.figure(f"{what} / the CPU's", ours / on_cpu, at_most=10)
                findings.figure(f"{what} / torch's own", ours / theirs, at_most=10)


def _images() -> tuple[nn.Module, Tensor, Tensor]:
    return resnet20(classes=10, channels=3, image_size=32), torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))


def _tokens() -> tuple[nn.Module, Tensor, Tensor]:
    tokens = torch.randint(0, 64, (2, 17))
    return GPT(blocks=2, width=32, heads=2, length=16, words=64), tokens[:, :-1], tokens[:, 1:].flatten()


def _product(
    case: Callable[[], tuple[nn.Module, Tensor, Tensor]], device: torch.device, dtype: torch.dtype, *, fast: bool = True
) -> Tensor:
    """Return H v of a network in one piece, in float64 on the CPU."""
    torch.manual_seed(0)
    model, inputs, targets = case()
    model = model.to(device, dtype)
    inputs = inputs.to(device, dtype if inputs.is_floating_point() else None)
    targets = targets.to(device)
    parameters = list(model.parameters())
    signs = rademacher([torch.empty(p.shape) for p in parameters], n_samples=1, seed=1, step=0)[0]
    vector = [sign.to(device, dtype) for sign in signs]
    objective = Objective(lambda: F.cross_entropy(model(inputs), targets), parameters)
    slow = mock.patch("benchbench.optim.objective.FastSecondDerivatives", contextlib.nullcontext)
    with contextlib.nullcontext() if fast else slow:
        _, [product] = objective.with_hvp([vector])
    return torch.cat([part.detach().double().cpu().flatten() for part in product])


def _distance(found: Tensor, truth: Tensor) -> float:
    return ((found - truth).norm() / truth.norm()).item()


def probes(scale: Scale, findings: Findings) -> None:
    """Compare what has to be the same on every device: random numbers, initial weights, batches."""
    sizes = [(272_474,), (64, 3, 3, 3), ()]
    for seed, step in ((0, 0), (1, 7)):
        here, there = (
            rademacher([torch.empty(size, device=device) for size in sizes], n_samples=2, seed=seed, step=step)
            for device in (scale.device, CPU)
        )
        what = f"probes of seed {seed}, step {step}: share that is the CPU's"
        findings.figure(
            what, _share([*here[0], *here[1]], [*there[0], *there[1]]), at_least=1, note=f"digest {_digest(here[0])}"
        )
    ours, theirs = (each.training("sgd").training.task for each in (scale, replace(scale, device=CPU)))
    share = _share(list(ours.model.parameters()), list(theirs.model.parameters()))
    findings.figure("initial weights: share that is the CPU's", share, at_least=1)
    (images, labels), (images_there, labels_there) = next(ours.batches(1)), next(theirs.batches(1))
    findings.figure("labels of the first batch: share that is the CPU's", _share([labels], [labels_there]), at_least=1)
    furthest = (images.cpu() - images_there).abs().max().item()
    findings.figure("images of the first batch: largest difference to the CPU's", furthest, at_most=1e-5)


def _share(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the share of tensors that are those of the CPU, bit for bit."""
    return sum(one.cpu().equal(other) for one, other in zip(found, expected, strict=True)) / len(expected)


def _digest(tensors: Sequence[Tensor]) -> str:
    content = b"".join(tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()[:12]


def determinism(scale: Scale, findings: Findings) -> None:
    """Train twice with deterministic algorithms; and see what differs without."""
    for method in ("sgd", "sassha"):
        for execution in ({"deterministic": True}, {}):
            spec = scale.spec(method, execution=execution, examples=min(scale.examples, 2560))
            one, two = (scale.run(spec).final for _ in range(2))
            different = sorted(name for name in one if one[name] != two[name])
            how = "deterministic" if execution else "as it comes"
            target = {"at_most": 0.0} if execution else {}
            findings.figure(f"{method}, {how}: numbers that differ in the second run", len(different), **target)


def resume(scale: Scale, findings: Findings) -> None:
    """Stop a run in the middle of its second epoch, resume it, and compare with one that was not stopped."""
    examples = min(scale.examples, 2560)

    def at_step(number: int) -> Callable[[], bool]:
        looks = iter(range(number))
        return lambda: next(looks, None) is None

    for method in ("sgd", "sassha"):
        spec = scale.spec(method, execution={"deterministic": True}, epochs=2, examples=examples)
        middle = 3 * examples // (2 * scale.batch_size)
        with tempfile.TemporaryDirectory() as name:
            straight = _in_folder(spec, scale.device, Path(name, "straight"))
            stopped = _in_folder(spec, scale.device, Path(name, "resumed"), at_step(middle))
            resumed = _in_folder(spec, scale.device, Path(name, "resumed"))
        findings.fact(f"{method}: stopped", f"{stopped.outcome}: {stopped.message}")
        findings.figure(f"{method}: resumed", float(resumed.environment.get("resumed", "0")), at_least=1)
        different = [key for key, value in straight.final.items() if resumed.final.get(key) != value]
        findings.figure(f"{method}: numbers that differ after a checkpoint", len(different), at_most=0)


def _in_folder(spec: RunSpec, device: torch.device, path: Path, stop: Callable[[], bool] = lambda: False) -> RunResult:
    folder = RunFolder(path)
    folder.prepare(spec)
    return run_in_folder(spec, device, folder, stop=stop)


SECTIONS: dict[str, tuple[int, Callable[[Scale, Findings], None]]] = {
    "environment": (30, environment),
    "products": (60, products),
    "probes": (30, probes),
    "determinism": (60, determinism),
    "resume": (45, resume),
}
"""Seconds that each may take, and what it does."""
