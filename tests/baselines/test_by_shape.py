from __future__ import annotations

import copy

import torch

from baselines.by_shape import ByShape
from tests.accelerator import current_device, every_device
from tests.helpers import model_cases

pytestmark = every_device


def by_shape(case: model_cases.Case, **options: object) -> ByShape:
    settings: dict[str, object] = {"matrices": torch.optim.Muon, "lr": 0.02, "others_options": {"lr": 0.003}}
    return ByShape(case.model.parameters(), **(settings | options))  # type: ignore[arg-type]


def train(case: model_cases.Case, optimizer: ByShape, steps: range) -> None:
    for step in steps:
        loss = case.loss(step)

        def closure(loss: object = loss) -> torch.Tensor:
            optimizer.zero_grad()
            value = loss()  # type: ignore[operator]
            value.backward()
            return value

        optimizer.step(closure)


def weights(case: model_cases.Case) -> list[torch.Tensor]:
    return [p.detach().clone() for p in case.model.parameters()]


def test_each_kind_of_parameter_has_its_optimizer() -> None:
    case = model_cases.build("conv_bn")
    optimizer = by_shape(case, matrices_group={"flag": True})
    parts = optimizer.parts
    assert {type(part) for part in parts.values()} == {torch.optim.Muon, torch.optim.AdamW}
    assert all(p.dim() == 2 for group in parts["matrices"].param_groups for p in group["params"])
    assert [group.get("flag", False) for group in optimizer.param_groups] == [True, False]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(case.model.parameters()))


def test_it_equals_the_two_apart() -> None:
    case, other = model_cases.build("mlp"), model_cases.build("mlp")
    train(case, by_shape(case), range(5))
    parameters = list(other.model.parameters())
    muon = torch.optim.Muon([p for p in parameters if p.dim() == 2], lr=0.02)
    adamw = torch.optim.AdamW([p for p in parameters if p.dim() != 2], lr=0.003)
    for step in range(5):
        other.model.zero_grad()
        other.loss(step)().backward()
        muon.step()
        adamw.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(case), weights(other), strict=True))


def test_a_schedule_reaches_both_and_a_state_continues_bit_by_bit() -> None:
    case = model_cases.build("mlp")
    optimizer = by_shape(case)
    train(case, optimizer, range(3))
    other = case.copy()
    resumed = by_shape(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, resumed):
        for group in each.param_groups:
            group["lr"] *= 0.5
    assert [group["lr"] for part in resumed.parts.values() for group in part.param_groups] == [0.01, 0.0015]
    train(case, optimizer, range(3, 6))
    train(other, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(weights(case), weights(other), strict=True))


def test_a_network_of_matrices_alone_needs_no_companion() -> None:
    optimizer = ByShape([torch.nn.Parameter(torch.ones(2, 2, device=current_device()))], torch.optim.Muon)
    assert list(optimizer.parts) == ["matrices"]
