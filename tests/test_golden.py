"""Golden trajectories: a refactor must keep every optimizer's numbers, bit for bit.

`python -m tests.test_golden` writes the files again, for a change that is meant to change the numbers.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW, Optimizer

from baselines.adahessian import AdaHessian
from baselines.sam import SAM
from baselines.shampoo import Shampoo
from baselines.shampoo_grafted import GraftedShampoo
from baselines.sophia_h import SophiaH
from sassha import MSASSHA, SASSHA
from tests.accelerator import CPU, current_device, every_device, tolerance
from tests.helpers import model_cases

pytestmark = every_device

FOLDER = Path(__file__).parent / "golden"
STEPS = 12

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sassha": lambda p: SASSHA(p, lr=0.02, weight_decay=0.01, lazy_hessian=5),
    "sassha_signed": lambda p: SASSHA(p, lr=0.01, eps=0.01, absolute=False, hessian_power=0.8),
    "sassha_adaptive": lambda p: SASSHA(p, lr=0.02, rho=0.5, adaptive=True, bias_correction="updates", n_samples=2),
    "msassha": lambda p: MSASSHA(p, lr=0.02, rho=0.2, weight_decay=0.01, lazy_hessian=5),
    "sam_sgd": lambda p: SAM(p, rho=0.1, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sam_adamw": lambda p: SAM(p, AdamW, rho=0.1, lr=0.01, eps=1e-3),
    "adahessian": lambda p: AdaHessian(p, lr=0.02, weight_decay=0.01, lazy_hessian=2),
    "sophia_h": lambda p: SophiaH(p, lr=0.01, gamma=1.0, eps=1e-4, lazy_hessian=5),
    "shampoo": lambda p: Shampoo(p, lr=0.1, eps=1.0, weight_decay=0.01),
    "grafted_shampoo": lambda p: GraftedShampoo(p, lr=0.01, eps=1e-3, update_freq=5),
}


def trajectories(name: str) -> dict[str, list[str]]:
    """Return the losses of the first steps on each case, as hexadecimal numbers."""
    found = {}
    for case_name in ("mlp", "conv_bn", "attention"):
        case = model_cases.build(case_name)
        optimizer = OPTIMIZERS[name](case.model.parameters())
        found[case_name] = [float(optimizer.step(case.loss(t))).hex() for t in range(STEPS)]
    return found


def machine() -> dict[str, str]:
    """Return what the last bits of a sum depend on: libraries choose other kernels for another processor."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", described, flags=re.MULTILINE))
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": " ".join(fields.values()) or platform.machine(),
    }


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_keeps_its_golden_trajectory(name: str) -> None:
    golden = json.loads((FOLDER / f"{name}.json").read_text())
    found = trajectories(name)
    if golden["machine"] == machine() and current_device() == CPU:
        assert found == golden["losses"]
    for case_name, losses in golden["losses"].items():  # elsewhere the last bits may differ
        expected = [float.fromhex(loss) for loss in losses]
        assert [float.fromhex(loss) for loss in found[case_name]] == pytest.approx(expected, rel=tolerance(1e-10))


if __name__ == "__main__":
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for optimizer_name in OPTIMIZERS:
        content = {"machine": machine(), "losses": trajectories(optimizer_name)}
        (FOLDER / f"{optimizer_name}.json").write_text(json.dumps(content, indent=1) + "\n")
