"""A run's task and optimizer, set up from its spec, and the one thing that is done with them: a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchbench.devices import use
from benchbench.optim import stepping
from benchbench.optim.equality import same
from benchbench.optim.execution import memory_format, parts
from benchbench.optim.execution.buffers import ModelBuffers, load_state, state_of
from benchbench.optim.execution.compilation import CompiledLoss
from benchbench.optim.execution.parts import Part
from benchbench.optim.execution.precision import LossScaler, in_half_precision
from benchbench.optim.execution.ranks import Ranks
from benchbench.optim.execution.synchronised_norm import synchronise
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.optim.perturbation import real_entries
from benchbench.optim.roles import ParameterRoles, part_sizes, without_decay
from benchbench.plugins.factories import Factories, Factory
from benchbench.training import backends, coverage
from benchbench.training.schedules import Schedules
from benchbench.values import Metrics, RunSpec
from benchbench.workloads import Setup, Task, as_number, evaluation_mode, set_training_mode
from benchbench.workloads.streams import Streams


def parameter_roles(spec: RunSpec, task: Task, model: nn.Module) -> ParameterRoles:
    """Return the roles of a model's parameters, as found but for what the workload and the suite say.

    Raises:
        ValueError: A role is said of no parameter.
    """
    return ParameterRoles(model, {**getattr(task, "roles", {}), **spec.roles})


def build_optimizer(
    spec: RunSpec, factory: Factory, task: Task, params: Iterable[Any], model: nn.Module, seed: int
) -> Optimizer:
    """Build the optimizer of a run, ready to make steps.

    Args:
        spec: The run.
        factory: That of its optimizer.
        task: Its workload.
        params: Parameters of the model, or groups of them.
        model: The model of the task, or a copy.
        seed: Given to an optimizer that draws random numbers.

    Raises:
        ValueError: A role is said of no parameter.
    """
    roles = parameter_roles(spec, task, model) if spec.no_decay or factory.wants_roles else None
    if roles is not None:
        params = without_decay(params, roles, spec.no_decay)
    optimizer = factory.build_optimizer(params, seed=seed, model=model, roles=roles)
    stepping.training(optimizer)
    return optimizer


class Training:
    """Everything that the steps of a run need, and their count.

    Set up and stepped the same way, two trainings of one spec make the same steps; they share nothing. Both
    move torch's global generators.

    Args:
        spec: What to run.
        factories: Those of its workload and its optimizer.
        device: Where to run it.
        data: The folder in which data sets lie.
        ranks: This process among those that share every batch; `None` if it is the only one.

    Raises:
        ValueError: The model cannot be run in the memory format that the spec asks for, or the optimizer has other
            parameters than it should.

    Attributes:
        task: The workload.
        buffers: Those of its model.
        optimizer: The optimizer over the task's model.
        parameters: What it moves, in its order, frozen ones included.
        attributes: Those of each parameter of the model, as they were before there was an optimizer.
        schedules: What changes its hyperparameters from step to step.
        compiled: The compiled loss, where the spec asks for one.
        ledger: What the steps have cost.
        streams: The run's random streams.
        create_graph: Whether gradients keep their graph, for an optimizer that differentiates them itself.
    """

    def __init__(
        self, spec: RunSpec, factories: Factories, device: torch.device, data: Path, ranks: Ranks | None = None
    ) -> None:
        self._ranks = ranks
        self._spec = spec
        self._factory = factories.optimizer
        self._execution = spec.execution
        self.streams = Streams(spec.seed)
        self._device = device
        self.streams.reseed_global("init", 0, device)
        drop_last = spec.execution.drop_last
        setup = Setup(device, spec.batch_size, self.streams, spec.protocol, data, spec.synthetic, drop_last)
        self.task = factories.workload.build_task(setup)
        model = self.task.model
        if spec.execution.channels_last:
            if not use.is_accelerator(device):
                memory_format.refuse_dangerous_convolutions(model)
            memory_format.convert_convolutions(model)
        if ranks is not None and spec.execution.batch_norm == "synchronised":
            synchronise(model, ranks)
        set_training_mode(model)
        self.attributes = [dict(vars(p)) for p in model.parameters()]
        given, trainable = getattr(self.task, "parameters", model.parameters)(), coverage.trainable(model)
        self.optimizer = self.build_optimizer(given, model)
        for _, fault in coverage.faults(trainable, self.optimizer, spec.leave_out, spec.no_decay):
            raise ValueError(f"{spec.optimizer.target} {fault}")
        # Where the loss is compiled, nothing that it was traced with may change, or it is compiled twice.
        self.buffers = ModelBuffers(model.modules(), hide=not spec.execution.compile)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.schedules = Schedules(
            self.optimizer,
            spec.schedule,
            self.task.steps_per_epoch,
            spec.epochs,
            higher_is_better=self.task.higher_is_better,
        )
        self.create_graph = factories.create_graph
        self.compiled = CompiledLoss(self.task.loss) if spec.execution.compile else None
        self._dropout = f"dropout/{ranks.rank}" if ranks is not None and ranks.rank else "dropout"
        self._scaler = LossScaler(device) if spec.execution.autocast == "fp16" else None
        self.ledger = Ledger()
        self._latest: Objective | None = None

    def build_optimizer(self, params: Iterable[Any], model: nn.Module) -> Optimizer:
        """Build the run's optimizer over parameters, or groups of them, of a model."""
        return build_optimizer(self._spec, self._factory, self.task, params, model, self.streams.short_seed("probes"))

    def step(self, batch: Any, watch: Callable[[], None] | None = None) -> Tensor:
        """Make one step on a batch.

        Args:
            batch: The batch.
            watch: Called after every evaluation of the loss, at the point where it was made, the gradients in `p.grad`.

        Returns:
            The loss of its first evaluation, detached.

        Raises:
            RuntimeError: The optimizer never evaluated the objective.
        """
        self.schedules.apply(self.ledger.steps)
        self.reseed()
        objective = self.objective(batch, ledger=self.ledger, create_graph=self.create_graph, watch=watch)
        self._latest = objective
        with self.ledger.metered():
            loss = stepping.step(self.optimizer, objective)
        self.ledger.add(steps=1)
        return loss

    def not_finite(self) -> str:
        """Return which of the loss, the weights and the gradient has become NaN or infinite, or an empty text."""
        loss = None if self._latest is None else self._latest.first_loss
        found = {
            "loss": [] if loss is None else [loss],
            "weights": self.parameters,
            "gradient": [parameter.grad for parameter in self.parameters if parameter.grad is not None],
        }
        wrong = (
            name for name, tensors in found.items() if not all(real_entries(each).isfinite().all() for each in tensors)
        )
        return next(wrong, "")

    def evaluate(self, split: str) -> Metrics:
        """Return the task's metrics on a split, as `split/metric`, in the precision that the spec asks for.

        The model's modes and buffers stay as they were, whatever the task does with them.
        """
        restored = self.buffers.restored()
        with restored, evaluation_mode(self.task.model), backends.evaluated_in(self._execution, self._device):
            return {f"{split}/{name}": as_number(name, value) for name, value in self.task.evaluate(split).items()}

    def reseed(self) -> None:
        """Let dropout masks be those of the step: they depend on it (and the rank) alone, whatever else is drawn."""
        self.streams.reseed_global(self._dropout, self.ledger.steps, self._device)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Evaluate the loss inside without leaving a trace in gradients, buffers or random state."""
        gradients = [parameter.grad for parameter in self.parameters]
        with use.forked_random_state(self._device), self.buffers.untouched():
            yield
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def objective(
        self,
        batch: Any,
        *,
        ledger: Ledger | None = None,
        create_graph: bool = False,
        watch: Callable[[], None] | None = None,
    ) -> Objective:
        """Return the loss on a batch as a function of the parameters.

        Raises:
            ValueError: The batch cannot be divided.
        """
        return Objective(
            self._parts(batch),
            self.parameters,
            ledger=ledger,
            buffers=self.buffers,
            create_graph=create_graph,
            clip_norm=self._execution.clip_norm,
            scaler=self._scaler,
            ranks=self._ranks,
            watch=watch,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that another training of the spec needs to go on from here.

        The tensors are those at work, no copies. Random state is not among them: streams begin again with every step.
        """
        return {
            "model": state_of(self.task.model),
            "modes": [module.training for module in self.task.model.modules()],
            "optimizer": self.optimizer.state_dict(),
            "scaler": {} if self._scaler is None else self._scaler.state(),
            "counts": self.ledger.counts,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: The optimizer does not take its state back as it was, or the loss's scale is no positive number.
        """
        load_state(self.task.model, state["model"])
        for module, mode in zip(self.task.model.modules(), state["modes"], strict=True):
            module.training = mode
        self.optimizer.load_state_dict(state["optimizer"])
        if not same(self.optimizer.state_dict(), state["optimizer"]):
            raise ValueError("the optimizer's state changes when it is loaded")
        if self._scaler is not None:
            self._scaler.load_state(state["scaler"])
        self.ledger.restore(state["counts"])

    def account(self) -> dict[str, str]:
        """Say, as plain text, how the gradients were computed, where that is not the default."""
        said = backends.description(self._execution) | self.schedules.account()
        if parts := part_sizes(self.optimizer):
            said["parts"] = ", ".join(f"{part} {size:,}" for part, size in parts.items())
        if self._ranks is not None:
            said["batch_norm"] = self._execution.batch_norm
        if self.compiled is not None:
            said["compile"] = self.compiled.account(self.ledger.hvps)
        if self._scaler is not None:
            said["overflows"] = f"{self._scaler.overflows} gradients were not finite in fp16 and became zero"
        return said

    def _parts(self, batch: Any) -> list[Part]:
        """Return this rank's parts of a batch: every `ranks`-th one, so that all ranks evaluate equally often."""
        if self._execution.channels_last:
            batch = memory_format.converted(batch)
        ranks, rank = (1, 0) if self._ranks is None else (self._ranks.size, self._ranks.rank)
        count = self._execution.accumulate * ranks
        if count == 1:
            return [self._part(batch, 1.0)]
        divided = getattr(self.task, "divide", parts.divide)(batch, count)
        sizes = [getattr(self.task, "size", parts.size)(each) for each in divided]
        shares = [size / sum(sizes) for size in sizes]
        own = []
        for first in range(0, len(divided), ranks):
            if any(shares[first : first + ranks]):
                share = shares[first + rank]
                # A small batch has parts without examples. Another one stands in, for the ranks meet in batch norm.
                own.append(self._part(divided[first + rank if share else 0], share))
        return own

    def _part(self, batch: Any, weight: float) -> Part:
        return Part(partial(self.task.loss, batch), partial(self._first_order_loss, batch), weight)

    def _first_order_loss(self, batch: Any) -> Tensor:
        """Return the loss as it is computed where no second derivative is needed."""
        loss = partial(self.compiled or self.task.loss, batch)
        if self._execution.autocast == "off":
            return loss()
        return in_half_precision(loss, self._execution.autocast, self._device)
