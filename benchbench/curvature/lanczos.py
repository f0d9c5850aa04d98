"""Lanczos' iteration with full reorthogonalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROWS = 16
"""Vectors of the basis that share one block of memory."""


class Lanczos:
    """An orthonormal basis V of the Krylov space of a symmetric H, in which H is tridiagonal: V H V' = T.

    Products are computed by the caller, so that several iterations can share passes over the data: multiply
    `vector`, hand the product to `advance`, until it has `ended` or enough is known. Every new vector is made
    orthogonal to the whole basis twice (Parlett 1998, "The Symmetric Eigenvalue Problem", section 6.9); the basis takes
    the memory of one parameter vector per iteration.

    Args:
        start: Where to start, not zero; it need not have unit length.

    Attributes:
        vector: The unit vector to multiply next.
        ended: Whether nothing is left to find: the Krylov space is invariant, or a product was not finite.
        finite: Whether all products so far were finite.
    """

    def __init__(self, start: Tensor) -> None:
        self.vector = start / torch.linalg.vector_norm(start)
        self.ended = False
        self.finite = True
        self._blocks: list[Tensor] = []
        self._diagonal: list[float] = []
        self._off_diagonal: list[float] = []

    def __len__(self) -> int:
        return len(self._diagonal)

    def advance(self, product: Tensor) -> None:
        """Extend the basis by `vector`, whose product with H is `product`."""
        self._append(self.vector)
        alpha = torch.dot(self.vector, product)
        rest = product.clone()
        for _ in range(2):
            self._make_orthogonal(rest)
        norm = torch.linalg.vector_norm(rest)
        self._diagonal.append(alpha.item())
        self._off_diagonal.append(norm.item())
        self.finite = math.isfinite(self._diagonal[-1]) and math.isfinite(self._off_diagonal[-1])
        rounding = torch.finfo(rest.dtype).eps * max(map(abs, self._diagonal + self._off_diagonal))
        self.ended = not self.finite or self._off_diagonal[-1] <= 10 * rounding or len(self) == len(rest)
        self.vector = rest / norm

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of T, ascending, and its eigenvectors as columns, in float64 on the CPU."""
        off_diagonal = torch.tensor(self._off_diagonal[:-1], dtype=torch.float64)
        t = torch.diag(torch.tensor(self._diagonal, dtype=torch.float64))
        values, vectors = torch.linalg.eigh(t + torch.diag(off_diagonal, -1))  # it reads the lower triangle
        return values, vectors

    def residual(self, ritz_vector: Tensor) -> float:
        """Return || H v - value v || of the pair that belongs to an eigenvector of T, without computing it."""
        return self._off_diagonal[-1] * abs(ritz_vector[-1].item())

    def combine(self, ritz_vector: Tensor) -> Tensor:
        """Return V' times an eigenvector of T: the approximate eigenvector of H, of unit length."""
        coefficients = torch.split(ritz_vector, _ROWS)
        used = zip(self._used_blocks(), coefficients, strict=True)
        combined = torch.stack([c.to(block) @ block for block, c in used]).sum(0)
        unit: Tensor = combined / torch.linalg.vector_norm(combined)
        return unit

    def _append(self, vector: Tensor) -> None:
        if len(self) % _ROWS == 0:
            self._blocks.append(vector.new_empty(_ROWS, len(vector)))
        self._blocks[-1][len(self) % _ROWS].copy_(vector)

    def _used_blocks(self, extra: int = 0) -> list[Tensor]:
        rows = len(self) + extra
        return [block[: rows - _ROWS * i] for i, block in enumerate(self._blocks)]

    def _make_orthogonal(self, vector: Tensor) -> None:
        for block in self._used_blocks(extra=1):
            vector.addmv_(block.T, block @ vector, alpha=-1)
