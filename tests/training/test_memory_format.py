"""A run in the memory format channels-last: its weights, its inputs, and what is computed with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchbench.plugins.factories import Factories
from benchbench.training.steps import Training
from benchbench.workloads import DATA
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.training.test_steps import gradients, norm, ones, spec, training


def formats(tensors: Sequence[Tensor]) -> list[bool]:
    """Say of filters with several channels whether they are channels-last; with one, both formats are the same."""
    return [
        tensor.is_contiguous(memory_format=torch.channels_last)
        for tensor in tensors
        if tensor.dim() == 4 and tensor.shape[1] > 1
    ]


@every_device
def test_weights_inputs_and_products_are_channels_last() -> None:
    made, batch = training("digits-resnet8", channels_last=True)
    plain, _ = training("digits-resnet8")
    assert [formats(each.parameters) for each in (made, plain)] == [[True] * 6, [False] * 6]
    seen: list[bool] = []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(output.is_contiguous(memory_format=torch.channels_last))

    made.task.model.get_submodule("3").register_forward_hook(look)
    for training_ in (made, plain):
        training_.objective(batch)()
    assert formats([p.grad for p in made.parameters if p.grad is not None]) == [True] * 6
    found, expected = gradients(made), gradients(plain)
    objectives = made.objective(batch), plain.objective(batch)
    (_, [product]), (_, [expected_product]) = (each.with_hvp(ones(each)) for each in objectives)
    made.evaluate("validation")
    assert all(seen)
    assert len(seen) == 3
    for one, other in zip([*found, *product], [*expected, *expected_product], strict=True):
        assert norm([one - other]) <= tolerance(1e-4, torch.float32) * norm([other]) + 1e-6


@every_device
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "sam", "sassha", "adahessian"])
def test_in_double_precision_the_memory_format_changes_nothing(optimizer: str) -> None:
    """Steps with plain gradients and with products, and the evaluation after them."""
    needs(torch.float64)
    weights = []
    for channels_last in (False, True):
        chosen = spec("digits-resnet8", optimizer, channels_last=channels_last)
        with torch.random.fork_rng(devices=[]):
            made = Training(chosen, Factories.of(chosen), current_device(), DATA)
        made.task.model.double()
        for images, labels in islice(made.task.batches(1), 3):
            made.step((images.double(), labels))
        weights.append(torch.cat([p.detach().reshape(-1) for p in made.parameters]))
    torch.testing.assert_close(weights[1], weights[0], rtol=tolerance(1e-9), atol=tolerance(1e-12))


def test_convolutions_that_corrupt_memory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "strided.py").write_text(
        "from torch import nn\n"
        "from benchbench.workloads import Workload\n"
        "from benchbench.workloads.digits import build_mlp\n"
        "def build(setup):\n"
        "    task = build_mlp(setup)\n"
        "    task.model = nn.Sequential(nn.Conv2d(1, 1, 1, stride=2), task.model)\n"
        "    return task\n"
        "strided = Workload(build)\n"
    )
    with pytest.raises(ValueError, match=r"corrupt memory on CPUs \(0 in this model\)"):
        training(f"{tmp_path}/strided.py:strided", channels_last=True)
