"""A pretend accelerator for machines without one: it is strict, and tests of arithmetic pass on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.accelerator import accelerator
from tests.conftest import REPOSITORY

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

STRICT = """
import torch
from tests.accelerator.pretend import load

device = load()
x = torch.randn(3, 4, device=device, requires_grad=True)
try:
    x + torch.ones(3, 4)
except RuntimeError as error:
    assert "same device" in str(error), error
else:
    raise AssertionError("devices were mixed")
assert torch.equal((x * 2).cpu(), x.cpu() * 2)
same_seed = (torch.rand(9, generator=torch.Generator(d).manual_seed(0), device=d).tolist() for d in ("cpu", device))
assert len(set(map(tuple, same_seed))) == 2
view = x.detach()[1:]
view.zero_()
assert x[1:].abs().sum().item() == 0 < x[0].abs().sum().item()
print(torch.accelerator.current_accelerator())
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository, where the pretend device cannot disturb the tests of this process."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_this_machine_has_an_accelerator() -> None:
    if accelerator() is None:
        pytest.skip("no accelerator: tests of arithmetic run on the CPU, and on a pretend accelerator")
    assert torch.ones(3, device=accelerator()).sum().item() == 3


@pytest.mark.slow
@needs_compiler
def test_the_pretend_accelerator_is_as_strict_as_a_real_one() -> None:
    done = python("-c", STRICT)
    assert (done.returncode, done.stdout) == (0, "pretend\n"), done.stderr


SECTIONS = """
from dataclasses import replace
from benchmarks.gpu import arithmetic, settings, speed
from benchmarks.gpu.report import Findings
from tests.accelerator import CPU
from tests.accelerator.pretend import load

scale = replace(settings.on(CPU), device=load())
for name, section in (("products", arithmetic.products), ("resume", arithmetic.resume), ("steps", speed.steps)):
    findings = Findings(name, {})
    section(scale, findings)
    assert findings.figures and all(figure.is_met is not False for figure in findings.figures), findings
"""


@pytest.mark.slow
@needs_compiler
def test_what_a_gpu_is_asked_works_on_an_accelerator() -> None:
    done = python("-c", SECTIONS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    "files",
    [
        [
            "tests/optim/test_objective.py",
            "tests/optim/second_order",
            "tests/optim/execution/test_parts.py",
            "tests/workloads/images",
        ],
        [
            "tests/test_optimizers.py",
            "tests/optim/test_hutchinson.py",
            "tests/curvature/test_surface.py",
            "tests/baselines",
        ],
        ["tests/training/test_trainer.py", "tests/training/test_steps.py"],
    ],
    ids=["derivatives", "optimizers", "runs"],
)
def test_arithmetic_stays_on_its_device(files: list[str]) -> None:
    done = python("-m", "pytest", "--accelerator", "pretend", "-k", "pretend", "-m", "not slow", *files)
    assert done.returncode == 0, done.stdout[-5000:]
