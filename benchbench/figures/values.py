"""Contents of figures, as frozen values that know nothing of how they are drawn."""

from __future__ import annotations

from typing import Literal

from benchbench.values import Frozen

Kind = Literal["curves", "histogram", "heatmap", "sweep", "spectrum", "pareto", "landscape", "ranks"]
"""Kinds of figures of a suite."""

TuningKind = Literal["best-of", "sensitivity"]
"""Kinds of figures of a search."""

Scale = Literal["linear", "log", "symlog"]


class Axis(Frozen):
    """An axis, or a colour bar.

    Attributes:
        label: What it shows, with the unit.
        scale: How it is divided; `symlog` is linear up to `threshold` on both sides of zero and logarithmic beyond.
        threshold: End of the linear part of `symlog`.
        low: Its lower end, or `None`: where the data end.
        high: Its upper end, likewise.
        ticks: Positions with labels of their own, or none: numbers at round positions.
    """

    label: str
    scale: Scale = "linear"
    threshold: float = 1.0
    low: float | None = None
    high: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()


class Trace(Frozen):
    """One run that diverged: its points up to the last finite one."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Series(Frozen):
    """Curve of one method: a point per entry of `x`, made of the finished runs.

    Attributes:
        style: Position of the method in its suite, which decides colour, marker and dashes in every figure.
        label: The method's label, as the user wrote it.
        remark: What happened to runs that are not behind the points, such as `(n=2; 1 diverged)`.
        x: Horizontal positions (means over seeds where these differ).
        y: Means over seeds.
        low: Smallest value of a seed at each point.
        high: Largest value of a seed at each point.
        n: Seeds behind each point.
        x_low: Smallest position of a seed at each point; empty where the seeds share their positions.
        x_high: Largest position, likewise.
        traces: The runs that diverged.
        lost: Positions at which no run finished.
    """

    style: int
    label: str
    remark: str = ""
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    n: tuple[int, ...] = ()
    x_low: tuple[float, ...] = ()
    x_high: tuple[float, ...] = ()
    traces: tuple[Trace, ...] = ()
    lost: tuple[float, ...] = ()


class Panel(Frozen):
    """A pair of axes with what is drawn in it.

    Attributes:
        x: The horizontal axis.
        y: The vertical axis.
        series: A series per method.
        form: How a series is shown: as a line with a `band`, a line with `bars` at its points, or `points` with bars.
        front: Corners of a line that is drawn behind the points, such as a Pareto front.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    form: Literal["band", "bars", "points"] = "band"
    front: tuple[tuple[float, float], ...] = ()


class LineFigure(Frozen):
    """A figure of panels that share their methods.

    Attributes:
        kind: What it is about.
        name: What tells it from other figures of its kind and workload; mostly empty.
        workload: Label of the workload.
        title: Its headline.
        panels: Its panels, in reading order.
        notes: What a reader must know.
    """

    kind: Kind | TuningKind
    name: str = ""
    workload: str
    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()


class Tile(Frozen):
    """A panel of a map: a value for each entry of `x` and `y`.

    Attributes:
        title: What it belongs to, such as a method's label.
        x: Horizontal positions: of values, or (for a `density`) of the edges between them.
        y: Vertical positions, likewise.
        values: A row per vertical position; `None` where there is no value.
        texts: What stands in each cell, in the order of `values`; empty where nothing does.
    """

    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...] = ()


class MapFigure(Frozen):
    """A figure of maps on one common scale of colours.

    Attributes:
        kind: What it is about.
        name: What tells it from other figures of its kind and workload.
        workload: Label of the workload.
        title: Its headline.
        form: How values are shown: as `cells` with numbers in them, a fine-grained `density`, or filled `contours`.
        x: The horizontal axis of all tiles.
        y: The vertical axis of all tiles.
        value: The scale of colours, with both of its ends.
        tiles: Its tiles, in reading order.
        notes: What a reader must know.
    """

    kind: Kind
    name: str = ""
    workload: str
    title: str
    form: Literal["cells", "density", "contours"]
    x: Axis
    y: Axis
    value: Axis
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...] = ()


class RankedMethod(Frozen):
    """A method in a critical-difference diagram.

    Attributes:
        style: Position of the method in its suite, which decides colour and marker in every figure.
        label: The method's label, as the user wrote it.
        rank: Its average rank.
    """

    style: int
    label: str
    rank: float


class RankFigure(Frozen):
    """A critical-difference diagram: average ranks on an axis, and bars under methods that are not told apart.

    Attributes:
        kind: What it is about.
        name: What tells it from other figures of its kind; empty.
        workload: Empty: it is about all workloads.
        title: Its headline.
        methods: The methods, the best average rank first.
        critical_difference: Difference of two average ranks from which they are told apart.
        bars: Lowest and highest average rank of each group of two methods and more.
        notes: What a reader must know.
    """

    kind: Kind
    name: str = ""
    workload: str = ""
    title: str
    methods: tuple[RankedMethod, ...]
    critical_difference: float
    bars: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()


Figure = LineFigure | MapFigure | RankFigure
