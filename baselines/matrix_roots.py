"""Powers of symmetric matrices, applied along one dimension of a tensor."""

from __future__ import annotations

import torch
from torch import Tensor


def unfolded(tensor: Tensor, dim: int) -> Tensor:
    """Return `tensor` as a matrix whose rows run along dimension `dim`."""
    return tensor.movedim(dim, 0).flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1)


def apply_along(tensor: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """Return `tensor` with each of its fibres along dimension `dim` multiplied by `matrix`."""
    product = matrix @ unfolded(tensor, dim)
    return product.view(tensor.movedim(dim, 0).shape).movedim(0, dim).contiguous()


def inverse_root(matrix: Tensor, *, exponent: float, least: float) -> Tensor:
    """Return the power of a symmetric positive definite matrix, computed in at least single precision.

    Args:
        matrix: The matrix.
        exponent: The power, negative.
        least: A lower bound that the eigenvalues are known to have. Rounding can push small ones below it,
            even below zero, where the power does not exist.
    """
    wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    values, vectors = torch.linalg.eigh(wide)
    powers = values.clamp(min=least).pow(exponent)
    root: Tensor = (vectors * powers) @ vectors.mT
    return root.to(matrix.dtype)
