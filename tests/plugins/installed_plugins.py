"""Plugins to install, and what asking for one gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchbench.plugins.names import Kind, PluginError, resolve

Install = Callable[..., None]

OPTIMIZERS = """\
import torch
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal
if TYPE_CHECKING:
    from nowhere import Unknown

class Plain(torch.optim.SGD):
    "A plain one."
    create_graph = True

class Seeded(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1, seed: int = 0):
        super().__init__(params, lr=lr)
        self.seed = seed

class Wrapper(torch.optim.Optimizer):
    def __init__(self, params, base: type[torch.optim.Optimizer] = torch.optim.SGD, rho: float = 0, **kwargs):
        self.base = base(params, **kwargs)
        super().__init__(self.base.param_groups, dict(rho=rho))

def optional_wrapper(params, base: type[torch.optim.Optimizer] | None = None, **kwargs):
    return base(params, **kwargs)

def open_ended(params, lr: float = 1.0, **options):
    optimizer = torch.optim.SGD(params, lr=lr)
    optimizer.options = options
    return optimizer

def unknown_types(params, lr: "Unknown" = 1.0, mode: "Literal['a']" = "a"):
    return torch.optim.SGD(params, lr=lr)

thing = 3
"""

WORKLOADS = """\
from benchbench.workloads import Workload

def build(setup, *, width: int = 3, sizes: tuple[int, ...] = (1, 2)):
    "Build it."
    return (setup, width, sizes)

mine = Workload(build, trial=False)
"""

NAMED = """\
from collections.abc import Callable
from typing import Annotated, Any
from torch import nn
from benchbench.plugins.signatures import Named
from benchbench.workloads import Workload

def model(*, classes: int, width: int = 3, sizes: tuple[int, ...] = ()):
    "A small one."
    return (classes, width, sizes)

def dataset(*, path: str, size: int = 8):
    return (path, size)

def build(
    setup,
    *,
    model: Annotated[Callable[..., Any], Named("model")],
    dataset: Annotated[Callable[[], Any], Named("dataset")],
):
    return model(classes=5), dataset()

mine = Workload(build, trial=False)
"""


def error(kind: Kind, target: str) -> str:
    with pytest.raises(PluginError) as caught:
        resolve(kind, target)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)
