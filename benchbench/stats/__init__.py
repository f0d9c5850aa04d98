"""Arithmetic on the results of runs; no result depends on the order of its inputs.

`summary`, `intervals`, `comparisons`, `effects` and `power` are about several seeds, `ranking` about several methods,
`over_workloads` about methods on several workloads, `best_of` and `robustness` about trials of hyperparameters,
`targets` about the curve of a run, `scoring` about submissions. SciPy and networkx are imported by the functions that
need them, so that reading results stays light.
"""

from __future__ import annotations

from benchbench.stats.comparisons import (
    Comparison,
    TargetTest,
    holm,
    paired_t,
    welch_t,
    wilcoxon,
    z_against_target,
    z_between,
)
from benchbench.stats.effects import cohens_dz, hedges_g
from benchbench.stats.intervals import Interval, bootstrap_interval, bounded_interval, t_interval
from benchbench.stats.over_workloads import (
    MeanRank,
    OverWorkloads,
    Posterior,
    SignTest,
    bayesian_signed_rank,
    compare_over_workloads,
    critical_difference,
    sign_test,
    signed_rank_test,
)
from benchbench.stats.power import paired_power, paired_seeds_needed, unpaired_power, unpaired_seeds_needed
from benchbench.stats.ranking import RankedMethod, Ranking, UnrankedMethod, rank
from benchbench.stats.samples import MINIMUM_N, Pairs, Withheld, pair_by_seed
from benchbench.stats.scoring import Score, performance_profile, score
from benchbench.stats.summary import Summary, mean, sample_std, summarize
from benchbench.stats.targets import Evaluation, Hit, metric_within, pareto_front, time_to_target

__all__ = [
    "MINIMUM_N",
    "Comparison",
    "Evaluation",
    "Hit",
    "Interval",
    "MeanRank",
    "OverWorkloads",
    "Pairs",
    "Posterior",
    "RankedMethod",
    "Ranking",
    "Score",
    "SignTest",
    "Summary",
    "TargetTest",
    "UnrankedMethod",
    "Withheld",
    "bayesian_signed_rank",
    "bootstrap_interval",
    "bounded_interval",
    "cohens_dz",
    "compare_over_workloads",
    "critical_difference",
    "hedges_g",
    "holm",
    "mean",
    "metric_within",
    "pair_by_seed",
    "paired_power",
    "paired_seeds_needed",
    "paired_t",
    "pareto_front",
    "performance_profile",
    "rank",
    "sample_std",
    "score",
    "sign_test",
    "signed_rank_test",
    "summarize",
    "t_interval",
    "time_to_target",
    "unpaired_power",
    "unpaired_seeds_needed",
    "welch_t",
    "wilcoxon",
    "z_against_target",
    "z_between",
]
