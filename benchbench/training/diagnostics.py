"""Diagnostics of the steps of a run: norms, angles, and the distribution of the optimizer's state.

All of it is computed from generic things: the weights before and after a step, the points at which the objective was
evaluated and the gradients there, and the tensors in the optimizer's state, by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from benchbench.optim.hutchinson import rademacher
from benchbench.optim.perturbation import Displacement, global_norm, real_entries
from benchbench.optim.state import optimizers_in
from benchbench.training.clock import Clock
from benchbench.training.steps import Training
from benchbench.values import DiagnosticRecord, Diagnostics, Histogram

_PER_DECADE = 4
_MAGNITUDES = [10 ** (power / _PER_DECADE) for power in range(-12 * _PER_DECADE, 6 * _PER_DECADE + 1)]

EDGES: tuple[float, ...] = (*(-edge for edge in reversed(_MAGNITUDES)), *_MAGNITUDES)
"""Edges of all histograms: four bins per decade from 1e-12 to 1e6 for each sign, and one bin around zero."""

_QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}


@dataclass
class _Evaluations:
    """Norms that the evaluations within one step have shown; `before` are the weights at its start."""

    before: Tensor
    gradient_norm: Tensor | None = None
    perturbation_norm: Tensor | None = None

    def add(self, gradients: Sequence[Tensor], weights: Tensor) -> None:
        """Look at an evaluation at `weights`."""
        distance = torch.linalg.vector_norm(weights - self.before)
        farthest = self.perturbation_norm
        self.perturbation_norm = distance if farthest is None else torch.maximum(farthest, distance)
        if self.gradient_norm is None and gradients:
            self.gradient_norm = global_norm(gradients)


@dataclass
class _Followed:
    """Tensors of the optimizer's state as they are now, and how far from what they were before their latest change."""

    entries: Tensor | None = None
    change: Tensor | None = None

    def follow(self, entries: Tensor) -> None:
        """Look at the entries after a step. The host does not read them, so nothing waits."""
        if self.entries is None or self.change is None or self.entries.shape != entries.shape:
            self.change = entries.new_full((), math.nan)
        else:
            before, change = self.entries.to(entries.device), self.change.to(entries.device)
            distance = torch.linalg.vector_norm(entries - before)
            self.change = torch.where(distance == 0, change, distance / torch.linalg.vector_norm(before))
        self.entries = entries


