"""Whole models: products with routed functions, without them, and with the dense Hessian."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional as F

from benchbench.optim.ledger import Ledger, graph_behind
from benchbench.optim.objective import Objective
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import Attention, Case, dense_hessian, flat, to_array
from tests.optim.second_order.test_routing import hvp

pytestmark = every_device


class Residual(nn.Module):
    """A residual network with everything that convolutions do, and a frozen normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            nn.Conv2d(4, 4, 3, stride=2, padding="valid", groups=2),
            nn.BatchNorm2d(4, affine=False),
            nn.GELU(),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm2d(4),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(4, 4, 1, stride=2), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 3)
        self.branch[4].weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.branch(x) + self.shortcut(x)[..., :-1, :-1])
        return self.head(x.mean((2, 3)))


def residual() -> Case:
    needs(torch.float64)
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Residual().double()
    inputs = torch.randn(6, 2, 6, 6, generator=generator, dtype=torch.float64)
    return Case(model, [(inputs, torch.randint(0, 3, (6,), generator=generator))]).to(current_device())


MODELS: dict[str, Callable[[], Case]] = {
    "residual": residual,
    **{name: lambda name=name: model_cases.build(name) for name in model_cases.NAMES},  # type: ignore[misc]
}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_products_are_those_of_the_dense_hessian(name: str) -> None:
    case = MODELS[name]()
    used = case.used()
    vector = flat([torch.linspace(-1, 1, p.numel(), dtype=p.dtype).numpy() for p in used])
    expected = dense_hessian(case) @ vector
    found = flat([to_array(p) for p in hvp(case.loss(), used)])
    assert np.abs(found - expected).max() <= tolerance(1e-12) * np.abs(expected).max()


@every_model
@pytest.mark.parametrize(("dtype", "on_the_cpu"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_products_are_those_without_the_routes(name: str, dtype: torch.dtype, on_the_cpu: float) -> None:
    case = MODELS[name]()
    case.model.to(dtype)
    inputs, targets = case.batches[0]
    parameters = case.used() if dtype == torch.float64 else [p for p in case.model.parameters() if p.requires_grad]

    def loss() -> Tensor:
        return F.cross_entropy(case.model(inputs.to(dtype)), targets)

    found, expected = hvp(loss, parameters), hvp(loss, parameters, routed=False)
    scale = max(float(e.abs().max()) for e in expected)
    assert (
        max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True))
        <= tolerance(on_the_cpu, dtype) * scale
    )


def second_order_nodes(case: Case) -> set[str]:
    objective = Objective(case.loss(), case.parameters(), create_graph=True)
    objective()
    nodes: list[Node] = list(graph_behind([p.grad for p in objective.parameters]))
    return {node.name() for node in nodes}


def test_no_slow_formula_is_left_in_the_graph() -> None:
    names = second_order_nodes(residual()) | second_order_nodes(model_cases.build("attention"))
    assert {"_ConvolutionBackwardBackward", "_BatchNormBackwardBackward", "_AttentionBackwardBackward"} <= names
    slow = ("Convolution", "NativeBatchNorm", "NativeLayerNorm", "Softmax", "Addmm", "GeluBackwardB", "Threshold")
    assert not [name for name in names if name.startswith(slow) and name != "ThresholdBackwardBackward0"]


@pytest.mark.parametrize("name", ["residual", "attention"])
@pytest.mark.parametrize("way", ["product", "scalar"])
def test_a_strangers_products_are_still_counted_as_such(name: str, way: str) -> None:
    case = MODELS[name]()
    ledger = Ledger()
    objective = Objective(case.loss(), case.used(), ledger=ledger, create_graph=True)
    with ledger.metered():
        objective()
        gradients = [p.grad for p in objective.parameters]
        if way == "product":
            torch.autograd.grad(gradients, objective.parameters, [torch.ones_like(g) for g in gradients])
        else:
            torch.autograd.grad(sum((g * 2).sum() for g in gradients), objective.parameters)
    assert (ledger.forwards, ledger.gradients, ledger.hvps) == (1, 1, 1)


def test_attention_block_is_the_one_that_is_routed() -> None:
    """The case table's transformer uses the function that has a route, so the tests above mean something."""
    assert "_AttentionBackwardBackward" in second_order_nodes(model_cases.build("attention"))
    assert isinstance(model_cases.build("attention").model, Attention)
