"""Checks of workloads: the promises that the harness relies on."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.utils import _pytree

from benchbench.checks.conformance.trying import (
    BrokenPromiseError,
    NotApplicableError,
    Verdict,
    generators_kept,
    random_states,
    seed_all,
    verdict,
)
from benchbench.optim.equality import same
from benchbench.optim.execution import parts
from benchbench.optim.execution.buffers import ModelBuffers, load_state, state_of
from benchbench.optim.objective import Objective
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import describe_exception
from benchbench.problems import printable
from benchbench.processes.state import process_state_kept
from benchbench.values import RunSpec
from benchbench.workloads import DATA, Setup, Task, evaluation_mode, set_training_mode
from benchbench.workloads.streams import Streams

CPU = torch.device("cpu")

IS_SET_UP = "is set up, and says what it is"
SMALLEST = "trains on its smallest batch"

_ATTRIBUTES: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "model": (lambda value: isinstance(value, nn.Module), "the network, a torch.nn.Module"),
    "steps_per_epoch": (
        lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0,
        "the number of batches of an epoch, an integer from 1",
    ),
    "selection_metric": (
        lambda value: isinstance(value, str) and value != "",
        "the name of the metric that chooses the best epoch, such as accuracy",
    ),
    "higher_is_better": (
        lambda value: isinstance(value, bool),
        "the direction of its selection metric: True if more is better, False if less is",
    ),
    "batches": (callable, "a method that yields the batches of an epoch"),
    "loss": (callable, "a method that returns the loss of a batch"),
    "evaluate": (callable, "a method that returns metrics by name"),
}

_A_FEW, _MANY = 3, 50
"""Batches that are compared: at least and at most."""


class Counted(NamedTuple):
    """The batches of an epoch: how many, and the examples of the smallest, or `None` where they cannot be counted."""

    number: int
    smallest: int | None


class Trial:
    """A workload, set up as a run would, on the CPU.

    Args:
        spec: A run of it; its optimizer does not matter.
        data: The folder in which data sets lie.
        patience: Seconds that one thing may take; what would take longer is left out.

    Raises:
        BrokenPromiseError: It cannot be set up, or lacks what every task has.
    """

    def __init__(self, spec: RunSpec, data: Path = DATA, *, patience: float = math.inf) -> None:
        self.spec = spec
        self.patience = patience
        self._data = data
        started = time.perf_counter()
        self.task = self.build(0)
        self.building_seconds = time.perf_counter() - started

    def build(self, noise: int) -> Task:
        """Set the workload up once more, the generators that it is not to draw from seeded by `noise`.

        Raises:
            BrokenPromiseError: It cannot be set up, or lacks what every task has.
        """
        seed_all(noise)
        try:
            task = self.make()
        except Exception as error:
            raise BrokenPromiseError(f"cannot be set up: {describe_exception(error)}") from error
        if wrong := list(_wrong_attributes(task)):
            raise BrokenPromiseError("; ".join(wrong))
        set_training_mode(task.model)
        return task

    def make(self) -> Task:
        """Set the workload up as a run does."""
        spec, streams = self.spec, Streams(self.spec.seed)
        streams.reseed_global("init", 0, CPU)
        drop_last = spec.execution.drop_last
        setup = Setup(CPU, spec.batch_size, streams, spec.protocol, self._data, spec.synthetic, drop_last)
        return self._factory.build_task(setup)

    @cached_property
    def _factory(self) -> Factory:
        return Factory("workload", self.spec.workload)

    @cached_property
    def batch(self) -> Any:
        """The first batch.

        Raises:
            BrokenPromiseError: There is none.
        """
        batch = next(_drawn(self.task, 1), None)
        if batch is None:
            raise BrokenPromiseError("batches(1) yields nothing")
        return batch

    @cached_property
    def counted(self) -> Counted | None:
        """The batches of epoch 1, or `None` where counting them takes too long."""
        size = getattr(self.task, "size", parts.size)
        number, smallest, started = 0, math.inf, time.perf_counter()
        for batch in _drawn(self.task, 1):
            number += 1
            try:
                smallest = min(smallest, size(batch))
            except ValueError:  # it cannot be divided either
                smallest = -math.inf
            if time.perf_counter() - started > self.patience:
                return None
        return Counted(number, None if math.isinf(smallest) else int(smallest))

    @cached_property
    def is_quick(self) -> bool:
        """Return whether an evaluation may be tried: an epoch's forward passes would take less than the patience."""
        if math.isinf(self.patience):
            return True
        with untouched(self.task), torch.no_grad():
            started = time.perf_counter()
            self.task.loss(self.batch)
            return (time.perf_counter() - started) * self.task.steps_per_epoch < self.patience

    @property
    def split(self) -> str:
        """The split that is evaluated after every epoch."""
        return "validation" if self.spec.protocol == "holdout" else "test"


