"""Functions of torch that are called directly get arguments that CUDA takes, on all that they are called for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from benchbench.optim.execution.precision import LossScaler
from benchbench.optim.objective import Objective
from tests.conftest import REPOSITORY
from tests.helpers import model_cases
from tests.helpers.optimizers import FACTORIES, every_optimizer
from tests.optim.second_order import test_functions as functions
from tests.optim.second_order.cuda_contracts import COMPOSED, RULES, CudaContracts

PACKAGES = ("optim/second_order", "optim/execution", "curvature")
HOST_CODE = Path(__file__).with_name("cuda_host_code.cpp")
ROOT = REPOSITORY / "benchbench"


def test_every_function_that_is_called_directly_has_a_rule() -> None:
    source = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).glob("*.py"))
    called = set(re.findall(r"torch\.ops\.aten\.(\w+)", source)) | set(re.findall(r"torch\.(_amp_\w+)", source))
    assert len(called) >= 10
    assert {COMPOSED.get(name, name) for name in called} <= RULES.keys()


@functions.every_case
@pytest.mark.parametrize("for_gpus", [False, True], ids=["form for CPUs", "form for GPUs"])
def test_functions_keep_the_contracts(name: str, for_gpus: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if for_gpus:
        monkeypatch.setattr("benchbench.optim.second_order.batch_norm._SecondDerivative._is_on_cpu", False)
    with CudaContracts():
        functions.test_any_part_of_the_second_derivative_may_be_asked_for(name)
        functions.test_any_input_may_be_a_constant(name)
        functions.test_memory_layout_does_not_matter(name)
        functions.test_agrees_with_torch_in_single_precision(name)


@pytest.mark.parametrize("case_name", ["conv_bn", "attention"])
@every_optimizer
def test_optimizers_keep_the_contracts(name: str, case_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbench.optim.second_order.batch_norm._SecondDerivative._is_on_cpu", False)
    case = model_cases.build(case_name)
    optimizer = FACTORIES[name](case.model.parameters(), lr=0.01)
    with CudaContracts() as contracts:
        for step in range(4):
            optimizer.step(case.loss(step))
    assert contracts.seen


def test_scaling_a_loss_keeps_the_contracts() -> None:
    weight = torch.randn(3, requires_grad=True)
    with CudaContracts() as contracts:
        Objective(lambda: weight.square().sum(), [weight], scaler=LossScaler(torch.device("cpu")))()
    assert contracts.seen.keys() == {"_amp_foreach_non_finite_check_and_unscale_", "_amp_update_scale_"}


def test_a_missing_weight_is_noticed() -> None:
    x = torch.randn(4, 3, 5, 5)
    backward = torch.ops.aten.native_batch_norm_backward.default
    with CudaContracts(), pytest.raises(AssertionError, match="like the weight"):
        backward(x, x, None, None, None, torch.zeros(3), torch.ones(3), True, 0.0, [False, True, True])
    with CudaContracts(), pytest.raises(AssertionError, match="like the bias"):
        mean, scale = torch.zeros(4, 1), torch.ones(4, 1)
        F.layer_norm(x, (5,))
        torch.ops.aten.native_layer_norm_backward.default(
            x[:, :, 0, 0], x[:, :, 0, 0], [3], mean, scale, None, None, [True, False, True]
        )


@pytest.mark.slow
def test_the_rules_are_those_of_torchs_own_host_code(tmp_path: Path) -> None:
    """The host code of CUDA's kernels takes what the rules allow, and refuses what they are there for."""
    torch_folder = Path(torch.__file__).parent
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    if not (torch_folder / "lib" / "libtorch_cuda.so").exists():
        pytest.skip("this build of torch has no CUDA")
    if torch.cuda.is_available():
        pytest.skip("on a GPU, the functions themselves are tested")
    program = tmp_path / "host_code"
    libraries = [f"-L{torch_folder}/lib", "-ltorch_cuda", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{torch_folder}/lib"]
    options = ["-std=c++20", "-w", f"-I{torch_folder}/include", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]
    subprocess.run([compiler, str(HOST_CODE), *options, *libraries, "-o", str(program)], check=True)
    said = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    refused = [line.partition(": ")[2] for line in said if " refused" in line]
    taken = [line.partition(": ")[2] for line in said if " taken" in line]
    assert len(refused) == 16 and len(taken) == 80
    assert all(
        re.match("tensor does not have a device|Expected a proper Tensor but got None", line) for line in refused
    )
    assert all(line.startswith("CUDA error: ") for line in taken)  # only launching it has failed
