"""Sections about what a step asks of the device: kernels, and what the host waits for."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchbench.devices import use
from benchmarks.gpu.report import Findings
from benchmarks.gpu.settings import Scale, Steps
from benchmarks.pretend_cuda import spec_of, steady, steps_of

LAUNCHES = {("sgd", False): 213, ("sassha", False): 402, ("sassha", True): 950, ("adahessian", True): 820}
"""Most launches of a step without and with a product, the batch's way to the device included."""

_STEPS = 10


def counted(scale: Scale, findings: Findings) -> None:
    """Count on a pretended GPU, which needs none."""
    for method in scale.methods[: 1 if scale.is_rehearsal else None]:
        steps = steps_of(spec_of(method, protocol="paper"), 3 if scale.is_rehearsal else 13)
        for with_product in (False, True):
            if any((step.hvps > 0) == with_product for step in steps[1:]):
                step = steady(steps, with_product=with_product)
                _note(findings, method, with_product, step.launches, step.waits)


def launches(scale: Scale, findings: Findings) -> None:
    """Count on the device: launches by the profiler, waits by torch's own watch."""
    device = scale.device
    if device.type != "cuda":
        findings.fact("not done", f"torch tells launches and waits apart on cuda alone, this is {device.type}")
        steps = scale.training("sgd")
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            steps.step()
        findings.figure("sgd: operations in a profiled step", sum(e.count for e in profiled.key_averages()), at_least=1)
        return
    for method in scale.methods:
        steps = scale.training(method)
        for _ in range(12):
            steps.step()
        for with_product, events, waits in _profiled(steps, device):
            launched = sum(event.count for event in events if "LaunchKernel" in event.key)
            busy = sum(event.self_device_time_total for event in events) / 1e3
            _note(findings, method, with_product, launched, waits)
            findings.figure(f"{_title(method, with_product)}: device busy", busy, " ms")


def _profiled(steps: Steps, device: torch.device) -> Iterator[tuple[bool, list, Counter[str]]]:  # type: ignore[type-arg]
    """Yield, for a step without and with a product, what the profiler saw in it, and where the host waited."""
    found: dict[bool, tuple[list, Counter[str]]] = {}  # type: ignore[type-arg]
    for _ in range(_STEPS + 1):
        use.synchronise(device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled, _watched() as waits:
            with_product = steps.step()
        found.setdefault(with_product, (list(profiled.key_averages()), waits))
    for with_product, (events, waits) in sorted(found.items(), key=lambda item: item[0]):
        yield with_product, events, waits


@contextlib.contextmanager
def _watched() -> Iterator[Counter[str]]:
    """Yield where the host waits inside, by file and line."""
    waits: Counter[str] = Counter()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits.update(f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message))


def _title(method: str, with_product: bool) -> str:
    return f"{method}, step with a product" if with_product else f"{method}, step"


def _note(findings: Findings, method: str, with_product: bool, count: int, waits: Counter[str]) -> None:
    title = _title(method, with_product)
    findings.figure(f"{title}: launches", count, at_most=LAUNCHES.get((method, with_product)))
    where = ", ".join(f"{name} {times}" for name, times in waits.most_common(4))
    findings.figure(f"{title}: waits of the host", waits.total(), at_most=0, note=where)


SECTIONS: dict[str, tuple[int, Callable[[Scale, Findings], None]]] = {
    "counted": (45, counted),
    "launches": (60, launches),
}
"""Seconds that each may take, and what it does."""