class DiagnosticsRecorder:
    """Makes the steps of a training, and records what a suite asks for of them.

    No number of the training depends on it: it draws from a stream of its own and puts back what it touches. Its time
    and its evaluations are not the training's.

    On the device it keeps, each as large as the weights: the weights at the start for `distance_from_start`, an
    update for `update_cosine`, and one copy of each tensor in `state`. A record takes up to four more of that size:
    the weights before and after the step and their difference, or a sorted tensor with its order.

    Args:
        settings: What to record.
        training: A training that has made no step yet.
        clock: The training's clock, which is stopped for what is recorded.
        note: Called with every record.

    Attributes:
        records: All records, those of earlier attempts included.
    """

    def __init__(
        self,
        settings: Diagnostics,
        training: Training,
        clock: Clock,
        *,
        note: Callable[[DiagnosticRecord], None],
    ) -> None:
        self.records: list[DiagnosticRecord] = []
        self._settings = settings
        self._training = training
        self._clock = clock
        self._note = note
        self._parameters = [parameter for parameter in training.parameters if parameter.requires_grad]
        self._start = self._weights() if "distance_from_start" in settings.record else None
        self._previous_update: Tensor | None = None
        self._followed = {name: _Followed() for name in settings.state}

    def step(self, batch: Any, epoch: int) -> Tensor:
        """Make one step.

        Args:
            batch: The batch.
            epoch: The epoch that is under way, from 1.

        Returns:
            The loss of the step's first evaluation, detached.
        """
        number = self._training.ledger.steps + 1
        due = self._is_due(number)
        kept = "update_cosine" in self._settings.record and self._is_due(number + 1)
        # What is recorded has to be waited for. On all other steps, nothing is.
        stopped = self._clock.paused if due else self._clock.left_out
        if not (due or kept):
            loss = self._training.step(batch)
            if self._followed:
                with stopped():
                    self._follow_state()
            return loss
        with stopped():
            curvature = None
            if due and "curvature_change" in self._settings.record:
                curvature = curvature_change(self._training, self._parameters, batch, self._settings.radius)
            evaluations = _Evaluations(self._weights())
        loss = self._training.step(batch, partial(self._look, evaluations) if due else None)
        with stopped():
            self._follow_state()
            after = self._weights()
            update = after - evaluations.before
            if due:
                found = {**self._quantities(evaluations, after, update), "curvature_change": curvature}
                self._record(number, epoch, found)
            self._previous_update = update if kept else None
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what another attempt needs to go on from here; the weights at the start are those it begins with."""
        return {
            "records": [record.model_dump_json() for record in self.records],
            "previous_update": self._previous_update,
            "followed": {name: [each.entries, each.change] for name, each in self._followed.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.records = [DiagnosticRecord.model_validate_json(line) for line in state["records"]]
        update = state["previous_update"]
        self._previous_update = None if update is None else update.to(self._parameters[0].device)
        self._followed = {name: _Followed(*state["followed"][name]) for name in self._settings.state}

    def _is_due(self, step: int) -> bool:
        return step % self._settings.every == 0

    def _weights(self) -> Tensor:
        return torch.cat([real_entries(parameter.detach()).reshape(-1) for parameter in self._parameters])

    def _look(self, evaluations: _Evaluations) -> None:
        with self._clock.paused(), torch.no_grad():
            gradients = [p.grad.detach() for p in self._parameters if p.grad is not None]
            evaluations.add(gradients, self._weights())

    def _follow_state(self) -> None:
        for name, followed in self._followed.items():
            entries = population(self._training.optimizer, name)
            if entries is not None:
                followed.follow(entries)

    def _quantities(self, evaluations: _Evaluations, after: Tensor, update: Tensor) -> dict[str, Tensor | None]:
        norm, previous = torch.linalg.vector_norm(update), self._previous_update
        found = {
            "update_norm": norm,
            "gradient_norm": evaluations.gradient_norm,
            "perturbation_norm": evaluations.perturbation_norm,
        }
        if previous is not None:
            found["update_cosine"] = torch.dot(update, previous) / (norm * torch.linalg.vector_norm(previous))
        if self._start is not None:
            found["distance_from_start"] = torch.linalg.vector_norm(after - self._start)
        return found

    def _record(self, step: int, epoch: int, quantities: Mapping[str, Tensor | None]) -> None:
        values: dict[str, Tensor | None] = {name: quantities.get(name) for name in self._settings.record}
        histograms = {}
        for name, followed in self._followed.items():
            if followed.entries is not None and followed.change is not None:
                shares, histograms[f"state/{name}"] = distribution(followed.entries)
                values |= {f"state/{name}/{share}": value for share, value in shares.items()}
                # Before the first change there is nothing to say.
                values[f"state/{name}/relative_change"] = None if followed.change.isnan() else followed.change
        numbers = {name: value.item() for name, value in values.items() if value is not None}
        self.records.append(DiagnosticRecord(step=step, epoch=epoch, values=numbers, histograms=histograms))
        self._note(self.records[-1])


def curvature_change(training: Training, parameters: Sequence[Tensor], batch: Any, radius: float) -> Tensor:
    """Return how much the curvature changes near the weights, ||H(x + r u) z - H(x) z|| / ||H(x) z||.

    H is the Hessian of the loss on the batch, with the dropout masks of the coming step. z and u have random signs, u
    has length 1; both are functions of the run's seed and the step, the same on every device. Two Hessian-vector
    products.

    Args:
        training: Nothing of it is changed.
        parameters: The parameters that x is made of: all trainable ones, in the optimizer's order.
        batch: The batch.
        radius: The distance r.

    Raises:
        NotImplementedError: An operation in the loss has no second derivative.
    """
    seed = training.streams.seed("diagnostics")
    probe, direction = rademacher(parameters, n_samples=2, seed=seed, step=training.ledger.steps)
    entries = sum(parameter.numel() for parameter in parameters)
    offsets = list(torch._foreach_mul(direction, radius / math.sqrt(entries)))
    objective = training.objective(batch)
    with training.undisturbed():
        training.reseed()
        _, [here] = objective.with_hvp([probe])
    with training.undisturbed(), Displacement().by(list(parameters), offsets):
        training.reseed()
        _, [there] = objective.with_hvp([probe])
    return global_norm(torch._foreach_sub(there, here)) / global_norm(here)


def state_names(optimizer: torch.optim.Optimizer) -> set[str]:
    """Return the names that tensors have in an optimizer's state."""
    return {
        name
        for state in _states(optimizer)
        for name, value in state.items()
        if isinstance(name, str) and _counts(value)
    }


def population(optimizer: torch.optim.Optimizer, name: str) -> Tensor | None:
    """Return the tensors called `name` in the state of all parameters as one vector, or `None` if there are none.

    It is a copy, in at least single precision.
    """
    tensors = [state[name].detach().reshape(-1) for state in _states(optimizer) if _counts(state.get(name))]
    if not tensors:
        return None
    entries = torch.cat(tensors)
    return entries.to(torch.promote_types(entries.dtype, torch.float32))


def _states(optimizer: torch.optim.Optimizer) -> Iterator[Mapping[Any, Any]]:
    # A wrapper may share the state of its base.
    holders = {id(each.state): each for each in optimizers_in(optimizer)}.values()
    # In the order of the parameters, for that of the state is another one after it was loaded.
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for each in holders:
                state = each.state.get(parameter)
                if isinstance(state, Mapping):
                    yield state


def _counts(value: object) -> bool:
    """Return whether a value in a state has entries that can be ordered."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_complex() and value.numel() > 0


def distribution(entries: Tensor) -> tuple[dict[str, Tensor], Histogram]:
    """Return how the entries of a vector are distributed.

    Args:
        entries: The entries, at least one.

    Returns:
        Quantiles (linearly interpolated, NaN being the largest) and the shares of entries that are negative and that
        are zero; and the histogram over `EDGES`. Each of its bins holds its lower edge; the outermost ones hold what
        lies beyond as well, and none holds NaN.
    """
    ordered = entries.sort().values
    values = {name: _quantile(ordered, share) for name, share in _QUANTILES.items()}
    values["negative_share"] = (entries < 0).float().mean()
    values["zero_share"] = (entries == 0).float().mean()
    inner = torch.tensor(EDGES[1:-1], dtype=entries.dtype, device=entries.device)
    below = [0, *torch.searchsorted(ordered, inner).tolist(), len(entries) - int(entries.isnan().sum())]
    counts = tuple(upper - lower for lower, upper in pairwise(below))
    return values, Histogram(edges=EDGES, counts=counts)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    # torch.quantile refuses more than 16 million entries.
    place = share * (len(ordered) - 1)
    lower = math.floor(place)
    return ordered[lower] if lower == place else torch.lerp(ordered[lower], ordered[lower + 1], place - lower)
