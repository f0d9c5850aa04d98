"""What figures show, against formulas written out here; nothing is drawn."""

from __future__ import annotations

import math
import statistics
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench.cli import plots
from benchbench.figures import CURRENCIES, KINDS, figures, without_history
from benchbench.figures.figure_data import average, trace
from benchbench.figures.labels import Currency, axis, metric, scale
from benchbench.figures.values import Figure, Kind, LineFigure, MapFigure, RankFigure
from benchbench.problems import BadInputError
from benchbench.reporting import tables
from benchbench.tracking.histories import History
from benchbench.values import Cost, DiagnosticRecord, EpochRecord, Histogram, Row, Suite
from benchbench.values.sharpness.values import Landscape, SpectralDensity
from tests.helpers import synthetic_histories as synthetic
from tests.helpers import synthetic_rows

TWO = synthetic.suite(synthetic.plain(["A", "B"]))


def lines(figures: list[Figure]) -> LineFigure:
    (figure,) = figures
    assert isinstance(figure, LineFigure)
    return figure


def maps(figures: list[Figure]) -> MapFigure:
    (figure,) = figures
    assert isinstance(figure, MapFigure)
    return figure


def finished(suite: Suite) -> list[Row]:
    """Results with the accuracy 0.9 + 0.01 seed."""
    return [synthetic.result(spec, 0.9 + 0.01 * spec.seed) for spec in suite.specs]


def test_the_command_offers_every_kind_and_currency() -> None:
    assert [*KINDS] == [*get_args(Kind)] == [*plots.KindName]
    assert [*CURRENCIES] == [*get_args(plots.Currency)]
    assert set(CURRENCIES) == set(get_args(Currency)) - {"flops"}  # they are measured in one run only


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(st.integers(1, 5), st.tuples(st.floats(0, 10), st.floats(-10, 10) | st.just(math.nan))),
        min_size=1,
        max_size=4,
    )
)
def test_an_average_is_that_of_the_finite_values_at_each_number(curves: list[dict[int, tuple[float, float]]]) -> None:
    found = average(curves)
    expected = []
    for number in sorted({number for curve in curves for number in curve}):
        points = [curve[number] for curve in curves if number in curve and math.isfinite(curve[number][1])]
        if points:
            x, y = zip(*points, strict=True)
            expected.append((statistics.mean(x), statistics.mean(y), min(y), max(y), len(y)))
    assert np.array([*zip(*(found[name] for name in ("x", "y", "low", "high", "n")), strict=True)]) == pytest.approx(
        np.array(expected)
    )


def test_a_trace_ends_before_the_first_value_that_is_not_finite() -> None:
    found = trace({3: (3.0, math.inf), 1: (1.0, 5.0), 2: (2.0, 7.0), 4: (4.0, 1.0)})
    assert found is not None
    assert (found.x, found.y) == ((1.0, 2.0), (5.0, 7.0))
    assert trace({1: (1.0, math.nan)}) is None


def test_curves_show_means_in_the_unit_of_the_axis_and_the_runs_that_diverged() -> None:
    rows, histories = synthetic.everything(TWO, diverging=("B",))
    (training, diagnostics) = figures(TWO, rows, histories, kinds=["curves"])
    assert isinstance(training, LineFigure)
    assert isinstance(diagnostics, LineFigure)
    loss, accuracy = training.panels
    assert accuracy.y.label == "Validation accuracy (%)"
    values = [
        histories[spec.key].epochs[0].metrics["validation/accuracy"] * 100 for spec in TWO.specs if spec.method == "A"
    ]
    first = accuracy.series[0]
    assert (first.y[0], first.low[0], first.high[0]) == pytest.approx(
        (statistics.mean(values), min(values), max(values))
    )
    assert set(first.n) == {3}
    second = loss.series[1]
    assert second.remark == "(n=1; 2 diverged)"
    assert [each.x for each in second.traces] == [(1.0, 2.0, 3.0, 4.0)] * 2
    assert "Update norm ‖Δx‖₂" in [panel.y.label for panel in diagnostics.panels]
    assert diagnostics.panels[0].x.label == "Optimizer steps"


