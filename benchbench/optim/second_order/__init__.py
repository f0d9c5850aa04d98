"""Functions of `torch.nn.functional` with second derivatives that cost what their products cost."""

from benchbench.optim.second_order.routing import FastSecondDerivatives

__all__ = ["FastSecondDerivatives"]
