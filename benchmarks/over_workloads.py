"""How often equal methods are told apart by tests over workloads, by simulation: the figures of docs/statistics.md."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from benchbench.stats import compare_over_workloads, holm, signed_rank_test

TABLES = 1000
"""Simulated tables behind a figure: at 5 %, its standard error is 0.7 points."""

OF_PAIRS = 300
"""The first tables, of which all pairs are tested too: at 5 %, the standard error is 1.3 points."""

ALPHA = 0.05


def main() -> None:
    """Print in how many of 100 tables of normal values any two methods are told apart."""
    print("| methods | workloads | Friedman % | Nemenyi % | Wilcoxon, Holm % |")
    print("| --- | --- | --- | --- | --- |")
    rng = np.random.default_rng(0)
    for k in (3, 5, 10):
        for n in (5, 10, 20):
            tables = [rng.normal(size=(n, k)) for _ in range(TABLES)]
            found = [
                compare_over_workloads(
                    {f"{j:02}": {str(i): float(v) for i, v in enumerate(column)} for j, column in enumerate(of.T)}
                )
                for of in tables
            ]
            pairs = [
                holm({(a, b): signed_rank_test(list(of[:, a] - of[:, b])) for a, b in combinations(range(k), 2)})
                for of in tables[:OF_PAIRS]
            ]
            friedman = np.mean([each.p <= ALPHA for each in found])
            nemenyi = np.mean([len(each.groups) > 1 for each in found])
            wilcoxon = np.mean([min(of.values()) <= ALPHA for of in pairs])
            print(f"| {k} | {n} | {100 * friedman:.1f} | {100 * nemenyi:.1f} | {100 * wilcoxon:.1f} |", flush=True)


if __name__ == "__main__":
    main()