def _wrong_attributes(task: object) -> Iterator[str]:
    for name, (is_right, what) in _ATTRIBUTES.items():
        value = getattr(task, name, None)
        if value is None:
            yield f"lacks `{name}`: {what}"
        elif not is_right(value):
            yield f"`{name}` must be {what} (got {str(value)[:60]!r})"


def gives_a_loss(trial: Trial) -> str:
    """Return the loss of a batch as a finite scalar with its graph.

    Raises:
        BrokenPromiseError: It does not.
    """
    task = trial.task
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    if not parameters:
        raise BrokenPromiseError("its model has no parameter to train")
    with untouched(task):
        objective = Objective(lambda: task.loss(trial.batch), parameters, buffers=ModelBuffers(task.model.modules()))
        try:
            loss = objective().item()
        except Exception as error:
            raise BrokenPromiseError(f"loss(batch): {describe_exception(error)}") from error
        used = any(p.grad is not None for p in parameters)
        for parameter in parameters:
            parameter.grad = None
    if not used:
        raise BrokenPromiseError("its loss depends on no parameter of its model")
    if not math.isfinite(loss):
        raise BrokenPromiseError(f"the loss of the first batch is {loss} at the initial weights")
    return f"{loss:.4g} at the initial weights"


def repeats_itself(trial: Trial) -> str:
    """Give the same weights and the same batches for the same seed.

    Raises:
        BrokenPromiseError: It draws from a generator that is not its own.
        NotApplicableError: It takes too long.
    """
    if trial.building_seconds > trial.patience:
        raise NotApplicableError("setting it up once more takes too long")
    seed_all(0)
    first = _some(trial.task, trial.patience)
    again = trial.build(1)
    seed_all(1)
    second = _some(again, trial.patience)
    source = "draw from `setup.streams`, and from no other generator"
    if not same(state_of(trial.task.model), state_of(again.model)):
        raise BrokenPromiseError(f"two models with the same seed begin with different weights: {source}")
    for number, (ours, theirs) in enumerate(zip(first, second, strict=False), start=1):
        if not same(_pytree.tree_leaves(ours), _pytree.tree_leaves(theirs)):
            raise BrokenPromiseError(f"batch {number} of epoch 1 differs between two runs with the same seed: {source}")
    return f"{min(len(first), len(second))} batches compared"


def counts_its_batches(trial: Trial) -> str:
    """Yield as many batches as it says.

    Raises:
        BrokenPromiseError: It yields more or fewer.
        NotApplicableError: Counting takes too long.
    """
    if trial.counted is None:
        raise NotApplicableError("counting them takes too long")
    said, found = int(trial.task.steps_per_epoch), trial.counted.number
    if said != found:
        raise BrokenPromiseError(f"`steps_per_epoch` is {said}, and batches(1) yields {found}")
    smallest = trial.counted.smallest
    if trial.spec.execution.drop_last and smallest is not None and smallest < trial.spec.batch_size:
        raise BrokenPromiseError(f"`drop_last` is set, and a batch has {smallest} of {trial.spec.batch_size} examples")
    return f"{found} batches"


