"""How figures are drawn: no text touches another one or leaves the page, whatever users write."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.image import imread
from matplotlib.text import Text

from benchbench.figures import figures
from benchbench.figures.drawing import draw, save
from benchbench.figures.drawing.axes import tick_text
from benchbench.figures.drawing.lines import style
from benchbench.figures.drawing.styles import PALETTE
from benchbench.figures.values import Figure, RankFigure
from benchbench.problems import printable
from benchbench.values import Row, Suite
from tests.helpers import synthetic_histories as synthetic
from tests.helpers import synthetic_rows

SWEEPS = [
    *synthetic.swept("100%_|$", {"rho": [0.05, 0.1, 0.15, 0.2], "lr": [0.01, 0.1, 1.0]}),
    *synthetic.swept(synthetic.NASTY[6], {"rho": [0.05, 0.1], "lr": [0.01, 0.1]}),
]
INTERVALS = [
    *synthetic.swept("SASSHA", {"interval": [1, 2, 5, 10, 20, 50, 100], "mode": ["steps", "updates"]}),
    *synthetic.swept("words", {"a name with $ in it": ["<b>", "a long value of several words", "$x$", "__"]}),
]


def texts(drawing: Drawing) -> list[tuple[str, Any]]:
    """Return every text that can be seen, with its bounding box."""
    canvas: Any = drawing.canvas
    directions = [direction for axes in drawing.axes for direction in (axes.xaxis, axes.yaxis)]
    labels, drawn = set(), set()  # of ticks; those outside the limits are not drawn
    for direction in directions:
        labels |= _labels([*direction.get_major_ticks(), *direction.get_minor_ticks()])
        drawn |= _labels(direction._update_ticks())
    seen = [text for text in drawing.findobj(Text) if isinstance(text, Text) and text not in labels - drawn]
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in seen
        if text.get_visible() and text.get_text().strip()
    ]


def _labels(ticks: Iterable[Any]) -> set[Text]:
    return {label for tick in ticks for label in (tick.label1, tick.label2)}


def assert_readable(drawing: Drawing) -> None:
    """Assert that no two texts intersect, and that all lie on the page."""
    page = drawing.bbox
    found = texts(drawing)
    assert found
    for text, box in found:
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1, text
    for (one, a), (other, b) in itertools.combinations(found, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 0.5 or height <= 0.5, (one, other)


def of_all_kinds(suite: Suite, **options: Any) -> list[Figure]:
    rows, histories = synthetic.everything(suite, **options)
    return figures(suite, rows, histories)


CASES = {
    "one": (synthetic.suite(synthetic.plain(["Alone"]), seeds=(0,)), {}),
    "eight": (synthetic.suite(synthetic.plain(synthetic.LABELS)), {"diverging": ("Shampoo", "AdamW")}),
    "planes": (synthetic.suite(synthetic.plain(synthetic.LABELS[:4])), {"plane": True}),
    "many": (synthetic.suite(synthetic.plain([f"method {i}" for i in range(15)]), seeds=(0, 1)), {}),
    "nasty": (
        synthetic.suite(
            synthetic.plain(synthetic.NASTY), workload="$x$ <b>&</b> 100%", seeds=(0, 1), title="A $long$ title " * 12
        ),
        {"diverging": (synthetic.NASTY[0], synthetic.NASTY[6])},
    ),
    "nasty planes": (synthetic.suite(synthetic.plain(synthetic.NASTY[:8]), seeds=(0,)), {"plane": True}),
    "sweeps": (synthetic.suite(SWEEPS, seeds=(0, 1)), {"diverging": (SWEEPS[0].label, SWEEPS[3].label)}),
    "intervals": (synthetic.suite(INTERVALS, seeds=(0, 1)), {"diverging": (INTERVALS[0].label,)}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_touches_another_one_or_leaves_the_page(case: str) -> None:
    suite, options = CASES[case]
    for content in of_all_kinds(suite, **options):
        assert_readable(draw(content))


@pytest.mark.parametrize("labels", [synthetic.LABELS[:3], [f"method {i}" for i in range(12)], synthetic.NASTY, None])
def test_a_critical_difference_diagram_is_readable_with_few_methods_many_and_long_names(labels: Any) -> None:
    labels = labels or [f"m{i}" for i in range(40)]
    asked, rows = on_workloads(dict.fromkeys(labels, ""), 6)
    (content,) = figures(asked, rows, {}, kinds=["ranks"])
    drawing = draw(content)
    assert_readable(drawing)
    shown = "".join(text for text, _ in texts(drawing)).replace("\n", "").replace(" ", "")
    assert all(printable(label).replace(" ", "") in shown for label in labels)


def on_workloads(methods: dict[str, str], count: int) -> tuple[Suite, list[Row]]:
    """A suite of workloads on which later methods do better, and its results."""
    workloads = tuple(f"w{i}" for i in range(count))
    found = [
        each
        for i, method in enumerate(methods)
        for j, workload in enumerate(workloads)
        for each in synthetic_rows.rows(method, 0.5 + 0.01 * i + 0.02 * (i * j % 3), workload=workload)
    ]
    return synthetic_rows.suite(methods, workloads, seeds=(0,)), found


def test_a_figure_says_in_words_what_it_shows(tmp_path: Path) -> None:
    (content,) = figures(*on_workloads(dict.fromkeys(["a<b", "B", "C"], ""), 5), {}, kinds=["ranks"])
    assert isinstance(content, RankFigure)
    said = {
        path.suffix: path.read_text(encoding="utf-8")
        for path in save([content], "made", tmp_path)
        if path.suffix == ".svg"
    }
    root = ElementTree.fromstring(said[".svg"])
    assert content.title in [each.text for each in root.iter() if each.tag.endswith("}title")]
    (words,) = [each.text for each in root.iter() if each.tag.endswith("}description")]
    for each in content.methods:
        assert f"{each.label} {each.rank:.2f}" in str(words)


def test_what_users_write_is_shown_as_it_is() -> None:
    suite = synthetic.suite(synthetic.plain(synthetic.NASTY[:6]), seeds=(0,))
    rows, histories = synthetic.everything(suite)
    (content, _) = figures(suite, rows, histories, kinds=["curves"])
    drawing = draw(content)
    (legend,) = drawing.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [*synthetic.NASTY[:5], "line\\nbreak\\x1b[31m"]
    assert not any(artist.get_parse_math() for artist in drawing.findobj(Text) if isinstance(artist, Text))


def test_methods_are_told_apart_without_colours_and_keep_their_looks() -> None:
    looks = [style(i) for i in range(55)]
    assert len({(look.marker, str(look.dashes)) for look in looks}) == 55
    assert len({look.colour for look in looks[:8]}) == 8
    luminances = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(to_rgb, PALETTE)]
    assert max(luminances) < 0.7  # nothing is lost on white paper
    suite = synthetic.suite(synthetic.plain(["A", "B", "C"]))
    rows, histories = synthetic.everything(suite, diverging=("A",))
    for content in figures(suite, rows, histories, kinds=["curves", "pareto", "spectrum"]):
        (legend,) = draw(content).legends
        names = [text.get_text().split(" (")[0] for text in legend.get_texts()]
        handles = dict(zip(names, legend.legend_handles, strict=True))
        assert handles["C"].get_color() == PALETTE[2]  # type: ignore[union-attr]


def test_files_are_what_their_names_say_and_always_the_same(tmp_path: Path) -> None:
    contents = of_all_kinds(synthetic.suite(synthetic.plain(synthetic.NASTY[:3]), workload="../a b", seeds=(0,)))[:3]
    files = save(contents, "made", tmp_path / "new")
    assert len({path.name for path in files}) == 9
    for path in files:
        assert path.parent == tmp_path / "new"
        assert re.fullmatch(r"made-(curves|histogram)-a_b(-diagnostics)?\.(png|svg|pdf)", path.name)
        content = path.read_bytes()
        if path.suffix == ".png":
            assert imread(path).shape[2] == 4
        elif path.suffix == ".svg":
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert b"<script" not in content
        else:
            assert content.startswith(b"%PDF")
            assert b"/Type3" not in content
    again = save(contents, "made", tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_labels_that_differ_in_unusual_characters_only_get_files_of_their_own(tmp_path: Path) -> None:
    suites = [synthetic.suite(synthetic.plain(["A"]), workload=label, seeds=(0,)) for label in ("a b", "a/b", "$$")]
    contents = [of_all_kinds(suite)[0] for suite in suites]
    stems = [path.stem for path in save(contents, "made", tmp_path)[::3]]
    assert stems == ["made-curves-a_b", "made-curves-a_b-2", "made-curves-unnamed"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.25, "0.25"), (1500, "1500"), (30000, "30k"), (2.5e6, "2500k"),
        (5e7, "50M"), (-2, "−2"), (2e-5, "2·10⁻⁵"), (1e-4, "10⁻⁴"),
    ],
)  # fmt: skip
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text
