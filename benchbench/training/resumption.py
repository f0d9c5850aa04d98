"""A trial of resuming: on copies, before a run relies on its checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchbench.devices import use
from benchbench.optim import stepping
from benchbench.optim.equality import same
from benchbench.optim.execution.shared_state import shared_state_kept
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.optim.state import optimizers_in
from benchbench.plugins.names import describe_exception
from benchbench.training.shortage import shortage_of
from benchbench.training.steps import Training

_STEPS = 12
"""Steps that both copies make: one more interval of the optimizers that do something in every tenth step."""


class OtherStepsError(Exception):
    """A copy that was loaded from a checkpoint makes other steps than the original; the message says what is known."""


class NotTriedError(Exception):
    """Resuming cannot be tried; the message says why."""


def check(training: Training, state: Mapping[str, Any]) -> None:
    """Make the same steps with a copy of an optimizer and a new one that has loaded its state.

    The loss of these steps is the sum of the squared parameters, so they cost little. Nothing of the training changes.

    Args:
        training: A training, with the optimizer as it is.
        state: The state of the training, as it was read from a checkpoint.

    Raises:
        OtherStepsError: The two end at different weights: something that counts is not in the optimizer's `state_dict`.
        NotTriedError: The optimizer cannot be copied, or does not step on such a loss.
    """
    device = training.parameters[0].device
    with use.forked_random_state(device):
        with shared_state_kept(training.optimizer) as changed:
            try:
                undisturbed = _weights(_copy(training), training.create_graph)
            except Exception as error:
                raise NotTriedError(describe_exception(error)) from error
            if changed():
                raise OtherStepsError("a part of the optimizer's state is in globals, class attributes or closures")
        with shared_state_kept(training.optimizer):
            try:
                resumed = _weights(_loaded(training, state), training.create_graph)
            except Exception as error:
                if shortage_of(error):  # of memory for the copies, which says nothing about the optimizer
                    raise NotTriedError(describe_exception(error)) from error
                raise OtherStepsError(describe_exception(error)) from error
    if not same(undisturbed, resumed):
        raise OtherStepsError("a part of the optimizer's state is not in its state_dict")


def _copy(training: Training) -> Optimizer:
    """Return a copy of the optimizer, over a copy of the model, with all its attributes."""
    # Torch's own way of copying optimizers leaves out every attribute that it does not know.
    memo: dict[int, Any] = {}
    copy.deepcopy(training.task.model, memo)
    # Torch leaves out what a parameter has besides its value, and so would an attempt that begins from a checkpoint.
    for parameter in training.parameters:
        copied_parameter = memo[id(parameter)]
        vars(copied_parameter).update(copy.deepcopy(vars(parameter), memo))
        copied_parameter.grad = None if parameter.grad is None else parameter.grad.detach().clone()
    originals = optimizers_in(training.optimizer)
    for each in originals:
        memo[id(each)] = object.__new__(type(each))
    for each in originals:
        vars(memo[id(each)]).update(copy.deepcopy(vars(each), memo))
    identities = {id(each): id(memo[id(each)]) for each in training.parameters}
    for each in originals:
        _renamed(vars(memo[id(each)]), identities)
    copied: Optimizer = memo[id(training.optimizer)]
    return copied


def _renamed(tree: object, identities: Mapping[int, int]) -> None:
    """Rename entries of dictionaries that are keyed by the identity of a parameter to that of its copy."""
    if not isinstance(tree, dict):
        return
    for key, value in list(tree.items()):
        _renamed(value, identities)
        if isinstance(key, int) and key in identities:
            tree[identities[key]] = tree.pop(key)


def _loaded(training: Training, state: Mapping[str, Any]) -> Optimizer:
    """Return a new optimizer, over a copy of the model, as another attempt would set it up."""
    # Of a parameter's attributes, it has those that the model's author gave it.
    memo: dict[int, Any] = {}
    model: nn.Module = copy.deepcopy(training.task.model, memo)
    for parameter, attributes in zip(model.parameters(), training.attributes, strict=True):
        vars(parameter).update(attributes)
    given = list(getattr(training.task, "parameters", training.task.model.parameters)())
    optimizer = training.build_optimizer(copy.deepcopy(given, memo), model)
    optimizer.load_state_dict(dict(state["optimizer"]))
    return optimizer


def _weights(optimizer: Optimizer, create_graph: bool) -> list[Tensor]:
    """Make steps, and return the weights at the end."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(_STEPS):
        ledger = Ledger()
        torch.manual_seed(step)
        objective = Objective(lambda: _bowl(parameters), parameters, ledger=ledger, create_graph=create_graph)
        with ledger.metered():
            stepping.step(optimizer, objective)
    return [p.detach() for p in parameters]


def _bowl(parameters: Sequence[Tensor]) -> Tensor:
    real = [torch.view_as_real(p) if p.is_complex() else p for p in parameters if p.requires_grad]
    return torch.stack([p.square().sum() for p in real]).sum()
