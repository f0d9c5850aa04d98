"""The promises of an optimizer: one function for each.

Each returns a remark (or an empty text) when the promise is kept, and raises otherwise.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbench.checks.conformance.candidate import (
    Candidate,
    Quadratic,
    TrialTraining,
    classification_loss,
    quadratic_loss,
)
from benchbench.checks.conformance.trying import (
    BrokenPromiseError,
    DiffersByDesignError,
    NotApplicableError,
    random_states,
)
from benchbench.plugins.names import describe_exception

_STEPS = 25
"""Long enough for several Hessian updates at the usual interval of ten steps."""

_PATIENCE = 120
"""Steps within which progress must be seen, whatever the default learning rate."""

_LEAST_PROGRESS = 1e-4
"""Part of the first loss by which it must fall."""

_EXTRA_CURVATURE = 3.0

_OTHER_RATES = (0.1, 0.01, 10.0, 100.0)
"""Factors for the learning rate, tried where the default shows no progress."""


def makes_progress(candidate: Candidate) -> str:
    """Lower the loss of a quadratic and of a small network.

    Raises:
        BrokenPromiseError: One of them does not fall.
        NotApplicableError: It does at another learning rate.
    """
    # One batch, not three in turn: some methods are meant for a loss that stays the same from step to step.
    on_one_batch = replace(candidate.on_network(), loss=lambda model, step: classification_loss(model, 0))
    for name, training in (("quadratic", candidate.on_quadratic()), ("small network", on_one_batch)):
        before, after = _progress(training)
        if after < before * (1 - _LEAST_PROGRESS):
            continue
        message = f"{_PATIENCE} steps on a {name} took the loss from {before:.4g} to {after:.4g}"
        for factor in _OTHER_RATES:
            again = (
                candidate.on_quadratic()
                if name == "quadratic"
                else replace(candidate.on_network(), loss=on_one_batch.loss)
            )
            if _scale_rate(again, factor) and _progress(again)[1] < before * (1 - _LEAST_PROGRESS):
                raise NotApplicableError(f"{message}; with {factor:g} times the `lr` it falls")
        raise BrokenPromiseError(message)
    return ""


def _progress(training: TrialTraining) -> tuple[float, float]:
    before = training.mean_loss()
    training.run(_PATIENCE)
    return before, training.mean_loss()


def _scale_rate(training: TrialTraining, factor: float) -> bool:
    """Multiply the learning rate of every group, and return whether there is one."""
    groups = training.optimizer.param_groups
    rates = [group.get("lr") for group in groups]
    if not all(isinstance(lr, float) for lr in rates):
        return False
    for group in groups:
        group["lr"] *= factor
    return True


def is_deterministic(candidate: Candidate) -> str:
    """Give the same bits for the same seed.

    Raises:
        BrokenPromiseError: It does not.
    """
    ends = []
    for other_seed in (1, 2):
        torch.manual_seed(0)
        random.seed(other_seed)
        np.random.seed(other_seed)
        training = candidate.on_network()
        training.run(_STEPS)
        ends.append(training.weights())
    if not _same(*ends):
        raise BrokenPromiseError("two trainings with one seed end at different weights")
    return ""


def leaves_random_streams_alone(candidate: Candidate) -> str:
    """Draw no number from a generator that others draw from.

    Raises:
        DiffersByDesignError: Torch's global generator has moved, which the harness seeds before every step.
        BrokenPromiseError: Another global generator has moved.
    """
    before = random_states(with_torch=True)
    training = candidate.on_network()
    training.seeded = False
    training.run(_STEPS)
    moved = [name for name, state in random_states(with_torch=True).items() if state != before[name]]
    if moved == ["torch"]:
        raise DiffersByDesignError(
            "draws from torch's global generator: seeded for every step here, not in other loops"
        )
    if moved:
        raise BrokenPromiseError(f"moves the global generator of {' and '.join(moved)}: give it one of its own")
    return ""


def continues_from_its_state(candidate: Candidate) -> str:
    """Continue bit by bit from a saved `state_dict`.

    Raises:
        BrokenPromiseError: The continuation differs.
    """
    training = candidate.on_network()
    training.run(7)  # between two Hessian updates
    stored = copy.deepcopy(training.optimizer.state_dict())
    resumed = candidate.training(copy.deepcopy(training.model), training.loss)
    resumed.optimizer.load_state_dict(stored)
    resumed.ledger.add(steps=training.ledger.steps)
    for each in (training, resumed):
        each.run(_STEPS)
    if not _same(training.weights(), resumed.weights()):
        raise BrokenPromiseError("a fresh optimizer with the loaded state ends at other weights")
    return ""


def honours_parameter_groups(candidate: Candidate) -> str:
    """Move a group with a learning rate of zero not at all, and groups with different ones differently.

    Raises:
        BrokenPromiseError: A group moves as if it had another learning rate.
        DiffersByDesignError: A group moves although its learning rate is zero, as some find their own rate.
        NotApplicableError: It takes no groups, has no learning rate, or makes no move at all.
    """
    training, model = _in_two_groups(candidate, {})
    lr = training.optimizer.param_groups[-1].get("lr")
    if not isinstance(lr, float | int | Tensor) or (isinstance(lr, Tensor) and lr.numel() != 1):
        raise NotApplicableError("no `lr` that is one number in its parameter groups")
    start = model.second.detach().clone()
    for group in training.optimizer.param_groups:
        if any(p is model.second for p in group["params"]):
            group["lr"] = lr * 0.0  # as a warm-up does
    _run_until_moved(training, model.first)
    if not torch.equal(model.second, start):
        raise DiffersByDesignError("a group moves although its `lr` is zero, as with methods that find their own rate")
    training, model = _in_two_groups(candidate, {"lr": float(lr) / 2})
    _run_until_moved(training, model.first)
    if torch.equal(model.first, model.second):
        raise BrokenPromiseError("two groups move alike although one has half the `lr`")
    return ""


def _run_until_moved(training: TrialTraining, weights: Tensor) -> None:
    """Make three steps, and go on while weights stand still: some methods wait before their first move.

    Raises:
        NotApplicableError: The weights do not move.
    """
    start = weights.detach().clone()
    for _ in range(_STEPS // 3):
        training.run(3)
        if not torch.equal(weights, start):
            return
    raise NotApplicableError(f"moves nothing in {_STEPS // 3 * 3} steps")


def _in_two_groups(candidate: Candidate, options: dict[str, Any]) -> tuple[TrialTraining, Quadratic]:
    model = Quadratic(vector=False)
    try:
        training = candidate.training(
            model, quadratic_loss, [{"params": [model.first]}, {"params": [model.second], **options}]
        )
    except ValueError as error:
        raise NotApplicableError(f"refuses parameter groups: {describe_exception(error)}") from error
    return training, model


def uses_its_curvature(candidate: Candidate) -> str:
    """Let the Hessian-vector products that it pays for have an effect.

    A second training gets a loss with the same gradients at every point that is visited, but with more curvature from
    the last Hessian step on: if neither state nor weights notice, the products are computed for nothing.

    Raises:
        BrokenPromiseError: Nothing depends on them.
        NotApplicableError: It computes none.
    """
    plain = candidate.on_network()
    plain.run(_STEPS)
    if not plain.product_steps:
        raise NotApplicableError(f"computes no Hessian-vector product in {_STEPS} steps")
    last = plain.product_steps[-1]
    curved = candidate.on_network()

    def bend(loss: Tensor, step: int) -> Tensor:
        if step < last:
            return loss
        offsets = [(p - p.detach()).square().sum() for p in curved.model.parameters()]
        return loss + _EXTRA_CURVATURE / 2 * torch.stack(offsets).sum()

    curved.run(_STEPS, bend)
    if _same(plain.weights(), curved.weights()) and _same_state(plain, curved):
        steps = f"steps {', '.join(map(str, plain.product_steps[:3]))}, ..." if len(plain.product_steps) > 1 else "once"
        raise BrokenPromiseError(
            f"computes Hessian-vector products ({steps}), but neither its state nor the weights depend on those of "
            f"step {last}"
        )
    return f"{plain.ledger.hvps} products in {len(plain.product_steps)} of {_STEPS} steps"


def declares_what_it_needs(candidate: Candidate) -> str:
    """Differentiate gradients if, and only if, that is declared.

    Raises:
        BrokenPromiseError: Declaration and metering differ.
    """
    if candidate.undeclared_need:
        raise BrokenPromiseError(
            "differentiates gradients itself: declare it (`create_graph = True` on the class, `create_graph: true` in "
            "the suite)"
        )
    training = candidate.on_network()
    training.run(_STEPS)
    behind = training.ledger.hvps - training.products_asked
    if candidate.create_graph and not behind:
        raise BrokenPromiseError(
            f"declares create_graph, but differentiates no gradient in {_STEPS} steps: every step pays for a graph"
        )
    if behind and not candidate.create_graph:
        raise BrokenPromiseError(f"computes {behind} Hessian-vector products by itself, and nothing declares it")
    return f"{training.ledger.gradients / _STEPS:g} gradients and {training.ledger.hvps / _STEPS:g} products per step"


def tolerates_idle_parameters(candidate: Candidate) -> str:
    """Train a network that has a frozen parameter and one that the loss does not depend on.

    Raises:
        BrokenPromiseError: The frozen one moves, or the others do not.
        NotApplicableError: The others would not without these either.
    """
    training = candidate.on_network(idle_parts=True)
    named = dict(training.model.named_parameters())
    frozen, trained = named["frozen.weight"], named["layers.0.weight"]
    before = frozen.detach().clone(), trained.detach().clone()
    training.run(5)
    if torch.equal(trained, before[1]):  # some methods wait before their first move
        training.run(_STEPS - 5)
    if not torch.equal(frozen, before[0]):
        raise BrokenPromiseError("a frozen parameter moves")
    if torch.equal(trained, before[1]) and not _moves(candidate):
        raise NotApplicableError(f"moves nothing in {_STEPS} steps, with or without such parameters")
    if torch.equal(trained, before[1]) or not all(torch.isfinite(p).all() for p in training.weights()):
        raise BrokenPromiseError("the other parameters do not train")
    return ""


def _moves(candidate: Candidate) -> bool:
    training = candidate.on_network()
    before = training.weights()
    training.run(_STEPS)
    return not _same(before, training.weights())


def _same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(first, second, strict=True))


def _same_state(first: TrialTraining, second: TrialTraining) -> bool:
    ours, theirs = (list(_leaves(each.optimizer.state_dict())) for each in (first, second))
    return len(ours) == len(theirs) and all(
        torch.equal(p, q) if isinstance(p, Tensor) and isinstance(q, Tensor) else p == q
        for p, q in zip(ours, theirs, strict=True)
    )


def _leaves(tree: object) -> Iterator[object]:
    """Yield the tensors and numbers in nested dictionaries and lists."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _leaves(branch)
    elif isinstance(tree, Tensor) or (isinstance(tree, float | int) and not math.isnan(tree)):
        yield tree
