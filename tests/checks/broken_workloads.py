"""Workloads that each break one promise, and some that are only unusual."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchbench.workloads import Setup, Workload


class Task:
    """Whether the first of four numbers is positive; 65 examples."""

    selection_metric = "accuracy"
    higher_is_better = True
    count = 65

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(self.count, 4, generator=generator)
        self.y = (self.x[:, 0] > 0).long()
        self.model: nn.Module = self.network()
        self.steps_per_epoch = setup.steps(self.count)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    def order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=self.setup.streams.generator("order", epoch))

    def batches(self, epoch: int) -> Iterator[Any]:
        for part in self.setup.kept(self.order(epoch)).split(self.setup.batch_size):
            yield self.x[part], self.y[part]

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    @torch.no_grad()
    def evaluate(self, split: str) -> Any:
        return {"loss": self.loss((self.x, self.y)).item(), "accuracy": 0.5}


class Undirected(Task):
    higher_is_better = None  # type: ignore[assignment]


class Stepless(Task):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.steps_per_epoch = 0


class Miscounting(Task):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.steps_per_epoch += 1


class Shuffled(Task):
    def order(self, epoch: int) -> Tensor:
        return torch.from_numpy(np.random.permutation(self.count))


class Initialised(Task):
    def network(self) -> nn.Module:
        model = super().network()
        with torch.no_grad():
            model[0].weight.fill_(random.random())
        return model


class Seeding(Task):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        np.random.seed(0)


class Listing(Task):
    def evaluate(self, split: str) -> Any:
        return [0.5]


class Nothing(Task):
    def evaluate(self, split: str) -> Any:
        return {"loss": 0.5, "accuracy": None}


class OtherMetric(Task):
    selection_metric = "f1"


class TestOnly(Task):
    def evaluate(self, split: str) -> Mapping[str, float]:
        return {"test": super().evaluate(split)}[split]  # type: ignore[no-any-return]


class Training(Task):
    def evaluate(self, split: str) -> Any:
        next(self.model.parameters()).data.add_(1)
        return super().evaluate(split)


class Differentiating(Task):
    def loss(self, batch: Any) -> Tensor:
        loss = super().loss(batch)
        if loss.requires_grad:
            loss.backward()
        return loss


class Vector(Task):
    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1], reduction="none")


class Infinite(Task):
    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch) / 0


class Unrelated(Task):
    def loss(self, batch: Any) -> Tensor:
        return torch.ones((), requires_grad=True) * 2


class Failing(Task):
    def __init__(self, setup: Setup) -> None:
        raise RuntimeError("no such host")


class Normalised(Task):
    """Its last batch has one example, which batch norm refuses."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


class Standardised(Task):
    """Its last batch has one example, whose deviation is NaN."""

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(0)) / x.std(0)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), self.Layer(), nn.Linear(3, 2))


class Stubborn(Normalised):
    """Yields the last batch whatever is asked for."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.steps_per_epoch = -(-self.count // setup.batch_size)

    def batches(self, epoch: int) -> Iterator[Any]:
        for part in self.order(epoch).split(self.setup.batch_size):
            yield self.x[part], self.y[part]


class Forgetful(Task):
    """Keeps what it has learnt of its inputs outside of buffers."""

    class Layer(nn.Module):
        mean = torch.zeros(3)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.mean = 0.5 * self.mean + x.mean(0).detach()
            return x - self.mean

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), self.Layer(), nn.Linear(3, 2))


class Dictionary(Task):
    """Unusual, and right: batches in dictionaries, metrics as NumPy's numbers, dropout, a model in evaluation mode."""

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.LayerNorm(3), nn.Linear(3, 2)).eval()

    def batches(self, epoch: int) -> Iterator[Any]:
        for x, y in super().batches(epoch):
            yield {"inputs": x, "labels": y, "epoch": epoch}

    def loss(self, batch: Any) -> Tensor:
        return super().loss((batch["inputs"], batch["labels"]))

    @torch.no_grad()
    def evaluate(self, split: str) -> Any:
        right = self.model(self.x).argmax(1) == self.y
        return {"loss": np.float64(1.5), "accuracy": np.float64(right.double().mean().item()), "acc@1": 1}


CLASSES = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, Task)]
for each in CLASSES:
    globals()[each.__name__.lower()] = Workload(each)