@pytest.mark.parametrize(("currency", "expected"), [("epochs", 3), ("steps", 30), ("seconds", 4.5), ("gc", 120)])
def test_training_is_counted_in_any_currency(currency: Currency, expected: float) -> None:
    suite = synthetic.suite(synthetic.plain(["A"]), seeds=(0, 1))
    histories = {
        spec.key: History(
            epochs=tuple(
                EpochRecord(
                    epoch=epoch,
                    metrics={"train/loss": 1.0 / epoch},
                    cost=Cost(
                        steps=10 * epoch, gradients=10 * epoch, hvps=10 * epoch, train_seconds=epoch * (1 + spec.seed)
                    ),
                )
                for epoch in (1, 2, 3)
            )
        )
        for spec in suite.specs
    }  # fmt: skip
    (panel,) = lines(figures(suite, finished(suite), histories, kinds=["curves"], currency=currency)).panels
    assert panel.series[0].x[-1] == pytest.approx(expected)
    assert panel.x.label == CURRENCIES[currency]


def test_metrics_are_chosen_by_name_diagnostics_among_them() -> None:
    rows, histories = synthetic.everything(TWO)
    training, diagnostics = figures(
        TWO, rows, histories, kinds=["curves"], metrics=["state/hessian/median", "train/loss"]
    )
    assert isinstance(training, LineFigure)
    assert isinstance(diagnostics, LineFigure)
    assert [panel.y.label for panel in training.panels] == ["Training loss"]
    assert [panel.y.label for panel in diagnostics.panels] == ["Median of hessian"]
    assert diagnostics.panels[0].series[0].y[0] == pytest.approx(-5e-5)
    with pytest.raises(BadInputError, match="did you mean 'train/loss'"):
        figures(TWO, rows, histories, metrics=["train/los"])


def test_an_axis_is_logarithmic_where_positive_values_span_decades() -> None:
    assert scale([0.01, 1.0, math.nan]) == "log"
    assert scale([0.5, 1.0]) == "linear"
    assert scale([0.0, 1.0, 1000.0]) == "linear"
    assert scale([]) == "linear"
    assert axis("update_norm", [1e-3, 10.0]).scale == "log"
    assert axis("test/accuracy", [0.01, 99.0]).scale == "linear"
    assert metric("validation/spearman").title == "Spearman correlation on the validation data"


def test_a_pareto_front_leads_along_the_methods_that_nothing_beats() -> None:
    suite = synthetic.suite(synthetic.plain(["cheap", "beaten", "dear", "broken"]))
    quality = {"cheap": 0.90, "beaten": 0.89, "dear": 0.95, "broken": math.nan}
    gradients = {"cheap": 1, "beaten": 2, "dear": 3, "broken": 1}
    rows = [
        synthetic.result(
            spec,
            quality[spec.method] + 0.01 * (spec.seed - 1),
            "diverged" if spec.method == "broken" else "finished",
            gradients[spec.method],
            hvps=10 if spec.method == "dear" else 0,
        )
        for spec in suite.specs
    ]
    figure = lines(figures(suite, rows, {}, kinds=["pareto"]))
    (panel,) = figure.panels
    assert [(each.label, each.x[0], each.y[0]) for each in panel.series] == [
        ("cheap", 60, pytest.approx(90)),
        ("beaten", 120, pytest.approx(89)),
        ("dear", 180 + 3 * 60, pytest.approx(95)),
    ]
    assert panel.series[0].low == pytest.approx((89,))
    assert panel.series[0].high == pytest.approx((91,))
    assert np.array(panel.front) == pytest.approx(np.array([(60, 90), (360, 90), (360, 95)]))
    assert "Not shown: broken: diverged (3)." in figure.notes


def test_a_sweep_has_a_line_per_method_and_per_choice_of_what_else_is_swept() -> None:
    methods = [
        *synthetic.swept("A", {"interval": [100, 1, 10], "mode": ["steps", "updates"]}),
        *synthetic.swept("B", {"interval": [1, 10]}),
    ]
    suite = synthetic.suite(methods)
    rows = [
        synthetic.result(
            spec,
            0.9 + 0.01 * spec.seed,
            "diverged" if spec.method == "B (interval=10)" else "finished",
            hvps=10 // int(str(spec.optimizer.parameters["interval"])),
        )
        for spec in suite.specs
    ]
    figure = lines(figures(suite, rows, {}, kinds=["sweep"]))
    quality, cost = figure.panels
    assert [each.label for each in quality.series] == ["A (mode=steps)", "A (mode=updates)", "B"]
    assert [each.style for each in quality.series] == [0, 1, 2]
    assert quality.x.scale == "log"
    assert quality.x.ticks == ((1.0, "1"), (10.0, "10"), (100.0, "100"))
    assert quality.series[0].x == (1.0, 10.0, 100.0)
    assert quality.series[0].y == pytest.approx((91, 91, 91))
    assert (quality.series[2].x, quality.series[2].lost) == ((1.0,), (10.0,))
    assert cost.series[0].y == pytest.approx((1 + 3 * 1, 1 + 3 * 0.1, 1))
    assert any("B (interval=10): diverged (3)" in note for note in figure.notes)


