"""A suite that names code of its own, good and bad, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchbench import checks
from benchbench import suite as suites

Write = Callable[..., Path]

CODE = """\
import sys
import warnings
from pathlib import Path
import torch
from benchbench.workloads import Workload

class Needy(torch.optim.SGD):
    def __init__(self, params, needed: float, lr: float = 0.1):
        super().__init__(params, lr=lr)

class Wrapper(torch.optim.Optimizer):
    def __init__(self, params, base: type[torch.optim.Optimizer], rho: float = 0.1, **kwargs):
        if rho < 0:
            raise ValueError(f"negative radius {rho}")
        self.base = base(params, **kwargs)
        super().__init__(self.base.param_groups, dict(rho=rho))

class Open(torch.optim.SGD):
    def __init__(self, params, **options):
        super().__init__(params, lr=0.1)

def exits(params):
    sys.exit("enough")

def raises(params):
    class Odd(BaseException):
        pass
    raise Odd("first\\\\nsecond")

def interrupted(params):
    raise KeyboardInterrupt

def warns(params):
    warnings.warn("careful")
    torch.rand(3)
    return torch.optim.SGD(params, lr=0.1)

class Matrices(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        if any(p.dim() != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("matrices only")

class Flagged(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        for group in params:
            if "flag" not in group:
                raise ValueError("every group needs a flag")
        super().__init__(params, lr=lr)

class Curious(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        parameters = self.param_groups[0]["params"]
        torch.autograd.grad(parameters[0].grad.sum(), parameters[0])
        return loss

class OfModel(torch.optim.SGD):
    def __init__(self, model: torch.nn.Module, lr: float = 0.1):
        super().__init__(model.parameters(), lr=lr)

def not_one(params):
    return 3

def build(setup, *, width: int = 3, root: str = "data", rate: float):
    pass

def missing(data, *, width=3, root="data", rate=0.0):
    if root == "raise":
        sys.exit(root)
    if not Path(root).exists():
        return f"no folder {root}: bring the data there"

class Small:
    def __init__(self, model):
        self.model = model

matrices = Workload(lambda setup: Small(torch.nn.Linear(2, 2, bias=False)), trial=False)
mixed = Workload(lambda setup: Small(torch.nn.Linear(2, 2)), trial=False)
def prepare(data, *, width=3, root="data", rate=0.0):
    if root == "raise":
        raise OSError("no network")
    (data / root).mkdir(parents=True)

mine = Workload(build, missing, prepare, trial=False)
inventive = Workload(build, missing, prepare, synthetic=True, trial=False)
simple = Workload(lambda setup: None, trial=False)
"""

SUITE = """\
name: small
seeds: [0, 1]
workloads:
  w: {workload: code.py:simple, epochs: 2, batch_size: 8}
methods:
  A: {optimizer: adamw}
"""


def problems(path: Path, *overrides: str) -> list[str]:
    found = checks.problems(suites.load(path, overrides=overrides))
    texts = [str(problem).replace(f"{path}:", "").replace(str(path.parent), "") for problem in found]
    assert all(len(text.splitlines()) == 1 for text in texts)
    return texts
