"""Batch norm over the batches of all ranks, differentiable twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from benchbench.optim.execution.ranks import Ranks, all_reduce


class _Sum(torch.autograd.Function):
    """The sum over all ranks. What all ranks' losses depend on through it comes back as a sum of their cotangents."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        all_reduce(tensor)
        return tensor

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(cotangent)
        return total


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm by the mean and variance over all ranks; it takes over a layer's parameters and buffers.

    `torch.nn.SyncBatchNorm` does so on GPUs only, and its gradient has no derivative.

    Args:
        layer: The layer that it replaces.
        ranks: This process.
    """

    def __init__(self, layer: _BatchNorm, ranks: Ranks) -> None:
        nn.Module.__init__(self)
        self.num_features, self.eps, self.momentum = layer.num_features, layer.eps, layer.momentum
        self.affine, self.track_running_stats = layer.affine, layer.track_running_stats
        self._parameters, self._buffers = layer._parameters, layer._buffers
        self.training = layer.training
        self._ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept what the mean over all dimensions but the second exists of."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (n, channels, ...) to the same shape."""
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        dimensions = [0, *range(2, x.dim())]
        shape = (1, -1, *[1] * (x.dim() - 2))
        # A rank that only replaces a missing part adds nothing, and yet takes part.
        own = x.new_full((1,), x.numel() // x.shape[1] * self._ranks.counts)
        first = _Sum.apply(torch.cat([x.sum(dimensions) * self._ranks.counts, own]))
        count = first[-1:].detach()
        mean = first[:-1] / count
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(dimensions) * self._ranks.counts) / count
        self._follow(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)))
        out: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.num_batches_tracked.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def synchronise(model: nn.Module, ranks: Ranks) -> None:
    """Let every batch norm inside a model normalise by the batches of all ranks."""
    layers = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    replaced = {
        module: SynchronisedBatchNorm(module, ranks) for module in model.modules() if isinstance(module, layers)
    }
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, layers):
                parent._modules[name] = replaced[child]
