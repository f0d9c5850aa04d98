"""Optimizers that each break one promise of the harness, named in suites as `FILE:attribute`."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.objective import Objective


class Descent(torch.optim.Optimizer):
    """Gradient descent with a hook for what is wrong."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any) -> Tensor:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        self.update(loss)
        return loss

    @torch.no_grad()
    def update(self, loss: Tensor) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * self.direction(p, loss))

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        assert p.grad is not None
        return p.grad


class Idle(Descent):
    def step(self, closure: Any) -> None:  # type: ignore[override]
        pass


class Climbing(Descent):
    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return -p.grad


class TooFast(Descent):
    def __init__(self, params: Any, lr: float = 10.0) -> None:
        super().__init__(params, lr)


class Unseeded(Descent):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self._scale = 1 + int.from_bytes(os.urandom(4)) / 2**33

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return p.grad * self._scale

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"scale": self._scale}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._scale = state_dict["scale"]
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "scale"})


class DrawsFromTorch(Descent):
    def update(self, loss: Tensor) -> None:
        torch.rand(3)
        super().update(loss)


class DrawsFromPython(Descent):
    def update(self, loss: Tensor) -> None:
        random.random()
        super().update(loss)


class Forgetful(Descent):
    """Counts its steps where no `state_dict` sees it."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self._steps = 0

    def update(self, loss: Tensor) -> None:
        self._steps += 1
        super().update(loss)

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return p.grad / (1 + 0.1 * self._steps)


class DeafToGroups(Descent):
    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        for group in self.param_groups:
            if any(p is q for q in group["params"]) and group["lr"] == 0:
                p.sub_(0.1 * p.grad)  # moves although it must not
        return p.grad


class OneRateForAll(Descent):
    """A group with a rate of zero stands still, all others share the first one's."""

    @torch.no_grad()
    def update(self, loss: Tensor) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and group["lr"]:
                    p.sub_(self.param_groups[0]["lr"] * p.grad)


class DeadHessian(Descent):
    """Pays for products every second step and throws them away."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.param_groups[0]["step"] = 0

    def step(self, closure: Objective) -> Tensor:  # type: ignore[override]
        group = self.param_groups[0]
        group["step"] += 1
        if group["step"] % 2:
            loss, _ = closure.with_hvp([[torch.ones_like(p) for p in closure.parameters]])
        else:
            loss = closure()
        self.update(loss)
        return loss


class FrozenHessian(DeadHessian):
    """Uses the first product for ever, and pays for more."""

    def step(self, closure: Objective) -> Tensor:  # type: ignore[override]
        loss, [product] = closure.with_hvp([[torch.ones_like(p) for p in closure.parameters]])
        for p, hessian in zip(closure.parameters, product, strict=True):
            self.state[p].setdefault("hessian", hessian.abs().clone())
        self.update(loss)
        return loss

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return p.grad / (1 + self.state[p]["hessian"])


class NeedlessGraph(Descent):
    create_graph = True

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return p.grad.detach()


class SilentNeed(Descent):
    """Differentiates gradients, and declares nothing."""

    def step(self, closure: Any) -> Tensor:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        products = torch.autograd.grad(
            [p.grad for p in parameters], parameters, [torch.ones_like(p) for p in parameters]
        )
        for p, product in zip(parameters, products, strict=True):
            self.state[p]["hessian"] = product.abs()
        self.update(loss)
        return loss

    def direction(self, p: Tensor, loss: Tensor) -> Tensor:
        return p.grad.detach() / (1 + self.state[p]["hessian"])


class IntolerantOfIdleParameters(Descent):
    @torch.no_grad()
    def update(self, loss: Tensor) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)


class MovesFrozenParameters(Descent):
    @torch.no_grad()
    def update(self, loss: Tensor) -> None:
        super().update(loss)
        for group in self.param_groups:
            for p in group["params"]:
                if not p.requires_grad:
                    p.mul_(0.9)


class Aborting(Descent):
    def update(self, loss: Tensor) -> None:
        if loss.isnan():
            os.abort()
        super().update(loss)


class Exiting(Descent):
    def update(self, loss: Tensor) -> None:
        if loss.isnan():
            raise SystemExit(3)
        super().update(loss)


class Poisoning(Descent):
    """Leaves the whole process without gradients."""

    def update(self, loss: Tensor) -> None:
        super().update(loss)
        if loss.isnan():
            torch.set_default_dtype(torch.float64)


class Hanging(Descent):
    def update(self, loss: Tensor) -> None:
        while loss.isnan():
            time.sleep(0.1)
        super().update(loss)


class Refusing(Descent):
    """Raises at a NaN, and takes matrices alone and no groups: all of it allowed."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        if len(self.param_groups) > 1:
            raise ValueError("one group only")
        if any(p.dim() != 2 for p in self.param_groups[0]["params"]):
            raise ValueError("matrices only")

    def update(self, loss: Tensor) -> None:
        if loss.isnan():
            raise FloatingPointError("not a number")
        super().update(loss)
