"""Metrics: their titles, the units they are shown in, and which direction is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from benchbench.reporting.table import Figure
from benchbench.stats import Interval, Withheld, bounded_interval, summarize, t_interval
from benchbench.values import Frozen, RunResult

Better = Literal["higher", "lower"]


class Metric(Frozen):
    """Display of a metric.

    Attributes:
        title: Its name in a headline, without the unit.
        label: Its name in a column's header.
        unit: Unit that is shown, or empty.
        scale: What its values are multiplied with to be in that unit.
        better: Which way is better, unless a workload says otherwise (`better`); `None` where that is not known.
        decimals: Decimals that are shown; `None`: four significant digits.
        headline: Whether it is shown where the suite names no metric.
        baseline: Metric of the same results that its values have to beat, or empty.
        bounds: The least and the most that its values can be, in its own unit, where it has bounds by nature.
    """

    title: str
    label: str
    unit: str = ""
    scale: float = 1.0
    better: Better | None = None
    decimals: int | None = None
    headline: bool = False
    baseline: str = ""
    bounds: tuple[float, float] | None = None

    @property
    def full_title(self) -> str:
        """Its title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def _percent(title: str, label: str, lowest: float = 0.0) -> Metric:
    bounds = (lowest, 1.0)
    return Metric(
        title=title, label=label, unit="%", scale=100, better="higher", decimals=2, headline=True, bounds=bounds
    )


METRICS = {
    "test/accuracy": _percent("Test accuracy", "Acc"),
    "test/accuracy_mismatched": _percent("Test accuracy, mismatched", "m.mat Acc"),
    "test/f1": _percent("Test F1", "F1"),
    "test/spearman": _percent("Spearman correlation on the test data", "Spearman", -1.0),
    "test/pearson": _percent("Pearson correlation on the test data", "Pearson", -1.0),
    "test/perplexity": Metric(
        title="Test perplexity",
        label="Perplexity",
        better="lower",
        decimals=2,
        headline=True,
        baseline="test/unigram_perplexity",
        bounds=(1.0, math.inf),
    ),
    "test/unigram_perplexity": Metric(
        title="Test perplexity by the frequencies of single tokens",
        label="unigram",
        better="lower",
        decimals=2,
        bounds=(1.0, math.inf),
    ),
    "test/loss": Metric(title="Test loss", label="loss", better="lower", decimals=3),
    "sharpness/lambda_max": Metric(title="Largest eigenvalue of the Hessian", label="λ_max(H)", better="lower"),
    "sharpness/trace": Metric(title="Trace of the Hessian", label="tr(H)", better="lower"),
    "sharpness/gradient_rise": Metric(title="Rise of the loss along its gradient", label="δL_grad", better="lower"),
    "sharpness/average_rise": Metric(title="Average rise of the loss", label="δL_avg", better="lower"),
}
"""The metrics that are known, in the order in which they share a column."""

_SPLITS = {"train": ("Training", "the training data"), "validation": ("Validation", "the validation data")}

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

TIME_TO_TARGET = "time_to_target/"
"""Prefix of the names of costs at a target; the currency follows."""


def describe(name: str) -> Metric:
    """Return how the metric `name` is shown.

    What is known of a test metric holds for those of the other splits. Costs at a target are better the lower they are.
    """
    if name.startswith(TIME_TO_TARGET):
        return Metric(title=name, label=name.removeprefix(TIME_TO_TARGET), better="lower")
    if name in METRICS:
        return METRICS[name]
    split, _, rest = name.partition("/")
    known = METRICS.get(f"test/{rest}")
    if known is None or split not in _SPLITS:
        return Metric(title=name, label=name)
    title = known.title.replace("the test data", _SPLITS[split][1]).replace("Test", _SPLITS[split][0])
    return known.model_copy(update={"title": title})


LARGEST_VALUE = 1e100
"""Finite values beyond this come from no training, whose numbers end at 3e38 in `float32`, and overflow in sums."""