def test_words_are_an_axis_where_no_number_is_swept() -> None:
    suite = synthetic.suite(synthetic.swept("A", {"mode": ["steps", "updates"]}))
    panel = lines(figures(suite, finished(suite), {}, kinds=["sweep"])).panels[0]
    assert (panel.x.scale, panel.x.ticks) == ("linear", ((0.0, "steps"), (1.0, "updates")))


def test_a_heat_map_has_a_cell_per_combination_and_marks_divergence() -> None:
    suite = synthetic.suite(synthetic.swept("A", {"rho": [0.1, 0.2], "lr": [1.0, 0.1]}))
    rows = [
        synthetic.result(
            spec,
            0.5 if spec.optimizer.parameters["lr"] == 1.0 else 0.9,
            "diverged" if spec.method == "A (rho=0.2, lr=1.0)" or (spec.seed, spec.method) == (0, "A (rho=0.1, lr=0.1)")
            else "finished",
        )
        for spec in suite.specs
    ]  # fmt: skip
    figure = maps(figures(suite, rows, {}, kinds=["heatmap"]))
    (tile,) = figure.tiles
    assert (figure.x.label, figure.y.label) == ("lr", "rho")
    assert [text for _, text in figure.x.ticks] == ["0.1", "1.0"]
    assert tile.values == ((pytest.approx(90), pytest.approx(50)), (pytest.approx(90), None))
    assert tile.texts == (("90.0\n(n=2)", "50.0"), ("90.0", "div."))
    assert (figure.value.low, figure.value.high) == pytest.approx((50, 90))


def test_a_density_over_time_adds_up_the_entries_of_all_seeds() -> None:
    suite = synthetic.suite(synthetic.plain(["A"]), seeds=(0, 1))
    edges = (-1.0, -0.1, 0.1, 1.0, 10.0)

    def record(step: int, *counts: int) -> DiagnosticRecord:
        return DiagnosticRecord(step=step, epoch=1, histograms={"state/h": Histogram(edges=edges, counts=counts)})

    left = [
        History(diagnostics=(record(10, 2, 2, 0, 0), record(20, 0, 4, 0, 0))),
        History(diagnostics=(record(10, 0, 4, 0, 0), record(20, 0, 2, 2, 0))),
    ]
    histories = dict(zip((spec.key for spec in suite.specs), left, strict=True))
    figure = maps(figures(suite, finished(suite), histories, kinds=["histogram"]))
    (tile,) = figure.tiles
    assert tile.x == (5.0, 15.0, 25.0)
    assert tile.y == (0.0, 1.0, 2.0, 3.0)  # the empty last bin is left out
    assert tile.values == ((0.25, None), (0.75, 0.75), (None, 0.25))
    assert figure.y.ticks == ((0.0, "−10⁰"), (1.0, "−10⁻¹"), (1.5, "0"), (2.0, "10⁻¹"), (3.0, "10⁰"))


def test_a_spectrum_is_the_mean_of_the_densities_of_the_seeds() -> None:
    suite = synthetic.suite(synthetic.plain(["A"]), seeds=(0, 1))
    grids = [np.linspace(-1, 1, 401), np.linspace(-0.5, 3.5, 401)]
    triangles = [np.maximum(1 - np.abs(grid), 0) for grid in grids]
    histories = {
        spec.key: History(
            spectrum=SpectralDensity(probes=(), width=1.0, grid=tuple(grid), values=tuple(values), products=0)
        )
        for spec, grid, values in zip(suite.specs, grids, triangles, strict=True)
    }
    (panel,) = lines(figures(suite, finished(suite), histories, kinds=["spectrum"])).panels
    (series,) = panel.series
    x, y = np.array(series.x), np.array(series.y)
    assert (x[0], x[-1]) == (-1.0, 3.5)
    inside = np.abs(x - 0.25) < 0.5
    assert y[inside] == pytest.approx(np.maximum(1 - np.abs(x[inside]), 0), abs=0.01)
    assert y[x < -0.55] == pytest.approx((1 - np.abs(x[x < -0.55])) / 2, abs=0.01)  # one of two seeds, the other zero
    assert (panel.x.scale, panel.y.scale) == ("linear", "log")


