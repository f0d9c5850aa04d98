"""A GPU that is not there: kernel launches, copies and waits of a step, counted without one.

Inside `PretendCuda`, tensors on `cuda` are tensors without contents (torch's `meta` device) that call themselves
`cuda`, so the real training step runs, and nothing is computed. What is on the CPU is real. Counted is what torch would
ask of the GPU: one kernel for every operation that is no view, as many as torch's chunks need for lists of tensors, one
per result of the gradient of a convolution. That is a lower bound: cuBLAS and cuDNN may launch more.

    python benchmarks/pretend_cuda.py sassha adahessian
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchbench.plugins.factories import Factories
from benchbench.training.steps import Training
from benchbench.values import RunSpec

CUDA = torch.device("cuda", 0)
"""The device that pretended tensors name."""

METHODS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "adamw": {"lr": 1e-3, "weight_decay": 1e-2},
    "sam": {"base": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "rho": 0.1},
    "adahessian": {"lr": 0.15, "weight_decay": 1e-3},
    "sophia_h": {"lr": 1e-3, "weight_decay": 1e-2, "lazy_hessian": 10},
    "sassha": {"lr": 0.15, "rho": 0.2, "weight_decay": 1e-3, "lazy_hessian": 10},
    "msassha": {"lr": 0.15, "rho": 0.2, "weight_decay": 1e-3, "lazy_hessian": 10},
}

_WITHOUT_KERNEL = ("empty", "new_empty", "_unsafe_view", "lift_fresh", "resize_", "is_same_size", "sym_")
"""Beginnings of the names of operations that only make or describe memory; views are known by their schema."""

_WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim", "bincount")
"""Operations whose result the host has to wait for."""

_CHECKED = ("_linalg_eigh", "_linalg_svd", "_linalg_check_errors")
"""Operations after which torch asks the GPU whether they have succeeded, and waits for the answer."""

_TENSORS = (110, 64, 48, 36, 30)
"""Most tensors in a launch of a kernel over lists, by the number of its lists (torch's MultiTensorApply.cuh)."""

_CHUNK, _BLOCKS = 65536, 320
"""Elements of a block, and blocks of a launch, of the same kernels."""


@dataclass
class Counts:
    """Operations that a GPU was asked for.

    Attributes:
        kernels: Launches by the name of the operation.
        waits: What the host had to wait for: results that it read, copies from or to memory that is not pinned.
        copies: Copies that the host did not wait for.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    @property
    def launches(self) -> int:
        """Number of kernels."""
        return self.kernels.total()


class PretendCuda:
    """A context in which `cuda` can be used without a GPU, and what was asked of it.

    Attributes:
        counts: What was asked so far; `counted` replaces it for a while.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self._pinned: dict[int, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> PretendCuda:
        for module, name, function in _stubs(self):
            self._stack.enter_context(mock.patch.object(module, name, function))
        self._stack.enter_context(_CallsItselfCuda(self))
        self._stack.enter_context(_Counting(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def counted(self) -> Iterator[Counts]:
        """Yield the counts of what happens inside."""
        before, self.counts = self.counts, Counts()
        try:
            yield self.counts
        finally:
            self.counts = before

    def pin(self, tensor: Tensor) -> Tensor:
        """Take the memory of a tensor on the CPU for pinned from now on."""
        storage = tensor.untyped_storage()
        self._pinned[storage.data_ptr()] = storage  # kept alive, so that the address stays its own
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        """Return whether a tensor on the CPU is in pinned memory."""
        return tensor.untyped_storage().data_ptr() in self._pinned


class _Stream:
    """A stream, and an event in one: nothing is ever waiting in it."""

    def __init__(self, pretence: PretendCuda) -> None:
        self._pretence = pretence

    def synchronize(self) -> None:
        """Count a wait."""
        self._pretence.counts.waits["synchronize"] += 1

    def query(self) -> bool:
        """Return that all is done."""
        return True

    def is_capturing(self) -> bool:
        """Return that no graph is captured."""
        return False

    def record(self, *_args: object) -> None:
        """Do nothing."""

    def elapsed_time(self, _later: _Stream) -> float:
        """Return that no time has passed (milliseconds)."""
        return 0.0

    wait = wait_stream = wait_event = record_event = record


def _stubs(pretence: PretendCuda) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Return what torch asks the driver outside of its operations, with an answer for each."""

    def stream(*_args: object, **_keywords: object) -> _Stream:
        return _Stream(pretence)

    silent = ["_lazy_init", "init", "set_device", "manual_seed", "manual_seed_all", "empty_cache", "set_rng_state"]
    answers: dict[str, Callable[..., Any]] = {
        **{name: lambda *_args, **_keywords: None for name in [*silent, "reset_peak_memory_stats"]},
        **{
            name: lambda *_args, **_keywords: 0
            for name in ("max_memory_allocated", "memory_allocated", "current_device")
        },
        **dict.fromkeys(["Stream", "Event", "current_stream"], stream),
        **dict.fromkeys(["stream", "device"], lambda *_args: nullcontext()),
        "synchronize": lambda *_args: stream().synchronize(),
        **dict.fromkeys(["is_available", "is_bf16_supported"], lambda *_args: True),
        "device_count": lambda: 1,
        "get_rng_state": lambda *_args: torch.empty(0, dtype=torch.uint8),
    }
    return [
        *((torch.cuda, name, function) for name, function in answers.items()),
        (torch.accelerator, "current_stream", stream),
        (torch.accelerator, "synchronize", answers["synchronize"]),
        (torch.accelerator, "set_device_index", lambda *_args: None),
        (torch.accelerator, "device_count", lambda: 1),
        (torch, "Event", stream),
        # Generators of the GPU are those of the CPU here, for nothing is drawn.
        (torch, "Generator", lambda _device="cpu", _real=torch.Generator: _real("cpu")),
    ]


class _CallsItselfCuda(TorchFunctionMode):
    """Lets tensors without contents say that they are on `cuda`, and makes them where `cuda` is asked for."""

    def __init__(self, pretence: PretendCuda) -> None:
        super().__init__()
        self._pretence = pretence
        self._answers: dict[Any, Callable[..., Any]] = {
            torch.Tensor.device.__get__: lambda t: CUDA if t.device.type == "meta" else t.device,  # type: ignore[attr-defined]
            torch.Tensor.is_cuda.__get__: lambda t: t.device.type == "meta",  # type: ignore[attr-defined]
            torch.Tensor.is_meta.__get__: lambda _t: False,  # type: ignore[attr-defined]
            torch.Tensor.get_device: lambda t: 0 if t.device.type == "meta" else -1,
            torch.Tensor.pin_memory: lambda t, *_args: pretence.pin(t.clone()),
            torch.Tensor.is_pinned: lambda t, *_args: pretence.is_pinned(t),
            torch.Tensor.cuda: lambda t, *_args, **keywords: t.to("meta", **keywords),
            torch.Tensor.record_stream: lambda *_args: None,
        }

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))  # a name, no tensor on it yet
        args, keywords = _pytree.tree_map_only((torch.device, str), _as_meta, (tuple(args), dict(kwargs or {})))
        answer = self._answers.get(func)
        if answer is not None:
            return answer(*args, **keywords)
        if func in (torch.tensor, torch.as_tensor) and str(keywords.get("device")) == "meta":
            # Torch makes the tensor on the CPU and copies it.
            del keywords["device"]
            learns = keywords.pop("requires_grad", False)
            return func(*args, **keywords).to("meta").requires_grad_(learns)
        pinned = keywords.pop("pin_memory", False)
        result = func(*args, **keywords)
        return self._pretence.pin(result) if pinned else result


def _as_meta(device: torch.device | str) -> torch.device | str:
    if isinstance(device, torch.device):
        return torch.device("meta") if device.type == "cuda" else device
    return "meta" if device.split(":")[0] == "cuda" else device


class _Counting(TorchDispatchMode):
    """Counts every operation that would reach the GPU."""

    def __init__(self, pretence: PretendCuda) -> None:
        super().__init__()
        self._pretence = pretence

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        name = func.overloadpacket.__name__
        given = [leaf for leaf in _pytree.tree_leaves((args, keywords)) if isinstance(leaf, Tensor)]
        target = keywords.get("device")
        if not any(map(_is_pretended, given)) and (target is None or target.type != "meta"):
            return func(*args, **keywords)
        if name in ("_to_copy", "copy_", "_foreach_copy_") and (copied := self._copied(name, func, args, keywords)):
            return copied[0]
        if name.removesuffix("_static") in _WAITS:
            self._pretence.counts.waits[name] += 1
            return _made_up(name, given)
        if name in _CHECKED:
            self._pretence.counts.waits[name] += 1
        if name in ("index", "index_put_", "_index_put_impl_"):
            args = (args[0], [self._on_device(name, index) for index in args[1]], *args[2:])
        if "generator" in keywords:
            keywords["generator"] = None
        # Torch has no way to pretend this one, which changes what it is given and returns nothing.
        result = None if name == "_fused_sgd_" else func(*args, **keywords)
        if kernels := _kernels(name, func, args):
            self._pretence.counts.kernels[name] += kernels
        return result

    def _copied(self, name: str, func: Any, args: Sequence[Any], keywords: dict[str, Any]) -> tuple[Any] | None:
        """Return, in a tuple, the result of a copy between host and device; `None` for a copy within either."""
        if name == "_to_copy":
            source, keywords = args[0], dict(keywords)
            to_device = keywords.get("device", source.device).type == "meta"
            waits_not = keywords.pop("non_blocking", False)
        else:
            target, source = (args[0], args[1]) if name == "copy_" else (args[0][0], args[1][0])
            to_device = _is_pretended(target)
            waits_not = (args[2] if len(args) > 2 else keywords.get("non_blocking", False)) is True
        if to_device == _is_pretended(source):
            return None
        # Without pinned memory, the driver waits for what is queued before it even begins.
        host = source if to_device else None if name == "_to_copy" else target
        waits = not waits_not or host is None or not self._pretence.is_pinned(host)
        counted = self._pretence.counts.waits if waits else self._pretence.counts.copies
        counted[f"{name} to {'the device' if to_device else 'the host'}"] += 1
        if to_device:
            return (func(*args, **keywords),)
        if name == "_to_copy":
            return (torch.zeros(source.shape, dtype=keywords.get("dtype") or source.dtype),)
        return (args[0],)

    def _on_device(self, name: str, index: Tensor | None) -> Tensor | None:
        """Return an index that is on the device, to which torch would copy it."""
        if index is None or _is_pretended(index):
            return index
        self._pretence.counts.waits[f"{name} by an index on the host"] += 1
        return torch.empty_like(index, device="meta")


def _is_pretended(tensor: Tensor) -> bool:
    return tensor.device.type == "meta"


def _made_up(name: str, given: Sequence[Tensor]) -> Any:
    """Return something of the right kind in place of a value that only a GPU would know."""
    if name == "_local_scalar_dense":
        return 1.0 if given[0].is_floating_point() else 1
    if name == "equal":
        return True
    raise NotImplementedError(f"{name}: the shape of its result depends on what only a GPU would know")


def _kernels(name: str, func: Any, args: Sequence[Any]) -> int:
    if name.startswith(_WITHOUT_KERNEL):
        return 0
    returns = func._schema.returns
    if returns and all(r.alias_info is not None and not r.alias_info.is_write for r in returns):
        return 0  # a view
    if name == "convolution_backward":
        return sum(map(bool, args[-1]))
    return _kernels_over_lists(name, args) if name.startswith(("_foreach", "_amp_foreach", "_fused")) else 1


def _kernels_over_lists(name: str, args: Sequence[Any]) -> int:
    lists = [arg for arg in args if isinstance(arg, (list, tuple)) and arg and isinstance(arg[0], Tensor)]
    depth = len(lists) + (not name.endswith("_"))
    at_a_time = _TENSORS[min(depth, len(_TENSORS)) - 1]
    if any(isinstance(arg, (list, tuple)) and arg and not isinstance(arg[0], Tensor) for arg in args):
        at_a_time = min(at_a_time, 96)  # a list of numbers takes room of the arguments, too
    blocks = sum(math.ceil(tensor.numel() / _CHUNK) for tensor in lists[0])
    return max(math.ceil(len(lists[0]) / at_a_time), math.ceil(blocks / _BLOCKS))


@dataclass(frozen=True)
class StepCounts:
    """Operations that a training step asks of a GPU.

    Attributes:
        data: Counts of the batch's way to the device.
        step: Counts of the optimizer's step on it.
        hvps: Hessian-vector products in the step.
    """

    data: Counts
    step: Counts
    hvps: int

    @property
    def launches(self) -> int:
        """Number of kernels, the batch's included."""
        return self.data.launches + self.step.launches

    @property
    def waits(self) -> Counter[str]:
        """What the host waited for, by name, and how often."""
        return self.data.waits + self.step.waits


def spec_of(method: str, *, model: str = "resnet20", **entries: Any) -> RunSpec:
    """Return the spec of a run on images of CIFAR-10's shape in batches of 256.

    Args:
        method: An entry of `METHODS`.
        model: A network of benchbench.
        entries: Any other field of a spec.
    """
    return RunSpec.model_validate(
        {
            "suite": "pretend",
            "method": method,
            "workload_label": model,
            "workload": {
                "target": "image-classification",
                "parameters": {"dataset": "cifar10", "model": model, "examples": 6400},
            },
            "optimizer": {"target": method, "parameters": METHODS[method]},
            "epochs": 1,
            "batch_size": 256,
            "seed": 0,
            "synthetic": True,
            **entries,
        }
    )


def steps_of(spec: RunSpec, steps: int = 13) -> list[StepCounts]:
    """Return the counts of the first steps of a run, through the harness's own training step.

    The first step of an optimizer makes its state, too; steps 1, k + 1, 2k + 1 have a Hessian.
    """
    found = []
    with PretendCuda() as cuda:
        training = Training(spec, Factories.of(spec), torch.device("cuda"), Path("data"))
        batches = iter(training.task.batches(1))
        for _ in range(steps):
            before = training.ledger.hvps
            with cuda.counted() as of_data:
                batch = next(batches)
            with cuda.counted() as of_step:
                training.step(batch)
            found.append(StepCounts(of_data, of_step, training.ledger.hvps - before))
    return found


def steady(steps: Sequence[StepCounts], *, with_product: bool) -> StepCounts:
    """Return the last of the steps with or without a Hessian-vector product, after the optimizer has made its state."""
    return next(step for step in reversed(steps[1:]) if (step.hvps > 0) == with_product)


def main() -> None:
    """Print launches and waits per step."""
    parser = argparse.ArgumentParser(description="Kernel launches and waits per training step on a pretended GPU.")
    parser.add_argument("methods", nargs="*", default=list(METHODS), help="of: " + ", ".join(METHODS))
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--by-operation", action="store_true", help="say which operations they are")
    arguments = parser.parse_args()
    for method in arguments.methods:
        steps = steps_of(spec_of(method, model=arguments.model))
        for kind, wanted in (("without product", False), ("with product", True)):
            if all((step.hvps > 0) != wanted for step in steps[1:]):
                continue
            step = steady(steps, with_product=wanted)
            waits = dict(step.waits) or "none"
            print(
                f"{method:12} {kind:16} launches {step.launches:5,} (data {step.data.launches}), waits: {waits}, "
                f"copies {(step.data.copies + step.step.copies).total()}"
            )
            if arguments.by_operation:
                print("   ", ", ".join(f"{name} {count}" for name, count in step.step.kernels.most_common(30)))


if __name__ == "__main__":
    main()
