"""What every optimizer of the two packages refuses, and how."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.sam import SAM
from tests.helpers import model_cases
from tests.helpers.optimizers import FACTORIES, every_optimizer, every_second_order_optimizer


@every_optimizer
def test_no_closure_is_a_clear_error(name: str) -> None:
    case = model_cases.build("mlp")
    with pytest.raises(TypeError, match=r"step\(lambda: loss_fn\(model\(x\), y\)\)"):
        FACTORIES[name](case.model.parameters()).step()


@every_optimizer
@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (lambda loss: loss.item(), "got float"),
        (lambda loss: loss.detach(), r"got a tensor of shape \(\) without a graph"),
        (lambda loss: loss.expand(2), r"got a tensor of shape \(2,\) with a graph"),
    ],
)
def test_a_closure_without_graph_is_a_clear_error(name: str, result: Any, shown: str) -> None:
    case = model_cases.build("mlp")
    with pytest.raises(TypeError, match=shown):
        FACTORIES[name](case.model.parameters()).step(lambda: result(case.loss()()))


@every_optimizer
def test_a_closure_that_differentiates_is_a_clear_error(name: str) -> None:
    case = model_cases.build("mlp")

    def loss() -> Tensor:
        value = case.loss()()
        value.backward()
        return value

    with pytest.raises(TypeError, match=r"must not call backward\(\)"):
        FACTORIES[name](case.model.parameters()).step(loss)


@every_optimizer
def test_sparse_gradients_are_a_clear_error(name: str) -> None:
    table = nn.Embedding(5, 3, sparse=True)
    with pytest.raises(RuntimeError, match=r"sparse gradients .* sparse=False"):
        FACTORIES[name](table.parameters()).step(lambda: table(torch.tensor([1, 2])).pow(2).sum())


@every_optimizer
def test_complex_parameters_are_a_clear_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"complex parameters are not supported \(dtype torch.complex64"):
        FACTORIES[name]([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])


@every_second_order_optimizer
def test_an_operation_without_second_derivative_is_named(name: str) -> None:
    bags = nn.EmbeddingBag(5, 3)
    before = bags.weight.detach().clone()
    optimizer = FACTORIES[name](bags.parameters())
    with pytest.raises(NotImplementedError, match=r"_embedding_bag_backward: replace it .*nn.Embedding"):
        optimizer.step(lambda: bags(torch.tensor([[1, 2]])).pow(2).sum())
    assert torch.equal(bags.weight, before)


HYPERPARAMETERS: dict[str, list[tuple[str, Any, str]]] = {
    "sassha": [
        ("lr", -0.1, "a finite number >= 0"),
        ("lr", float("nan"), "a finite number >= 0"),
        ("lr", "0.1", "a finite number >= 0"),
        ("betas", (0.9, 1.0), r"two numbers in \[0, 1\)"),
        ("betas", 0.9, r"two numbers in \[0, 1\)"),
        ("eps", -1e-8, "a finite number >= 0"),
        ("weight_decay", float("inf"), "a finite number >= 0"),
        ("rho", -1, "a finite number >= 0"),
        ("lazy_hessian", 0, "an integer >= 1"),
        ("lazy_hessian", 2.5, "an integer >= 1"),
        ("n_samples", True, "an integer >= 1"),
        ("hessian_power", -0.5, "a finite number >= 0"),
        ("perturb_eps", 0, "a finite number > 0"),
        ("adaptive", 1, "True or False"),
        ("absolute", None, "True or False"),
        ("bias_correction", "epochs", "'steps' or 'updates'"),
        ("seed", 0.5, "an integer"),
    ],
    "msassha": [("rho", -1, "a finite number >= 0"), ("bias_correction", 1, "'steps' or 'updates'")],
    "sam_sgd": [("rho", -1, "a finite number >= 0"), ("adaptive", "yes", "True or False")],
    "adahessian": [("spatial_averaging", 1, "True or False"), ("hessian_power", -1, "a finite number >= 0")],
    "sophia_h": [("gamma", -1, "a finite number >= 0"), ("betas", (0.9,), r"two numbers in \[0, 1\)")],
    "shampoo": [("momentum", 1.0, r"a number in \[0, 1\)"), ("eps", 0, "a finite number > 0")],
    "grafted_shampoo": [("graft", "lion", "'adam' or 'sgd'"), ("max_size", 0, "an integer >= 1")],
}


@pytest.mark.parametrize(
    ("name", "parameter", "value", "allowed"),
    [(name, *row) for name, rows in HYPERPARAMETERS.items() for row in rows],
)
def test_a_bad_hyperparameter_is_named_with_what_is_allowed(
    name: str, parameter: str, value: Any, allowed: str
) -> None:
    weight = nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match=rf"^{parameter} must be {allowed}, got "):
        FACTORIES[name]([weight], **{parameter: value})
    with pytest.raises(ValueError, match=rf"^{parameter} must be {allowed}, got "):
        FACTORIES[name]([{"params": [weight], parameter: value}])


def test_a_bad_group_is_not_added() -> None:
    for factory in FACTORIES.values():
        optimizer = factory([nn.Parameter(torch.zeros(2))])
        name = "update_freq" if "update_freq" in optimizer.defaults else "eps"
        name = "rho" if isinstance(optimizer, SAM) else name
        with pytest.raises(ValueError, match=f"{name} must be"):
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], name: -1})
        assert len(optimizer.param_groups) == 1