def evaluates(trial: Trial) -> str:
    """Return metrics by name, the same each time, and leave the weights alone.

    Raises:
        BrokenPromiseError: It does not.
        NotApplicableError: It takes too long.
    """
    if not trial.is_quick:
        raise NotApplicableError("an evaluation takes too long")
    task, split = trial.task, trial.split
    weights = [p.detach().clone() for p in task.model.parameters()]
    found = _evaluated(task, split)
    lacking = [name for name in ("loss", task.selection_metric) if name not in found]
    if lacking:
        names = ", ".join(map(str, found)) or "none"
        raise BrokenPromiseError(f"evaluate({split!r}) has no metric {lacking[0]!r} (found {names})")
    if not all(torch.equal(p, q) for p, q in zip(weights, task.model.parameters(), strict=True)):
        raise BrokenPromiseError(f"evaluate({split!r}) changes the weights")
    again = _evaluated(task, split)
    differing = [name for name, value in found.items() if not same(value, again.get(name))]
    if differing:
        raise BrokenPromiseError(f"evaluate({split!r}) gives another {differing[0]!r} when it is called again")
    return ", ".join(f"{name} {found[name]:.4g}" for name in list(found)[:4])


def _evaluated(task: Task, split: str) -> dict[str, float]:
    with untouched(task), ModelBuffers(task.model.modules()).restored(), evaluation_mode(task.model):
        try:
            found = task.evaluate(split)
        except Exception as error:
            raise BrokenPromiseError(f"evaluate({split!r}): {describe_exception(error)}") from error
    if not isinstance(found, Mapping):
        raise BrokenPromiseError(f"evaluate({split!r}) must return metrics by name, got {type(found).__name__}")
    numbers = {}
    for name, value in found.items():
        try:
            numbers[str(name)] = TypeAdapter(float).validate_python(value)
        except ValidationError:
            raise BrokenPromiseError(
                f"evaluate({split!r}): the metric {name!r} must be a number, got {str(value)[:40]!r}"
            ) from None
    return numbers


def leaves_random_state_alone(trial: Trial) -> str:
    """Move no generator of Python's or NumPy's that others draw from.

    Raises:
        BrokenPromiseError: It does.
    """
    before = random_states()
    if trial.building_seconds <= trial.patience:
        trial.make()
    next(_drawn(trial.task, 2), None)
    with untouched(trial.task), torch.no_grad():
        trial.task.loss(trial.batch)
    if trial.is_quick:
        _evaluated(trial.task, trial.split)
    if moved := [name for name, state in random_states().items() if state != before[name]]:
        raise BrokenPromiseError(f"moves the global generator of {' and '.join(moved)}: draw from `setup.streams`")
    return ""


def continues_from_its_state(trial: Trial) -> str:
    """Give the same loss once its model's state is loaded into a fresh one.

    Raises:
        BrokenPromiseError: The loss is another one.
        NotApplicableError: It takes too long.
    """
    if trial.building_seconds > trial.patience:
        raise NotApplicableError("setting it up once more takes too long")
    trained, fresh = trial.build(0), trial.build(0)
    parameters = [p for p in trained.model.parameters() if p.requires_grad]
    batches = list(islice(_drawn(trained, 1), 2))
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        Objective(lambda batch=batch: trained.loss(batch), parameters)()  # type: ignore[misc]
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.sub_(1e-3 * parameter.grad)
    load_state(fresh.model, {name: _copied(value) for name, value in state_of(trained.model).items()})
    losses = []
    for task in (trained, fresh):
        torch.manual_seed(0)
        losses.append(task.loss(batches[0]).item())
    if not same(*losses):
        raise BrokenPromiseError(
            f"after {len(batches)} steps, a fresh model with the state of the trained one has another loss "
            f"({losses[1]:.6g} instead of {losses[0]:.6g}): keep what layers move in buffers"
        )
    return ""


def trains_on_its_smallest_batch(trial: Trial) -> str:
    """Train on the smallest batch, or part of one, that a run will have.

    Raises:
        BrokenPromiseError: It cannot be trained on a single example, and there will be one.
        NotApplicableError: The sizes of batches are not known.
    """
    least, what = smallest_part(trial.spec, _examples(trial))
    if least > 1:
        return f"{least} examples"
    task = trial.task
    size, divide = getattr(task, "size", parts.size), getattr(task, "divide", parts.divide)
    single = divide(trial.batch, size(trial.batch))[0]
    with untouched(task), ModelBuffers(task.model.modules()).restored(), torch.no_grad():
        try:
            value = float(task.loss(single))
        except Exception as error:  # noqa: BLE001 - foreign code
            reason = describe_exception(error)
        else:
            reason = "" if math.isfinite(value) else f"its loss is {value}"
    if reason:
        raise BrokenPromiseError(f"{what} has one example, on which the model does not train ({reason})")
    return "one example"


