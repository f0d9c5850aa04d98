"""Shared by the functions of this package: tests of the tensors that they take, and derivatives beyond the second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchbench.devices.use import has_fast_products

Shares = tuple[Tensor | None, ...]
"""Gradients, one per input; `None` where it is zero or not asked for."""


def covered(*tensors: Tensor | None) -> bool:
    """Return whether these are plain tensors of one real type, on a device whose kernels are known, with a graph."""
    given = [tensor for tensor in tensors if tensor is not None]
    first = given[0]
    return (
        first.dtype in (torch.float32, torch.float64)
        and has_fast_products(first.device.type)
        and first.numel() > 0
        and not torch.is_autocast_enabled(first.device.type)
        and any(tensor.requires_grad for tensor in given)
        and all(
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.dtype == first.dtype
            and tensor.device == first.device
            and tensor.layout == torch.strided
            for tensor in given
        )
    )


def must_be_general(*tensors: Tensor | None) -> bool:
    """Return whether a second derivative has to be torch's own.

    So it is where it will be differentiated again, and for batches of cotangents (`is_grads_batched`), which
    the kernels that are called here directly do not know.
    """
    return torch.is_grad_enabled() or any(is_batch(tensor) for tensor in tensors)


def is_batch(tensor: Tensor | None) -> bool:
    """Return whether a tensor stands for the batch of cotangents of `autograd.grad(..., is_grads_batched=True)`."""
    return tensor is not None and torch._C._functorch.is_legacy_batchedtensor(tensor)


def general_second_derivative(
    function: Callable[..., Tensor],
    grad_output: Tensor,
    inputs: Sequence[Tensor | None],
    cotangents: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> Shares:
    """Differentiate the gradients of `function` with torch's own formulas, again and again if need be.

    Args:
        function: The function of torch, of `inputs` alone.
        grad_output: Cotangent of its output, with which the gradients were computed.
        inputs: Its arguments.
        cotangents: One per input: the cotangent of the gradient with respect to it.
        needed: Which derivatives are asked for: with respect to `grad_output`, then to each of `inputs`.

    Returns:
        The derivatives of sum_i <cotangent_i, gradient_i> in the order of `needed`.
    """
    keeps_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, because grad_output may depend on the inputs through the graph behind it: only what this
        # function does with them must be differentiated here.
        output_alias = grad_output.view_as(grad_output)
        aliases = [None if x is None else x.view_as(x) for x in inputs]
        pairs = [(x, u) for x, u in zip(aliases, cotangents, strict=True) if x is not None and u is not None]
        targets = [
            x for x, is_needed in zip([output_alias, *aliases], needed, strict=True) if is_needed and x is not None
        ]
        if not pairs:
            return (None,) * len(needed)
        gradients = torch.autograd.grad(function(*aliases), [x for x, _ in pairs], output_alias, create_graph=True)
        # The gradient of a bias, say, need not depend on anything that is differentiated here.
        roots = [(gradient, u) for gradient, (_, u) in zip(gradients, pairs, strict=True) if gradient.requires_grad]
        if not targets or not roots:
            return (None,) * len(needed)
        outputs, output_cotangents = zip(*roots, strict=True)
        found = iter(
            torch.autograd.grad(outputs, targets, output_cotangents, create_graph=keeps_graph, allow_unused=True)
        )
    return tuple(next(found) if is_needed else None for is_needed in needed)
