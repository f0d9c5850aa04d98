"""Variants of one thing timed in turns, in one process, as ratios within a round; and how figures are printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Variants = Mapping[str, Callable[[], object]]
Spread = tuple[float, float, float]
"""A median and the quartiles."""

MISSED = "MISSED"


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


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> Spread:
    """Return the median over the rounds of `name` / `base`, and the quartiles."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
    low, median, high = statistics.quantiles(ratios)
    return median, low, high


def show(
    what: str,
    value: float | Spread,
    unit: str = "",
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> None:
    """Print a figure, with its quartiles if it is a median, beside its target."""
    print(described(what, value, unit, at_most=at_most, at_least=at_least, note=note), flush=True)


def described(
    what: str,
    value: float | Spread,
    unit: str = "",
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> str:
    """Return a figure as `show` prints it."""
    median, *quartiles = value if isinstance(value, tuple) else (value,)
    said = [f"quartiles {quartiles[0]:.3g} to {quartiles[1]:.3g}"] if quartiles else []
    if at_most is not None:
        said.append(f"target <= {at_most:g}{unit}: {'met' if median <= at_most else MISSED}")
    if at_least is not None:
        said.append(f"target >= {at_least:g}{unit}: {'met' if median >= at_least else MISSED}")
    brackets = f" ({'; '.join(said)})" if said else ""
    return f"{what}: {median:.4g}{unit}{brackets}{note}"
