"""Sharpness of the solutions, in the layout of the paper's table of sharpness and generalization."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from benchbench.reporting.accuracy import cell
from benchbench.reporting.currencies import GC_FLOPS
from benchbench.reporting.metrics import better, describe, figure, power_of_ten
from benchbench.reporting.results import ResultColumn, lay_out
from benchbench.reporting.runs import MEAN_AND_STD, Runs, all_results, count_seeds, gather, titled
from benchbench.reporting.significance import order, significance_note, values_by_seed, with_ties
from benchbench.reporting.table import Table
from benchbench.reporting.tuning import not_ranked
from benchbench.stats import Ranking
from benchbench.values import Row, RunResult, Suite
from benchbench.values.prices import ASSUMPTION
from benchbench.values.sharpness import RunSharpness, SharpnessSettings
from benchbench.values.sharpness.values import PREFIX, Eigenvalue

_MEASURES = tuple(f"{PREFIX}{name}" for name in ("lambda_max", "trace", "gradient_rise", "average_rise"))
_GENERALIZATION = ("test/loss", "test/accuracy", "test/perplexity")
_LABELS = {"test/loss": "L_val", "test/accuracy": "Acc_val"}  # as the paper has it
_METHODS = {"lanczos": "Lanczos", "power": "power iteration", "hutchinson": "Hutchinson", "hutch++": "Hutch++"}


def sharpness_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return the measures of sharpness that the results hold after the final epoch, and what the solutions achieve."""
    runs = gather(suite, rows)
    places: list[ResultColumn] = []
    rankings: list[Ranking | None] = []
    unranked = not_ranked(suite)
    without: list[str] = []
    alone = {True: "Sharpness", False: "Generalization"}
    for workload in suite.workloads:
        here = runs[workload]
        results = all_results(here.values())
        if not _columns(here.values()):
            without.append(suite.heading(workload).full_label)
        for name in _columns(here.values()):
            exponent = _exponent(here.values(), name) if name in _MEASURES else 0
            direction = better(name, results)
            rankings.append(order(direction, values_by_seed(here, name), unranked))
            found = {method: cell(of_method, [name], scale=10.0**-exponent) for method, of_method in here.items()}
            places.append(
                ResultColumn(
                    label=_label(name, exponent),
                    group=alone[name in _MEASURES] if len(runs) == 1 else suite.heading(workload).full_label,
                    metrics=(name,),
                    better=(direction,),
                    cells=with_ties(found, [rankings[-1]]),
                )
            )
    notes = [*_notes(suite, rows)] if places else ["No result holds a measure of sharpness."]
    if places and without:
        notes.append(f"Left out: {', '.join(without)}: no result holds a measure of sharpness.")
    notes += [*significance_note(rankings), *_missing(rows)]
    title = titled(suite, "Sharpness of the solutions")
    return lay_out("sharpness", title, suite.methods, places, notes, unranked=unranked)


def _columns(runs: Iterable[Runs]) -> list[str]:
    held = {name for here in runs for run in here.finished for name in run.final}
    measures = [name for name in _MEASURES if name in held]
    return [*measures, *(name for name in _GENERALIZATION if name in held)] if measures else []


def _label(name: str, exponent: int) -> str:
    metric = describe(name)
    unit = f" ({metric.unit})" if metric.unit else ""
    return _LABELS.get(name, metric.label) + unit + (f" × {power_of_ten(exponent)}" if exponent else "")


def _exponent(runs: Iterable[Runs], name: str) -> int:
    """Return the power of ten that a column is shown in: the smallest of its figures has 0.2 to 200 of them."""
    means = [figure(name, found).mean or 0.0 for here in runs if (found := here.values(name))]
    sizes = [abs(value) for value in means if math.isfinite(value) and value]
    return 3 * math.floor((math.log10(min(sizes)) - math.log10(0.2)) / 3) if sizes else 0


def _notes(suite: Suite, rows: Sequence[Row]) -> Iterator[str]:
    measured = [(row.spec, row.result) for row in rows if row.result is not None and row.result.sharpness_settings]
    yield f"{MEAN_AND_STD}; {count_seeds(suite)} unless a cell says otherwise."
    yield "L_val, Acc_val: on the test data, after the final epoch."
    as_asked = [spec.sharpness for spec, result in measured if result.sharpness_settings == spec.sharpness.digest]
    for settings in {each.digest: each for each in as_asked}.values():
        yield _described(settings)
    if others := len(measured) - len(as_asked):
        yield f"{others} runs were measured with other settings than the suite's: see their sharpness-*.json."
    yield from _uncertainty([result for _, result in measured])
    yield from _cost([result for _, result in measured])


