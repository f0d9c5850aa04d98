"""Tables for the terminal: aligned text, stacked in parts where the window is too narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

from benchbench.problems import printable
from benchbench.reporting.table import FIGURE_GAP, Cell, Figure, Table, all_notes, shown_headers

_GAP = "  "
_RULE = "─"
_RAISED = {"best": "¹", "second": "²", "tied": ""}
_STYLES = {"best": "\x1b[1m", "second": "\x1b[4m", "tied": ""}
_PLAIN = "\x1b[0m"
_FORMAT = TableFormat(
    lineabove=None,
    linebelowheader=Line("", _RULE, _GAP, ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=None,
    datarow=DataRow("", _GAP, ""),
    padding=0,
    with_header_hide=None,
)


def to_terminal(table: Table, *, color: bool, width: int | None) -> str:
    """Return the table as text.

    Args:
        table: The table.
        color: Whether the terminal shows bold and underlined type; if not, raised digits mark the best figures.
        width: Columns of the terminal (`None` for no limit). A wider table is cut into parts, stacked,
            between groups of columns where possible.

    Returns:
        Title, parts and notes, separated by empty lines, without a line end.
    """
    title = "\n".join(f"{_STYLES['best']}{line}{_PLAIN}" if color else line for line in _wrap(table.title, width))
    parts = [_draw(part, color=color) for part in _parts(table, color=color, width=width)]
    looks = {"best": "Bold", "second": "underlined"} if color else _RAISED
    lines = [line for note in all_notes(table, **looks) for line in _wrap(note, width)]
    return "\n\n".join(text for text in (title, *parts, "\n".join(lines)) if text)


def _wrap(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(printable(text), width, break_on_hyphens=False) if width else [printable(text)]


def _parts(table: Table, *, color: bool, width: int | None) -> Iterator[Table]:
    """Yield tables with some of the columns each, no wider than `width` unless a single column is."""
    names = len(table.headers)
    widths = _widths(_draw(table, color=color)) if width else []
    taken: list[int] = []
    for unit in _units(table, widths[names:], (width or 0) - _span(widths[:names])):
        columns = [*range(names), *(names + position for position in taken + unit)]
        if width and taken and _span([widths[column] for column in columns]) > width:
            yield table.select(taken)
            taken = []
        taken += unit
    yield table.select(taken)


def _units(table: Table, widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield the positions of columns that stay together: a group, unless it is wider than the room."""
    start = 0
    for group, length in table.column_groups:
        columns = list(range(start, start + length))
        together = group and (not widths or len(_GAP) + _span(widths[start : start + length]) <= room)
        yield from [columns] if together else [[column] for column in columns]
        start += length


def _span(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(len(widths) - 1, 0)


def _draw(table: Table, *, color: bool) -> str:
    columns = [
        [printable(column.label), *_texts([row.cells[i] for row in table.rows], color=color)]
        for i, column in enumerate(table.columns)
    ]
    grid = _grid(table, columns)
    if not any(column.group for column in table.columns):
        return grid
    _make_room_for_groups(table, columns, _widths(grid))
    grid = _grid(table, columns)
    return f"{_group_lines(table, _widths(grid))}\n{grid}"


def _texts(cells: Sequence[Cell], *, color: bool) -> list[str]:
    """Return the cells of one column as texts, their numbers below each other."""
    depth = max((len(cell.figures) for cell in cells), default=0)
    stacks = [
        _figure_texts([cell.figures[i] if i < len(cell.figures) else None for cell in cells], color=color)
        for i in range(depth)
    ]
    texts = []
    for row, cell in enumerate(cells):
        shown = FIGURE_GAP.join(stack[row] for stack in stacks[: len(cell.figures)])
        words = printable(cell.words)
        texts.append(f"{shown} {words}" if shown and words else shown or words)
    return texts


def _figure_texts(figures: Sequence[Figure | None], *, color: bool) -> list[str]:
    """Return figures that stand below each other, all of them equally wide."""
    shown = [figure for figure in figures if figure]
    value_width = max(len(figure.value) for figure in shown)
    spread_width = max(len(figure.spread) for figure in shown)
    marked = max(len(_suffix(figure, color=color)) for figure in shown)
    width = value_width + (spread_width + len(" ± ") if spread_width else 0) + marked
    texts = []
    for figure in figures:
        if figure is None:
            texts.append("")
            continue
        text = figure.value.rjust(value_width)
        text += f" ± {figure.spread.rjust(spread_width)}" if figure.spread else ""
        text += _suffix(figure, color=color)
        padding = " " * (width - len(text))
        styles = "".join(_STYLES[mark] for mark in figure.marks) if color else ""
        texts.append((f"{styles}{text}{_PLAIN}" if styles else text) + padding)
    return texts


def _suffix(figure: Figure, *, color: bool) -> str:
    return ("" if color else "".join(_RAISED[mark] for mark in figure.marks)) + figure.sign


def _grid(table: Table, columns: Sequence[Sequence[str]]) -> str:
    """Return the lines from the header down; `columns` are texts with their label first."""
    lines: list[list[str] | str] = [[*map(printable, table.headers), *(column[0] for column in columns)]]
    position = 1
    for block in table.blocks or [[]]:
        lines.append(SEPARATING_LINE)
        for names in shown_headers(block):
            lines.append([*map(printable, names), *(column[position] for column in columns)])
            position += 1
    alignment = ["left"] * len(lines[0])
    text = tabulate(lines, tablefmt=_FORMAT, disable_numparse=True, preserve_whitespace=True, colalign=alignment)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _widths(drawing: str) -> list[int]:
    """Return the widths of the columns, read off the rule below the header (users' text is never in it)."""
    rules = [line for line in drawing.splitlines() if line.startswith(_RULE)]
    return [len(rule) for rule in rules[0].split(_GAP)]


def _make_room_for_groups(table: Table, columns: Sequence[list[str]], widths: Sequence[int]) -> None:
    """Widen the last column of each group whose name is longer than its columns are wide."""
    start = len(table.headers)
    for group, length in table.column_groups:
        lacking = cell_len(printable(group)) - _span(widths[start : start + length])
        if lacking > 0:
            last = start + length - 1
            label = columns[last - len(table.headers)][0]
            columns[last - len(table.headers)][0] = label + " " * (widths[last] + lacking - cell_len(label))
        start += length


def _group_lines(table: Table, widths: Sequence[int]) -> str:
    """Return the upper header: the name of each group above a rule as wide as its columns."""
    start = len(table.headers)
    names, rules = [" " * _span(widths[:start])], [" " * _span(widths[:start])]
    for group, length in table.column_groups:
        span = _span(widths[start : start + length])
        name = printable(group)
        names.append(name + " " * (span - cell_len(name)))
        rules.append((_RULE if group else " ") * span)
        start += length
    return "\n".join(_GAP.join(pieces).rstrip() for pieces in (names, rules))
