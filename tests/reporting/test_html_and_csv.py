import csv
import io
from html.parser import HTMLParser

import pytest
from hypothesis import given

from benchbench.problems import printable
from benchbench.reporting import html_page, to_csv, to_html
from benchbench.reporting.csv_text import COLUMNS, as_written
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow, all_notes
from tests.reporting.hostile_tables import hostile_table
from tests.reporting.hostile_tables import tables as hostile_tables

TAGS = {
    "figure",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "strong",
    "u",
    "abbr",
    "figcaption",
    "ul",
    "li",
}
FRAME = {"html", "head", "meta", "title", "style", "body", "h1"}


class Reader(HTMLParser):
    """Collects the elements of a fragment, the text in each of them, and the reasons that hang on a star."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.reasons: list[str | None] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.reasons += [dict(attrs)["title"]] if tag == "abbr" else []
        if tag in ("caption", "th", "td", "li", "h1", "title"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data


@given(hostile_tables())
def test_html_holds_every_text_as_it_was_written_and_no_element_of_a_user(table):
    read = Reader(to_html(table))
    assert read.tags <= TAGS
    assert read.texts["caption"] == [printable(table.title)]
    figures = [" / ".join(figure.text for figure in cell.figures) for row in table.rows for cell in row.cells]
    words = [printable(cell.words) for row in table.rows for cell in row.cells]
    shown = [
        f"{number} {word}" if number and word else number or word for number, word in zip(figures, words, strict=True)
    ]
    assert read.texts["td"] == shown
    assert {printable(row.headers[-1]) for row in table.rows} <= set(read.texts["th"])
    notes = all_notes(table, best="Bold", second="underlined")
    assert read.texts.get("li", []) == list(map(printable, notes))
    assert read.reasons == [printable(cell.reason) for row in table.rows for cell in row.cells if cell.reason]


def test_a_page_stands_alone():
    text = html_page("<b>Title</b> & more", [hostile_table(), hostile_table()])
    read = Reader(text)
    assert text.startswith("<!doctype html>")
    assert read.tags <= TAGS | FRAME
    assert read.texts["h1"] == read.texts["title"] == ["<b>Title</b> & more"]
    assert text.count("<table>") == 2
    assert "://" not in text


def test_headers_say_what_they_are_headers_of():
    text = to_html(hostile_table())
    assert text.count('scope="rowgroup"') == len(hostile_table().blocks)
    assert text.count('scope="row"') == len(hostile_table().rows)
    assert text.count('scope="colgroup"') == 2


@given(hostile_tables())
def test_csv_has_a_line_per_figure_with_unrounded_numbers(table):
    lines = list(csv.DictReader(io.StringIO(to_csv([table]), newline="")))
    cells = [(row, column, cell) for row in table.rows for column, cell in zip(table.columns, row.cells, strict=True)]
    assert len(lines) == len(cells)
    for written, (row, column, cell) in zip(lines, cells, strict=True):
        assert tuple(written) == COLUMNS
        line = {name: as_written(text) for name, text in written.items()}
        named = (line["category"], line["row"], line["group"], line["column"])
        assert named == tuple(map(printable, (*row.headers, column.group, column.label)))
        assert (line["remark"], line["reason"]) == (printable(cell.remark), printable(cell.reason))
        numbers = [line[name] for name in ("value", "spread", "mean", "std", "n")]
        assert numbers == (["92.00", "0.17", "92.001", "0.1712", "3"] if cell.figures else [""] * 5)


@pytest.mark.parametrize("text", ["=1+1", "@x", "+x", "-2+3", "\u202e=1"])
def test_csv_has_no_formulas_wherever_a_text_stands(text):
    figure = Figure(value="-1.50", spread="0.17", mean=-1.5, std=0.17, n=3)
    cells = (Cell(figures=(figure,), remark=text), Cell(reason=text))
    columns = (Column(label=text, group=text), Column(label=text, group=text))
    row = TableRow(headers=(text, text), cells=cells)
    table = Table(name="accuracy", title=text, headers=("Category", "Method"), columns=columns, rows=(row,), notes=())
    lines = list(csv.DictReader(io.StringIO(to_csv([table]), newline="")))
    assert [(lines[0]["value"], lines[0]["mean"])] == [("-1.50", "-1.5")]
    for line in lines:
        assert all(cell.isprintable() for cell in line.values())
        assert all(cell[:1] not in ("=", "@", "+") for cell in line.values())
        assert all(not cell.startswith("-") or float(cell) for cell in line.values())
        assert line["row"] in (f"'{text}", printable(text))
