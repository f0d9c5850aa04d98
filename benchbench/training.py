"""A run's task and optimizer, set up from its spec, and the one thing that is done with them: a step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchbench import registry, stepping
from benchbench.checkpoint import same
from benchbench.compilation import CompiledLoss
from benchbench.ledger import Ledger
from benchbench.objective import Objective, normalizers_of
from benchbench.schedules import Schedules
from benchbench.streams import Streams
from benchbench.values import RunSpec
from benchbench.workloads import Setup

_COUNTS = ("steps", "forwards", "gradients", "hvps")


class Training:
    """What the steps of a run need, and their count.

    Set up and stepped the same way, two trainings of one spec make the same steps; they share nothing. Both
    move torch's global generators.

    Args:
        spec: What to run.
        device: Where to run it.
        data: The folder in which data sets lie.

    Attributes:
        task: The workload.
        optimizer: The optimizer over the task's model.
        schedules: What changes its hyperparameters from step to step.
        compiled: The compiled loss, where the spec asks for one.
        ledger: What the steps have cost.
    """

    def __init__(self, spec: RunSpec, device: torch.device, data: Path) -> None:
        self._streams = Streams(spec.seed)
        self._device = device
        self._streams.reseed_global("init", 0, device)
        setup = Setup(device, spec.batch_size, self._streams, spec.protocol, data, spec.synthetic)
        self.task = registry.build_workload(spec.workload, setup)
        model = self.task.model
        parameters = getattr(self.task, "parameters", model.parameters)()
        self.optimizer = registry.build_optimizer(
            spec.optimizer, parameters, seed=self._streams.seed("probes"), model=model
        )
        stepping.training(self.optimizer)
        self._normalizers = normalizers_of(model)
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.schedules = Schedules(
            self.optimizer,
            spec.schedule,
            self.task.steps_per_epoch,
            spec.epochs,
            higher_is_better=self.task.higher_is_better,
        )
        self._create_graph = registry.needs_create_graph(spec.optimizer, spec.create_graph)
        self.compiled = CompiledLoss(self.task.loss) if spec.execution.compile else None
        self.ledger = Ledger()

    def step(self, batch: Any) -> Tensor:
        """Make one step on a batch.

        Returns:
            The loss of its first evaluation, detached.

        Raises:
            RuntimeError: The optimizer never evaluated the objective.
        """
        self.schedules.apply(self.ledger.steps)
        # Dropout masks depend on the step alone, whatever numbers the optimizer draws.
        self._streams.reseed_global("dropout", self.ledger.steps, self._device)
        objective = self.objective(batch, ledger=self.ledger, create_graph=self._create_graph)
        with self.ledger.metered():
            loss = stepping.step(self.optimizer, objective)
        self.ledger.steps += 1
        return loss

    def objective(self, batch: Any, *, ledger: Ledger | None = None, create_graph: bool = False) -> Objective:
        """Return the loss on a batch as a function of the parameters."""
        return Objective(
            partial(self.task.loss, batch),
            self._parameters,
            ledger=ledger,
            normalizers=self._normalizers,
            create_graph=create_graph,
            first_order_loss=None if self.compiled is None else partial(self.compiled, batch),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that another training of the spec needs to go on from here.

        The tensors are those at work, no copies. Random state is not among them: streams begin anew with every step.
        """
        return {
            "model": self.task.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counts": {name: getattr(self.ledger, name) for name in _COUNTS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: The optimizer does not take its state back as it was.
        """
        self.task.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if not same(self.optimizer.state_dict(), state["optimizer"]):
            raise ValueError("the optimizer's state changes when it is loaded")
        for name in _COUNTS:
            setattr(self.ledger, name, state["counts"][name])