def test_spectra_of_very_different_widths_share_a_symmetric_logarithmic_axis() -> None:
    rows, histories = synthetic.everything(synthetic.suite(synthetic.plain(synthetic.LABELS)))
    (panel,) = lines(
        figures(synthetic.suite(synthetic.plain(synthetic.LABELS)), rows, histories, kinds=["spectrum"])
    ).panels
    assert panel.x.scale == "symlog"


@pytest.mark.parametrize("plane", [False, True])
def test_landscapes_are_on_one_scale_that_ends_where_the_middle_method_says(plane: bool) -> None:
    suite = synthetic.suite(synthetic.plain(["flat", "middle", "sharp"]), seeds=(0,))
    y = (-1.0, 0.0, 1.0) if plane else (0.0,)
    histories = {
        spec.key: History(
            landscape=Landscape(seed=0, x=(-1.0, 0.0, 1.0), y=y, losses=tuple((rise, 0.0, rise) for _ in y))
        )
        for spec, rise in zip(suite.specs, (1.0, 2.0, 100.0), strict=True)
    }
    (figure,) = figures(suite, finished(suite), histories, kinds=["landscape"])
    if isinstance(figure, MapFigure):
        assert [tile.title for tile in figure.tiles] == ["flat", "middle", "sharp"]
        scale = figure.value
    else:
        scale = figure.panels[0].y
        assert figure.panels[0].series[1].y == (2.0, 0.0, 2.0)
    assert isinstance(figure, MapFigure) == plane
    assert (scale.low, scale.high) == (0.0, 6.0)
    assert "Cut off at a loss of 6: sharp." in figure.notes


def test_every_figure_can_be_written_as_json() -> None:
    rows, histories = synthetic.everything(TWO, diverging=("B",))
    for figure in figures(TWO, rows, histories):
        assert type(figure).model_validate_json(figure.model_dump_json()) == figure


def test_what_has_no_data_is_left_out_unless_it_is_asked_for() -> None:
    rows = finished(TWO)
    assert [figure.kind for figure in figures(TWO, rows, {})] == ["pareto"]
    with pytest.raises(BadInputError) as caught:
        figures(TWO, rows, {}, kinds=["curves", "sweep"])
    assert [problem.value for problem in caught.value.problems] == ["curves", "sweep"]
    with pytest.raises(BadInputError, match="nothing to draw"):
        figures(TWO, [], {})
    one_epoch = History(epochs=(EpochRecord(epoch=1, metrics={}, cost=Cost()),))
    assert without_history(TWO, rows, {TWO.specs[0].key: one_epoch})[0] == "A on digits, seed 1"


def test_a_critical_difference_diagram_shows_what_the_table_says() -> None:
    methods, workloads = ("low", "middle", "high"), tuple(f"w{i}" for i in range(6))
    asked = synthetic_rows.suite(dict.fromkeys((*methods, "lost"), ""), workloads, seeds=(0,), tables=("workloads",))
    rows = [
        each
        for i, method in enumerate(methods)
        for workload in workloads
        for each in synthetic_rows.rows(method, 0.5 + 0.1 * i, workload=workload)
    ]
    (content,) = figures(asked, rows, {}, kinds=["ranks"])
    assert isinstance(content, RankFigure)
    assert [(each.label, each.rank, each.style) for each in content.methods] == [
        ("high", 1.0, 2), ("middle", 2.0, 1), ("low", 3.0, 0),
    ]  # fmt: skip
    assert content.critical_difference == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 6)), rel=1e-3)
    assert content.bars == ((1.0, 2.0), (2.0, 3.0))
    assert content.notes[-1] == f"Not compared: lost: not all seeds gave a number on {', '.join(workloads)}."
    [table] = tables(asked, rows)
    ranks = {line.headers[-1]: line.cells[0].text for line in table.rows[:3]}
    assert ranks == {each.label: f"{each.rank:.2f}" for each in content.methods}
    few = [row for row in rows if row.spec.workload_label in workloads[:4]]
    with pytest.raises(BadInputError, match="five workloads"):
        figures(asked.model_copy(update={"workloads": workloads[:4], "specs": tuple(r.spec for r in few)}), few, {},
                kinds=["ranks"])  # fmt: skip