def _examples(trial: Trial) -> int:
    """Return the number of training examples, up to whole batches.

    Raises:
        NotApplicableError: It is not known.
    """
    said: int | None = getattr(trial.task, "examples_per_epoch", None)
    if said is not None:
        return said
    if trial.counted is None or trial.counted.smallest is None:
        raise NotApplicableError("the size of the last batch is not known")
    return trial.counted.smallest


def smallest_part(spec: RunSpec, examples: int) -> tuple[int, str]:
    """Return the examples of the smallest part that is evaluated at once, and which it is.

    Args:
        spec: The run.
        examples: The number of training examples.
    """
    execution, full = spec.execution, spec.batch_size
    # Synchronised, the parts of all ranks are normalised together.
    count = execution.accumulate * (1 if execution.batch_norm == "synchronised" else execution.ranks)
    last = full if execution.drop_last else examples % full or full
    whole, rest = (1 if size < 2 * count else size // count for size in (full, last))
    if whole <= rest:
        return whole, "a part of a batch" if count > 1 else "a batch"
    return rest, "a part of the last batch of an epoch" if count > 1 else "the last batch of an epoch"


def verdicts(
    spec: RunSpec, data: Path = DATA, *, patience: float = math.inf, only: Sequence[str] | None = None
) -> Iterator[Verdict]:
    """Check a workload, one promise after the other.

    Args:
        spec: A run of it.
        data: The folder in which data sets lie.
        patience: Seconds that one thing may take; what would take longer is skipped.
        only: Which promises; by default, all.

    Yields:
        One verdict per promise.
    """
    with generators_kept():
        try:
            trial = Trial(spec, data, patience=patience)
        except BrokenPromiseError as reason:
            yield Verdict(IS_SET_UP, "FAIL", printable(str(reason)))
            yield from (Verdict(promise, "unknown", "it is no task") for promise in only or PROMISES)
            return
    still = [name for name, module in trial.task.model.named_modules() if not module.training]
    yield Verdict(
        IS_SET_UP, "ok", printable(f"in evaluation mode while it trains: {', '.join(still)}" if still else "")
    )
    for promise in only or PROMISES:
        yield verdict(promise, partial(PROMISES[promise], trial))


PROMISES: dict[str, Callable[[Trial], str]] = {
    "gives a loss with its graph": gives_a_loss,
    "is the same for the same seed": repeats_itself,
    "yields as many batches as it says": counts_its_batches,
    "evaluates": evaluates,
    "leaves other random streams alone": leaves_random_state_alone,
    SMALLEST: trains_on_its_smallest_batch,
    "continues from its state": continues_from_its_state,
}
"""Everything that is promised next to `IS_SET_UP`, without which the others say nothing."""


@contextmanager
def untouched(task: Task) -> Iterator[None]:
    """Leave torch's random state and the model's buffers as they are, whatever happens inside."""
    with torch.random.fork_rng(devices=[]), ModelBuffers(task.model.modules()).restored(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _some(task: Task, patience: float) -> list[Any]:
    """Return batches of epoch 1: all of them, or as many as there is time for."""
    found, started = [], time.perf_counter()
    for batch in _drawn(task, 1):
        found.append(_pytree.tree_map(_copied, batch))
        too_long = time.perf_counter() - started > min(patience, 1.0)
        if len(found) >= _A_FEW and (too_long or len(found) >= _MANY):
            break
    return found


def _drawn(task: Task, epoch: int) -> Iterator[Any]:
    """Yield the batches of an epoch; what drawing one changes of the process is put back before the next."""
    batches = iter(task.batches(epoch))
    while True:
        with process_state_kept():
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


def _copied(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
