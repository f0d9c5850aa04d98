"""Floating-point operations, counted where torch dispatches them: for any function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Formula = Callable[..., int]
"""Maps the arguments of an operation (and its result, `out_val`) to multiplications and additions."""


class FlopMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations while it is entered, by torch's own formulas.

    Matrix products, convolutions and attention have formulas; whatever works element by element counts nothing.
    (`FlopCounterMode` of torch has the same formulas, but hooks itself into modules on top, which costs time
    and breaks where a gradient with respect to a module's input is asked for.)

    Attributes:
        flops: Operations so far.
        without_formula: Names of the operations seen that are expensive and that no formula exists for.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.without_formula: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = _formula(func._overloadpacket)
        if formula is not None:
            result = func(*args, **kwargs)
            self.flops += formula(*args, **kwargs, out_val=result)
            return result
        if _is_made_of_others(func):  # which arrive here in one piece in inference mode only
            with self:
                return func.decompose(*args, **kwargs)
        if _is_expensive(func._overloadpacket.__name__):
            self.without_formula.add(func._overloadpacket.__name__)
        return func(*args, **kwargs)


@functools.cache
def _formula(operation: Any) -> Formula | None:
    found: Formula | None = _OWN.get(operation) or flop_registry.get(operation)
    if found is None and operation.__name__.endswith("_"):  # the one in place does what the other does
        other = getattr(torch.ops.aten, operation.__name__[:-1], None)
        found = _OWN.get(other) or flop_registry.get(other)
    return found


@functools.cache
def _is_made_of_others(operation: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"))


@functools.cache
def _is_expensive(name: str) -> bool:
    return name not in _CHEAP and not _EXPENSIVE.isdisjoint(name.split("_"))


_EXPENSIVE = {
    *("linalg", "cholesky", "svd", "eig", "eigh", "eigvals", "qr", "geqrf", "orgqr", "ormqr", "lu", "ldl"),
    *("triangular", "householder", "lstsq", "inverse", "mm", "addbmm", "trilinear", "cdist", "fft"),
    *("rnn", "lstm", "gru", "attention"),
}
"""Words in the names of operations that take more than a few operations per element."""

_CHEAP = {
    *(
        "_linalg_check_errors",
        "linalg_vector_norm",
        "linalg__powsum",
        "linalg_cross",
        "linalg_diagonal",
        "linalg_vecdot",
        "lu_unpack",
    ),
    *("_thnn_fused_lstm_cell", "_thnn_fused_lstm_cell_backward", "_thnn_fused_lstm_cell_backward_impl"),
    *("_thnn_fused_gru_cell", "_thnn_fused_gru_cell_backward", "_cudnn_rnn_flatten_weight"),
}
"""Operations that have such a word in their name and are cheap all the same."""


def _convolution_backward(
    grad_output: Tensor, inputs: Tensor, weight: Tensor, *settings: Any, out_val: Any = None, **_: Any
) -> int:
    """Count as many operations for each half as forward has; torch's formula counts too many with groups."""
    _bias, stride, padding, dilation, transposed, output_padding, groups, wanted = settings
    forward: Formula = flop_registry[torch.ops.aten.convolution]
    per_half = forward(
        inputs,
        weight,
        None,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
        out_val=grad_output,
    )
    return per_half * (int(wanted[0]) + int(wanted[1]))


def _matrix_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


_OWN: dict[Any, Formula] = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten.addmv: lambda _, matrix, *__, **___: _matrix_vector(matrix),
}
"""Formulas that torch lacks, or has otherwise."""
