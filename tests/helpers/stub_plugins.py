"""Optimizers and workloads that misbehave, for tests, named in suites as `FILE:attribute`."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.values import Metrics
from benchbench.workloads import Setup, Workload
from benchbench.workloads.classification import Split, TensorClassification


class LineTask:
    """Fits a line with two weights: a run takes milliseconds."""

    selection_metric = "accuracy"
    higher_is_better = True

    def __init__(self, setup: Setup, steps: int = 4, pause: float = 0.0) -> None:
        self.model: nn.Module = nn.Linear(1, 1).to(setup.device)
        self.steps_per_epoch = steps
        self._setup = setup
        self._pause = pause

    def batches(self, epoch: int) -> Iterator[Tensor]:
        generator = self._setup.streams.generator("order", epoch)
        for _ in range(self.steps_per_epoch):
            time.sleep(self._pause)
            yield torch.rand(8, 1, generator=generator).to(self._setup.device)

    def loss(self, batch: Tensor) -> Tensor:
        return (self.model(batch) - 2 * batch).square().mean()

    def evaluate(self, split: str) -> Metrics:
        points = torch.linspace(0, 1, 5, device=self._setup.device)[:, None]
        with torch.no_grad():
            loss = (self.model(points) - 2 * points).square().mean().item()
        return {"loss": loss, "accuracy": 1 / (1 + loss)}


def build_line(setup: Setup, *, steps: int = 4, pause: float = 0.0) -> LineTask:
    """Fit a line."""
    return LineTask(setup, steps, pause)


def build_killed(setup: Setup, *, marker: str, kills: int = 1) -> LineTask:
    """Kill the run's own process, as often as `kills` says, counted by the lines of the file `marker`."""
    path = Path(marker)
    lines = path.read_text().splitlines() if path.exists() else []
    path.write_text("\n".join([*lines, str(os.getpid())]))
    if len(lines) < kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return LineTask(setup)


def build_regularised(setup: Setup, *, die_after: int = 0, marker: str = "") -> TensorClassification:
    """Classify noise with batch norm and dropout; kill the own process after a number of steps, the first time."""
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: Split(torch.randn(count, 6, generator=generator), torch.randint(0, 3, (count,), generator=generator))
        for name, count in (("train", 40), ("validation", 16), ("test", 16))
    }
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
    train = splits.pop("train")
    if not die_after or Path(marker).exists():
        return TensorClassification(setup, model, train, splits)
    return Mortal(setup, model, train, splits, die_after, marker)


class Mortal(TensorClassification):
    """Kills its own process when it is asked for the batch after `die_after` ones."""

    def __init__(self, setup: Setup, model: nn.Module, train: Split, rest: Any, die_after: int, marker: str) -> None:
        super().__init__(setup, model, train, rest)
        self._left, self._marker = die_after, marker

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in super().batches(epoch):
            if self._left == 0:
                Path(self._marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            yield batch


def build_segfault(setup: Setup) -> LineTask:
    """Read from address zero."""
    ctypes.string_at(0)
    return LineTask(setup)


def build_environment(setup: Setup, *, variable: str, folder: str) -> LineTask:
    """Write down what this process sees of an environment variable."""
    Path(folder, f"{setup.streams.root}.txt").write_text(f"{os.environ.get(variable)} {torch.get_num_threads()}")
    return LineTask(setup, pause=0.05)


def build_crowded(setup: Setup, *, folder: str, memory_of: str = "device", always: bool = False) -> LineTask:
    """Run out of memory beside another one of this kind, and `always` also alone; if it is not alone then, break."""
    here = Path(folder)
    first, busy = here / f"first-{setup.streams.root}", here / "busy"
    error = torch.OutOfMemoryError("CUDA out of memory.") if memory_of == "device" else MemoryError()
    if not first.exists():
        first.touch()
        while len(list(here.glob("first-*"))) < 2:
            time.sleep(0.01)
        time.sleep(0.1)
        raise error
    busy.touch(exist_ok=False)
    time.sleep(0.5)  # a second one would find that this one is at work
    busy.unlink()
    if always:
        raise error
    return LineTask(setup)


def build_failing(setup: Setup) -> LineTask:
    """Raise while the run is being set up."""
    raise RuntimeError("this workload always fails")


def build_missing(setup: Setup) -> LineTask:
    """Never be built: its data are missing."""
    raise FileNotFoundError("/nowhere")


line = Workload(build_line)
killed = Workload(build_killed, trial=False)
regularised = Workload(build_regularised, trial=False)
segfault = Workload(build_segfault, trial=False)
environment = Workload(build_environment, trial=False)
crowded, failing = Workload(build_crowded, trial=False), Workload(build_failing, trial=False)
missing = Workload(
    build_missing, missing=lambda data: "the data of this workload are not in /nowhere: bring them there"
)


class OnlyOnce(LineTask):
    """A line whose loss has no second derivative."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            [x] = ctx.saved_tensors
            return 2 * x * gradient

    def loss(self, batch: Tensor) -> Tensor:
        loss: Tensor = self.Square.apply(self.model(batch) - 2 * batch).square().mean()  # type: ignore[no-untyped-call]
        return loss


only_once = Workload(OnlyOnce)


class Exploding(torch.optim.SGD):
    """SGD whose weights become NaN after a number of steps."""

    def __init__(self, params: object, lr: float = 0.1, after: int = 6) -> None:
        super().__init__(params, lr=lr)  # type: ignore[arg-type]
        self._steps_left = after

    def step(self, closure: object = None) -> object:  # type: ignore[override]
        loss = super().step(closure)  # type: ignore[arg-type]
        self._steps_left -= 1
        if self._steps_left < 0:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.fill_(float("nan"))
        return loss


class Idle(torch.optim.SGD):
    """An optimizer that forgets to evaluate the objective."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        return None


class Averaging(torch.optim.SGD):
    """SGD that recommends weights of zero, which it shows in evaluation mode alone."""

    def __init__(self, params: object, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)  # type: ignore[arg-type]
        self._trained: list[Tensor] | None = []
        self.training = False

    def _weights(self) -> list[Tensor]:
        return [p.data for group in self.param_groups for p in group["params"]]

    def eval(self) -> None:
        self._trained = [p.clone() for p in self._weights()]
        for p in self._weights():
            p.zero_()
        self.training = False

    def train(self) -> None:
        for p, trained in zip(self._weights(), self._trained or [], strict=False):
            p.copy_(trained)
        self.training = True

    def step(self, closure: object = None) -> object:  # type: ignore[override]
        assert self.training
        return super().step(closure)  # type: ignore[arg-type]


class Noisy(torch.optim.SGD):
    """SGD that draws random numbers from torch's global generator."""

    def step(self, closure: object = None) -> object:  # type: ignore[override]
        torch.rand(1000)
        return super().step(closure)  # type: ignore[arg-type]


class Opaque(torch.optim.SGD):
    """SGD with a state that is more than tensors and plain values."""

    def __init__(self, params: object, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "path": Path("somewhere")}


class Forgetful(torch.optim.SGD):
    """SGD that loads its state without the momentum."""

    def __init__(self, params: object, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr, momentum=0.9)  # type: ignore[arg-type]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "state": {}})


class Untestable(LineTask):
    """Fits a line, and breaks as soon as it is asked about test data."""

    def evaluate(self, split: str) -> Metrics:
        assert split == "validation", f"the split {split} was read"
        return super().evaluate(split)


untestable = Workload(Untestable, trial=False)
