"""Second derivatives that torch does not have: which operation lacks one, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node

from benchbench.optim.ledger import graph_behind


@contextmanager
def explained_second_order() -> Iterator[None]:
    """Say which operation has no second derivative, and what to do about it.

    Raises:
        NotImplementedError: That, instead of torch's own error.
        RuntimeError: Torch's own error, when it is about something else.
    """
    try:
        yield
    except RuntimeError as error:
        for pattern, remedy in _WITHOUT_SECOND_DERIVATIVE.items():
            if found := re.search(pattern, str(error)):
                operation = found.group("operation")
                raise NotImplementedError(f"no second derivative in torch for {operation}: {remedy}") from error
        raise


_WITHOUT_SECOND_DERIVATIVE = {
    r"derivative for '?(?:aten::)?(?P<operation>\w*attention\w*)'? is not implemented": (
        "compute it under torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
    ),
    r"derivative for '?(?:aten::)?(?P<operation>\w*cudnn_rnn\w*)'? is not implemented": (
        "compute it under torch.backends.cudnn.flags(enabled=False)"
    ),
    r"derivative for '?(?:aten::)?(?P<operation>\w+)'? is not implemented": (
        "replace it in the model (nn.EmbeddingBag, say, by nn.Embedding and a sum), or choose an optimizer "
        "that needs no Hessian"
    ),
    r"(?P<operation>torch\.compile with aot_autograd)": "evaluate the model that is not compiled",
}
"""Torch's messages about missing second derivatives, and remedies."""


def reject_once_differentiable(roots: Iterable[Tensor | None]) -> None:
    """Refuse a graph with a function whose backward cannot be differentiated.

    Autograd would not: it leaves out the branch through that function, and the product would be wrong. Where what
    reaches that backward is a constant, as before a mean, even the gradient's graph knows nothing of the function,
    so the graph of the loss is looked at as well.

    Args:
        roots: The loss and its gradients.

    Raises:
        NotImplementedError: There is such a function.
    """
    for node in graph_behind(roots):
        if node.name() == "torch::autograd::Error" or _is_once_differentiable(node):
            raise NotImplementedError(
                "no second derivative for an autograd.Function that is marked @once_differentiable: write its "
                "backward with differentiable operations, without the decorator"
            )


def _is_once_differentiable(node: Node) -> bool:
    backward = getattr(getattr(node, "_forward_cls", None), "backward", None)
    while backward is not None:  # there may be decorators around that one
        if getattr(backward, "__code__", None) is _ONCE_DIFFERENTIABLE:
            return True
        backward = getattr(backward, "__wrapped__", None)
    return False


_ONCE_DIFFERENTIABLE = once_differentiable(lambda ctx: None).__code__
"""The code shared by all functions that torch's decorator returns."""