def impossible(name: str, value: float) -> str:
    """Return why a metric cannot have a value, or an empty text; NaN and infinity are possible."""
    least, most = describe(name).bounds or (-math.inf, math.inf)
    if value < least or value > most:
        return f"{name} cannot be {value}: it lies between {least:g} and {most:g}"
    return f"{name} cannot be {value}" if LARGEST_VALUE < abs(value) < math.inf else ""


def better(name: str, results: Iterable[RunResult]) -> Better | None:
    """Return which way a metric of a workload is better.

    A workload says it of the metric that chooses its best epoch, and that holds for this metric of every split. Of
    others it is what is known of their names in general.

    Args:
        name: The metric.
        results: Results of the workload, which carry what it has said.

    Returns:
        The direction; `None` where nothing is known, or results contradict each other.
    """
    said = {
        run.higher_is_better
        for run in results
        if run.higher_is_better is not None and _without_split(run.selection_metric) == _without_split(name) != ""
    }
    if not said:
        return describe(name).better
    return None if len(said) > 1 else "higher" if said.pop() else "lower"


UNKNOWN_DIRECTION = "no result says which way is better (`higher_is_better` of the workload)"
"""Why methods are not ordered by a metric."""


def _without_split(name: str) -> str:
    split, _, rest = name.partition("/")
    return rest if split in ("test", *_SPLITS) else ""


def headline_metrics(results: Iterable[RunResult]) -> tuple[str, ...]:
    """Return which metrics of a workload are shown where the suite names none.

    They are those that are known, or else the test results of the one that chooses the best epoch, or else the loss.
    """
    finished = [run for run in results if run.outcome == "finished"]
    names = {name for run in finished for name in run.final}
    known = tuple(name for name, metric in METRICS.items() if metric.headline and name in names)
    chosen = dict.fromkeys(f"test/{_without_split(run.selection_metric)}" for run in finished)
    return known or tuple(name for name in chosen if name in names) or tuple({"test/loss"} & names)


def shown(name: str, value: float) -> str:
    """Return a value of a metric as text, in the unit in which it is shown."""
    return number(name, describe(name).scale * value)


def number(name: str, value: float) -> str:
    """Return a value that is already in the unit in which a metric is shown as text."""
    return f"{value:.{_decimals(describe(name), value)}f}"


def power_of_ten(exponent: int, *, negative: bool = False) -> str:
    """Return a power of ten as text, without markup."""
    return f"{'−' if negative else ''}10{str(exponent).translate(_RAISED)}"


def figure(name: str, values: Iterable[float], *, scale: float = 1.0) -> Figure:
    """Return mean and sample standard deviation (ddof = 1) of the values of a metric, one per seed.

    Args:
        name: The metric.
        values: Its values, of which there must be at least one.
        scale: What is multiplied with in addition to the metric's own scale.
    """
    metric = describe(name)
    summary = summarize(metric.scale * scale * value for value in values)
    decimals = _decimals(metric, summary.mean)
    spread = "" if summary.std is None or not math.isfinite(summary.mean) else f"{summary.std:.{decimals}f}"
    value = f"{summary.mean:.{decimals}f}"
    return Figure(value=value, spread=spread, mean=summary.mean, std=summary.std, n=summary.n)


def interval(name: str, values: Iterable[float]) -> Interval | Withheld:
    """Return the 95 % interval of the mean of a metric over seeds, in the unit in which it is shown.

    It lies inside the bounds of a metric that has some; of others it is Student's t.
    """
    metric = describe(name)
    numbers = list(values)
    found = t_interval(numbers) if metric.bounds is None else bounded_interval(numbers, *metric.bounds)
    if isinstance(found, str):
        return found
    return Interval(low=metric.scale * found.low, high=metric.scale * found.high, level=found.level)


def _decimals(metric: Metric, value: float) -> int:
    """Return the metric's decimals, or those of four significant digits: none for large numbers, six at most."""
    if metric.decimals is not None:
        return metric.decimals
    if value == 0 or not math.isfinite(value):
        return 2
    return min(max(3 - math.floor(math.log10(abs(value))), 0), 6)
