from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from baselines.by_role import ByRole
from benchbench.optim.roles import ParameterRoles
from benchbench.optim.state import state_bytes
from benchbench.workloads.models import resnet20
from benchbench.workloads.models.gpt import GPT, GPTConfig, next_token_loss
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers.command_line import call

pytestmark = every_device

STEPS = 4


def residual_network() -> tuple[nn.Module, Callable[[nn.Module, int], Tensor]]:
    needs(torch.float64)
    torch.manual_seed(0)
    images = torch.randn(STEPS, 6, 3, 8, 8, dtype=torch.float64, device=current_device())
    labels = torch.randint(10, (STEPS, 6), device=current_device())
    model = resnet20(classes=10, channels=3, image_size=8).to(current_device(), torch.float64)
    return model, lambda model, step: nn.functional.cross_entropy(model(images[step]), labels[step])


def language_model() -> tuple[nn.Module, Callable[[nn.Module, int], Tensor]]:
    needs(torch.float64)
    torch.manual_seed(0)
    tokens = torch.randint(11, (STEPS, 3, 9), device=current_device())
    model = GPT(GPTConfig(layers=2, heads=2, width=8), vocabulary=11, context=8).to(current_device(), torch.float64)
    return model, lambda model, step: next_token_loss(model(tokens[step, :, :-1]), tokens[step, :, 1:])


NETWORKS = {"resnet": residual_network, "gpt": language_model}

# What the authors of Muon leave to AdamW, written down for these two networks.
FOR_ADAMW = {
    "resnet": ("head.", ".bias", "norm", "stem.1", "shortcut.1"),
    "gpt": ("tokens", "positions", "bias", "norm"),
}


def muon_and_adamw(model: nn.Module, **options: object) -> ByRole:
    muon, adamw = partial(torch.optim.Muon, lr=0.02), partial(torch.optim.AdamW, lr=0.003)
    settings: dict[str, object] = {"matrices": muon, "rest": adamw}
    return ByRole(model.parameters(), ParameterRoles(model), **(settings | options))  # type: ignore[arg-type]


def train(model: nn.Module, optimizer: ByRole, loss: Callable[[nn.Module, int], Tensor], steps: range) -> None:
    for step in steps:

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            value = loss(model, step)
            value.backward()
            return value

        optimizer.step(closure)


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("name", NETWORKS)
def test_muon_by_role_equals_a_loop_written_by_hand(name: str) -> None:
    model, loss = NETWORKS[name]()
    by_hand = copy.deepcopy(model)
    train(model, muon_and_adamw(model), loss, range(STEPS))

    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter_name, parameter in by_hand.named_parameters():
        parts[any(word in parameter_name for word in FOR_ADAMW[name])].append(parameter)
    adamw = torch.optim.AdamW(parts[True], lr=0.003)
    # A filter is orthogonalized as the matrix of its output channels.
    matrices = [nn.Parameter(p.detach().flatten(1)) for p in parts[False]]
    muon = torch.optim.Muon(matrices, lr=0.02)
    for step in range(STEPS):
        by_hand.zero_grad()
        loss(by_hand, step).backward()
        for matrix, parameter in zip(matrices, parts[False], strict=True):
            assert parameter.grad is not None
            matrix.grad = parameter.grad.flatten(1)
        adamw.step()
        muon.step()
        for matrix, parameter in zip(matrices, parts[False], strict=True):
            parameter.data.copy_(matrix.detach().view_as(parameter))
    for ours, theirs in zip(weights(model), weights(by_hand), strict=True):
        assert torch.equal(ours, theirs)


def test_channels_last_filters_are_matrices_without_a_copy_and_take_the_same_steps() -> None:
    model, loss = residual_network()
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    places = [p.data_ptr() for p in other.parameters()]
    sgd = partial(torch.optim.SGD, lr=0.1)  # equal to the last bits, unlike Muon, which multiplies in bfloat16
    train(model, muon_and_adamw(model, matrices=sgd), loss, range(STEPS))
    train(other, muon_and_adamw(other, matrices=sgd), loss, range(STEPS))
    assert [p.data_ptr() for p in other.parameters()] == places
    assert other.get_parameter("stem.0.weight").is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(weights(model), weights(other), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance(1e-11))


def test_every_role_can_have_its_own_optimizer_and_groups_say_whose_they_are() -> None:
    model, loss = residual_network()
    sgd = torch.optim.SGD
    optimizer = muon_and_adamw(
        model, filters=partial(sgd, lr=0.1), head=partial(sgd, lr=0.2), norm=partial(sgd, lr=0.3, momentum=0.9)
    )
    train(model, optimizer, loss, range(1))
    assert {group["part"]: group["lr"] for group in optimizer.param_groups} == {
        "filters": 0.1,
        "head": 0.2,
        "norm": 0.3,
        "rest": 0.003,
    }
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == sum(
        p.numel() for p in model.parameters()
    )


