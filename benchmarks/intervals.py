"""How often intervals of a mean over seeds hold it, by simulation: the table of docs/statistics.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchbench.stats import bounded_interval, t_interval

SAMPLES = 4000
"""Simulated sets of seeds behind a figure; its standard error is at most 0.8 points, 0.35 at 95 %."""

Draw = Callable[[int], np.ndarray]


def kinds(rng: np.random.Generator) -> Iterator[tuple[str, float, Draw]]:
    """Yield a name, the mean, and how the accuracies of n seeds are drawn."""
    for p, std in ((0.5, 0.1), (0.95, 0.01), (0.95, 0.03), (0.99, 0.003), (0.99, 0.008)):
        k = p * (1 - p) / std**2 - 1
        yield f"beta, {p} ± {std}", p, lambda n, p=p, k=k: rng.beta(p * k, (1 - p) * k, (SAMPLES, n))
    for p, examples in ((0.95, 1000), (0.99, 360), (0.995, 100)):
        draw = lambda n, p=p, examples=examples: rng.binomial(examples, p, (SAMPLES, n)) / examples  # noqa: E731
        yield f"binomial, {p} of {examples}", p, draw


def shares(drawn: np.ndarray, p: float) -> str:
    """Return the coverage of the t interval, how often it leaves [0, 1], and the coverage of the bounded one."""
    plain = [t_interval(sample) for sample in drawn]
    inside = [found for sample in drawn if not isinstance(found := bounded_interval(sample, 0.0, 1.0), str)]
    covered = [100 * np.mean([each.low <= p <= each.high for each in found]) for found in (plain, inside)]
    outside = 100 * np.mean([each.low < 0 or each.high > 1 for each in plain])
    withheld = 100 - 100 * len(inside) / len(drawn)
    return f"{covered[0]:.1f} | {outside:.0f} | {covered[1]:.1f} | {withheld:.0f}"


def main() -> None:
    """Print the table."""
    print("| accuracies | n | t, covers % | t, leaves 0 to 100 % | bounded, covers % | withheld % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, p, draw in kinds(np.random.default_rng(0)):
        for n in (3, 5, 10, 30):
            print(f"| {name} | {n} | {shares(draw(n), p)} |")


if __name__ == "__main__":
    main()
