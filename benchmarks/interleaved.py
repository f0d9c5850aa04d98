"""Timing variants of one thing against each other: in turns, in one process, as ratios within a round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Variants = Mapping[str, Callable[[], object]]


def time_in_turns(variants: Variants, *, rounds: int, repeats: int = 1, warmup: int = 2) -> dict[str, list[float]]:
    """Return the seconds of each variant in each round; every second round goes backwards."""
    for _ in range(warmup):
        for work in variants.values():
            work()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for index in range(rounds):
        for name in list(variants) if index % 2 else reversed(variants):
            started = time.perf_counter()
            for _ in range(repeats):
                variants[name]()
            seconds[name].append((time.perf_counter() - started) / repeats)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> tuple[float, float, float]:
    """Return the median over the rounds of `name` / `base`, and the quartiles."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
    low, median, high = statistics.quantiles(ratios)
    return median, low, high


def report(what: str, measured: tuple[float, float, float], target: float, unit: str = "") -> None:
    """Print a ratio beside its target."""
    median, low, high = measured
    verdict = "met" if median <= target else "MISSED"
    print(
        f"{what}: {median:.3f} (quartiles {low:.3f} to {high:.3f}; target <= {target:.2f}: {verdict}){unit}", flush=True
    )