def _described(settings: SharpnessSettings) -> str:
    examples = "all" if settings.examples is None else f"{settings.examples:,}"
    eigenvalues, trace = settings.eigenvalues, settings.trace
    rule = "relative residual" if eigenvalues.method == "lanczos" else "relative change"
    others = ", ".join(f"{radius:g}" for radius in settings.radii if radius != settings.shown_radius)
    return (
        f"H, L: over {examples} training examples, batch norm in {settings.batch_norm} mode, {settings.dtype}. "
        f"λ_max: {_METHODS[eigenvalues.method]} to a {rule} of {eigenvalues.tolerance:g}. "
        f"tr: {_METHODS[trace.method]}, {trace.products} products. "
        f"δL: at radius {settings.shown_radius:g}{f' ({others}: see `export`)' if others else ''}; "
        f"δL_avg: {settings.draws} directions."
    )


def _uncertainty(results: Sequence[RunResult]) -> Iterator[str]:
    residuals = _held(results, "lambda_max_residual")
    errors = [
        run.final[f"{PREFIX}trace_error"] / abs(run.final[f"{PREFIX}trace"])
        for run in results
        if f"{PREFIX}trace_error" in run.final and run.final[f"{PREFIX}trace"]
    ]
    if residuals and errors:
        yield (
            f"Of single runs, the largest relative residual of λ_max is {_largest(residuals):.1e}, "
            f"the largest relative standard error of a trace {_largest(errors):.1%}."
        )


def _cost(results: Sequence[RunResult]) -> Iterator[str]:
    epochs, seconds = _held(results, "cost_epochs"), _held(results, "cost_seconds")
    if not epochs or not seconds:
        return
    times = [
        run.final[f"{PREFIX}cost_seconds"] * run.epochs / run.cost.steady_seconds
        for run in results
        if run.cost.steady_seconds and f"{PREFIX}cost_seconds" in run.final
    ]
    relative = f", {_range(times)} times a training epoch of the run" if times else ""
    yield (
        f"A measurement costs {_range(epochs)} epochs of plain gradients, by {GC_FLOPS}, {ASSUMPTION}, and took "
        f"{_range(seconds)} s{relative}."
    )


def _missing(rows: Sequence[Row]) -> list[str]:
    found = (row.result.sharpness_missing for row in rows if row.result is not None)
    reasons = Counter(reason.splitlines()[0] for reason in found if reason)
    return [f"Not measured ({count}): {reason}" for reason, count in reasons.items()]


def _held(results: Sequence[RunResult], name: str) -> list[float]:
    return [run.final[PREFIX + name] for run in results if PREFIX + name in run.final]


def _largest(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def sharpness_listing(found: RunSharpness, result: RunResult) -> list[dict[str, str]]:
    """Return the numbers of one run as lines: what was measured, the value, and what is known of its error."""
    eigenvalues, trace, differences = found.eigenvalues, found.trace, found.differences
    lines = [_line("λ_max(H)", eigenvalues.largest.value, _residual(eigenvalues.largest))]
    if eigenvalues.smallest is not None:
        lines.append(_line("λ_min(H)", eigenvalues.smallest.value, _residual(eigenvalues.smallest)))
    lines.append(_line("tr(H)", trace.value, _error(trace.standard_error)))
    for each in differences.at:
        lines.append(_line(f"δL_grad({each.radius:g})", each.gradient))
        lines.append(_line(f"δL_avg({each.radius:g})", each.average.mean, _error(each.average.standard_error)))
    lines += [_line("L", differences.loss), _line("‖gradient‖", differences.gradient_norm)]
    shown = [name for name in result.final if name.endswith(("/loss", "/accuracy", "/perplexity"))]
    lines += [_line(name, result.final[name]) for name in shown if not name.startswith((PREFIX, "train/"))]
    lines.append(_line(f"epochs of plain gradients, {GC_FLOPS}", found.epochs, f"{found.seconds:.1f} s; {ASSUMPTION}"))
    return lines


def _line(name: str, value: float, remark: str = "") -> dict[str, str]:
    return {"measure": name, "value": f"{value:.6g}", "": remark}


def _residual(found: Eigenvalue) -> str:
    return f"relative residual {found.residual:.1e}" + ("" if found.converged else ", not converged")


def _error(standard_error: float | None) -> str:
    return "" if standard_error is None else f"± {standard_error:.2g} (standard error)"