def test_groups_of_the_caller_keep_what_they_say() -> None:
    model, _ = residual_network()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = ByRole(groups, ParameterRoles(model), matrices=torch.optim.Muon, matrices_group={"flag": True})
    assert [(group["part"], group["weight_decay"], "flag" in group) for group in optimizer.param_groups] == [
        ("matrices", 0.1, True),
        ("rest", 0.01, False),
        ("rest", 0.0, False),
    ]


def test_a_schedule_reaches_every_part_and_a_state_continues_bit_by_bit() -> None:
    model, loss = residual_network()
    optimizer = muon_and_adamw(model)
    train(model, optimizer, loss, range(2))
    other = copy.deepcopy(model)
    resumed = muon_and_adamw(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, resumed):
        for group in each.param_groups:
            group["lr"] *= 0.5
    assert [group["lr"] for part in resumed.parts.values() for group in part.param_groups] == [0.01, 0.0015]
    train(model, optimizer, loss, range(2, STEPS))
    train(other, resumed, loss, range(2, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


def test_its_state_is_that_of_its_parts() -> None:
    model, loss = residual_network()
    optimizer = muon_and_adamw(model)
    train(model, optimizer, loss, range(1))
    roles = ParameterRoles(model)
    of_muon = sum(p.numel() for p, role in roles.items() if role == "filter")
    of_adamw = sum(p.numel() for p in roles) - of_muon
    counts = sum(role != "filter" for role in roles.values())  # AdamW counts steps in float32
    assert state_bytes(optimizer, model) == 8 * (of_muon + 2 * of_adamw) + 4 * counts


def test_parameters_are_left_as_they_were_after_an_exception() -> None:
    model, loss = residual_network()
    shapes = [p.shape for p in model.parameters()]

    class Failing(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            raise RuntimeError("no step today")

    optimizer = muon_and_adamw(model, rest=Failing)
    with pytest.raises(RuntimeError, match="no step today"):
        train(model, optimizer, loss, range(1))
    assert [p.shape for p in model.parameters()] == shapes
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_averaged_weights_of_one_part_are_those_that_are_evaluated() -> None:
    schedulefree = pytest.importorskip("schedulefree")
    model, loss = residual_network()
    optimizer = muon_and_adamw(model, rest=partial(schedulefree.AdamWScheduleFree, lr=0.01))
    optimizer.train()
    train(model, optimizer, loss, range(STEPS))
    trained = weights(model)
    optimizer.eval()
    changed = {
        name
        for (name, p), before in zip(model.named_parameters(), trained, strict=True)
        if not torch.equal(p.detach(), before)
    }
    assert changed
    assert not {name for name in changed if model.get_parameter(name).dim() == 4}
    optimizer.train()
    for ours, before in zip(weights(model), trained, strict=True):
        torch.testing.assert_close(ours, before)


def test_filters_that_are_not_reshaped_go_as_they_are() -> None:
    model, _ = residual_network()
    with pytest.raises(ValueError, match="2D"):
        muon_and_adamw(model, reshape="none")


PARTS = {
    "{name: sam, base: sgd, lr: 0.1}": "SAM of `matrices` evaluates the loss itself",
    "{name: lbfgs, lr: 0.1}": "LBFGS of `matrices` evaluates the loss itself",
    "{name: sassha, lr: 0.1}": "SASSHA of `matrices` wants second derivatives",
    "{name: 'differentiating.py:Differentiating', lr: 0.1}": "Differentiating of `matrices` differentiates gradients",
    "{name: 'differentiating.py:Ascending', lr: 0.1}": "Ascending of `matrices` evaluates the loss itself",
}

DIFFERENTIATING = """
import torch


class Differentiating(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                torch.autograd.grad(p.grad.sum(), p)
        return super().step(closure)


class Ascending(torch.optim.SGD):
    def first_step(self):
        self.zero_grad()

    def second_step(self):
        super().step()

    def step(self, closure=None):
        self.first_step()
        closure()
        self.second_step()
"""


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("create_graph", ["", "create_graph: true, "])
def test_a_part_that_wants_more_than_one_gradient_is_refused_before_a_run(
    part: str, create_graph: str, tmp_path: Path
) -> None:
    (tmp_path / "differentiating.py").write_text(DIFFERENTIATING)
    path = tmp_path / "suite.yaml"
    path.write_text(
        "name: parts\nseeds: [0]\nworkloads: {d: {workload: digits-mlp, epochs: 1, batch_size: 256}}\n"
        f"methods:\n  M: {{optimizer: by_role, {create_graph}matrices: {part}}}\n"
    )
    done = call("plan", path)
    assert done.exit_code == 2
    [error] = [each for each in done.stderr.splitlines() if each.startswith("error")]
    assert ("`create_graph` cannot be used" if create_graph else PARTS[part]) in error


def test_a_part_whose_step_takes_no_closure_is_stepped() -> None:
    model, loss = residual_network()
    other = copy.deepcopy(model)

    class WithoutClosure(torch.optim.SGD):
        def step(self) -> None:  # type: ignore[override]
            super().step()

    train(model, muon_and_adamw(model, rest=partial(torch.optim.SGD, lr=0.1)), loss, range(2))
    train(other, muon_and_adamw(other, rest=partial(WithoutClosure, lr=0.1)), loss, range(2))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))
