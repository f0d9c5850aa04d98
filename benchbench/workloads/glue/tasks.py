"""The seven tasks of GLUE that the SASSHA paper finetunes on: columns, labels, files and metrics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""A number per example: predicted or true classes, or scores."""


@dataclass(frozen=True)
class GlueTask:
    """A task.

    Attributes:
        folder: Name of its folder in GLUE's own download.
        columns: Columns of its one or two sentences, as the `datasets` library names them.
        tsv_columns: The same in GLUE's TSV files.
        tsv_label: Column of the label there.
        labels: Names of the classes, the first one being class 0; empty for a score.
        metrics: Its metrics, the one first that chooses the best epoch.
        tests: Files (without ending) that results are reported on, by the suffix of their metrics' names.
    """

    folder: str
    columns: tuple[str, ...]
    tsv_columns: tuple[str, ...]
    tsv_label: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    tests: Mapping[str, str]

    @property
    def outputs(self) -> int:
        """Number of outputs that a model needs."""
        return len(self.labels) or 1


_DEV = {"": "dev"}
_PAIR = ("sentence1", "sentence2")
_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")

TASKS: Mapping[str, GlueTask] = {
    "sst2": GlueTask("SST-2", ("sentence",), ("sentence",), "label", _BINARY, ("accuracy",), _DEV),
    "mrpc": GlueTask("MRPC", _PAIR, ("#1 String", "#2 String"), "Quality", _BINARY, ("accuracy", "f1"), _DEV),
    "stsb": GlueTask("STS-B", _PAIR, _PAIR, "score", (), ("spearman", "pearson"), _DEV),
    "qqp": GlueTask(
        "QQP",
        ("question1", "question2"),
        ("question1", "question2"),
        "is_duplicate",
        _BINARY,
        ("accuracy", "f1"),
        _DEV,
    ),
    "mnli": GlueTask(
        "MNLI",
        ("premise", "hypothesis"),
        _PAIR,
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        {"": "dev_matched", "_mismatched": "dev_mismatched"},
    ),
    "qnli": GlueTask(
        "QNLI", ("question", "sentence"), ("question", "sentence"), "label", _ENTAILMENT, ("accuracy",), _DEV
    ),
    "rte": GlueTask("RTE", _PAIR, _PAIR, "label", _ENTAILMENT, ("accuracy",), _DEV),
}
"""Tasks by the names that the `datasets` library has for them."""


def _accuracy(predicted: Values, true: Values) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(true, predicted))


def _f1(predicted: Values, true: Values) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, zero_division=0.0))


def _correlation(name: str, predicted: Values, true: Values) -> float:
    """Return a correlation of scipy's; it is 0 for predictions that are all equal, which explain nothing."""
    from scipy import stats

    if np.ptp(predicted) == 0:
        return 0.0
    return float(getattr(stats, name)(predicted, true).statistic)


METRICS: Mapping[str, Callable[[Values, Values], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "pearson": functools.partial(_correlation, "pearsonr"),
    "spearman": functools.partial(_correlation, "spearmanr"),
}
"""Metrics of predicted and true values; all lie in [-1, 1], and more is better."""
