"""The order of the methods on each workload, as far as the seeds support one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchbench.reporting.accuracy import places
from benchbench.reporting.metrics import UNKNOWN_DIRECTION, Better, describe, figure, interval, number
from benchbench.reporting.results import ResultColumn, absence_notes
from benchbench.reporting.runs import Runs, SuiteRuns, count_seeds, gather, titled
from benchbench.reporting.significance import best_of, order, significance_note, values_by_seed
from benchbench.reporting.table import BLANK, NOTHING, Cell, Column, Table, TableRow, number_cell
from benchbench.reporting.tuning import CHOSEN_ON_TEST, tuned_on_test
from benchbench.stats import (
    RankedMethod,
    Ranking,
    Withheld,
    cohens_dz,
    hedges_g,
    pair_by_seed,
    paired_seeds_needed,
    unpaired_seeds_needed,
)
from benchbench.stats.power import MOST_SEEDS
from benchbench.values import Frozen, Row, Suite

_COLUMNS = ("place", "groups", "mean", "95 % interval", "to the best", "p", "effect", "seeds to tell")


class Order(Frozen):
    """The methods on one workload by one of its metrics after the final epoch.

    Attributes:
        place: The workload.
        metric: The metric.
        better: Which way it is better, where that is known.
        ranking: Places of the methods whose settings were not chosen on test data; `None` where no way is better.
    """

    place: ResultColumn
    metric: str
    better: Better | None
    ranking: Ranking | None


def orders(suite: Suite, runs: SuiteRuns) -> list[Order]:
    """Return the order of the methods by workload and metric, in the order of the suite."""
    on_test = {method.label for method in suite.methods if tuned_on_test(suite, method)}
    found = []
    for place in places(suite, runs):
        for name, direction in zip(place.metrics, place.directions, strict=True):
            ranking = order(direction, values_by_seed(runs[place.workload], name), on_test)
            found.append(Order(place=place, metric=name, better=direction, ranking=ranking))
    return found


def ranking_table(suite: Suite, rows: Sequence[Row]) -> Table:
    """Return places, tie groups, intervals, and differences from the best, by workload and metric.

    The rows of a workload are in the order of the places, so that no order is shown that the data do not support.
    """
    runs = gather(suite, rows)
    lines: list[TableRow] = []
    rankings: list[Ranking] = []
    reasons: dict[tuple[str, str], str] = {}
    left_out: list[str] = []
    on_test = {method.label for method in suite.methods if tuned_on_test(suite, method)}
    for each_order in orders(suite, runs):
        place, name, found = each_order.place, each_order.metric, each_order.ranking
        here = runs[place.workload]
        where = place.full_label if len(place.metrics) == 1 else f"{place.full_label}: {describe(name).label}"
        if found is None:
            left_out.append(f"Left out: {suite.heading(place.workload).full_label}: {name}: {UNKNOWN_DIRECTION}.")
            continue
        rankings.append(found)
        ranked = {each.name: each for each in found.methods}
        for method in dict.fromkeys((*ranked, *here)):
            values = list(_values(name, here[method]).values())
            whole = here[method].is_whole(name)
            if method in ranked:
                place_cells = [
                    Cell(
                        remark="–".join(
                            map(str, dict.fromkeys((ranked[method].first_place, ranked[method].last_place)))
                        )
                    ),
                    Cell(remark=letters(ranked[method].groups)),
                ]
            else:
                lost = f"no place without all seeds: {here[method].absence(name, len(values))}"
                reasons[method, where] = CHOSEN_ON_TEST if method in on_test and whole else lost
                place_cells = [Cell(reason=reasons[method, where]), BLANK]
            cells = (
                *place_cells,
                Cell(figures=(figure(name, values),)) if whole else BLANK,
                Cell(remark=interval_text(name, values)) if whole else BLANK,
                *(_against_best(name, here, found, ranked[method]) if method in ranked else [BLANK] * 4),
            )
            lines.append(TableRow(headers=(where, method), cells=cells))
    workloads = dict.fromkeys((line.headers[0] for line in lines), "")
    return Table(
        name="ranking",
        title=titled(suite, "Order of the methods after the final epoch"),
        headers=("Workload", "Method"),
        columns=tuple(Column(label=label) for label in _COLUMNS),
        rows=tuple(lines),
        notes=(
            *_notes(suite, rankings, lines),
            *left_out,
            *absence_notes(reasons, [method.label for method in suite.methods], workloads),
        ),
    )


def _against_best(name: str, runs: Mapping[str, Runs], found: Ranking, method: RankedMethod) -> tuple[Cell, ...]:
    """Return the cells about a method and the one with the best mean: difference, p, effect size, seeds needed."""
    best = best_of(found)
    pair = next((each for each in found.pairs if best and {best.name, method.name} == {each.first, each.second}), None)
    if best is None or pair is None:
        return (BLANK,) * 4
    own, others = _values(name, runs[method.name]), _values(name, runs[best.name])
    shared = pair_by_seed(own, others)
    paired = pair.comparison.test != "Welch t"
    effect = cohens_dz(shared) if paired else hedges_g(own.values(), others.values())
    differences = shared.differences if paired else (method.mean - best.mean,)
    shown, p = figure(name, differences), pair.corrected_p
    signed = shown.value if shown.value.startswith("-") else f"+{shown.value}"
    needed = (
        None if isinstance(effect, str) else (paired_seeds_needed if paired else unpaired_seeds_needed)(abs(effect))
    )
    return (
        Cell(figures=(shown.model_copy(update={"value": signed}),)),
        p_value(p),
        Cell(remark=effect) if isinstance(effect, str) else number_cell(f"{effect:+.2f}", effect),
        BLANK if isinstance(effect, str) else Cell(remark=f"> {MOST_SEEDS}" if needed is None else str(needed)),
    )


def _values(name: str, runs: Runs) -> dict[int, float]:
    return {seed: value for seed, value in runs.by_seed(name).items() if value is not None}


def interval_text(name: str, values: Sequence[float]) -> str:
    """Return the 95 % interval of the mean of a metric as text, or why there is none."""
    found = interval(name, values)
    if isinstance(found, str):
        return NOTHING if found == "n < 2" else found
    low, high = (number(name, end) for end in (found.low, found.high))
    return f"{low} to {high}"


def p_value(p: float | Withheld) -> Cell:
    """Return the cell of a p-value, or of why there is none."""
    return Cell(remark=p) if isinstance(p, str) else number_cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)


def letters(groups: Iterable[int]) -> str:
    """Return the letters of groups with these numbers: a, b, ..., z, aa, ab, ... for 1, 2, ..."""
    names = []
    for group in groups:
        name, rest = "", group
        while rest:
            rest, place = divmod(rest - 1, 26)
            name = chr(ord("a") + place) + name
        names.append(name)
    return " ".join(names)


def _notes(suite: Suite, rankings: Sequence[Ranking], lines: Sequence[TableRow]) -> list[str]:
    if not any(cell.figures for line in lines for cell in line.cells):
        return []
    return [
        f"{count_seeds(suite)}. A place that the seeds leave open is a range; methods that share a group are not told "
        "apart. Rows with the same range are in the order of their names.",
        *significance_note(rankings),
        "Mean and difference ± sample standard deviation (ddof = 1). Interval, for one mean alone: Wilson's with the "
        "variance of the seeds where a metric has bounds, else Student's t.",
        "To the best: difference from the method with the best mean, seed by seed where all have the same seeds.",
        "Effect: the difference in standard deviations (Cohen's d_z seed by seed, else Hedges' g). Seeds to tell: for "
        "a power of 0.8 at a level of 0.05, if the effect is what it seems.",
    ]
