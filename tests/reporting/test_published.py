"""The published tables against a copy of the poster's own text."""

import itertools
from pathlib import Path

import pytest

from benchbench.problems import BadInputError
from benchbench.reporting import published, to_csv, to_html, to_latex, to_markdown, to_terminal
from benchbench.reporting.table import Table

POSTER = Path(__file__).parent / "poster.txt"
NAMES = {"SAM _{SGD}": "SAM-SGD", "SAM _{AdamW}": "SAM-AdamW"}
FIRST_CELL = {"accuracy": 2, "language": 1, "label-noise": 1, "cost-summary": 1, "sharpness": 1}
"""Position of the first cell after the names of a row, as the poster prints its tables."""
SYMBOLS = {
    r"$\lambda_{max}(H)$": "λ_max(H)",
    r"$tr(H) \times 10^3$": "tr(H) × 10³",
    "δL_{grad}": "δL_grad",
    r"$\delta L_{avg} \times 10^{-3}$": "δL_avg × 10⁻³",
    "L_{val}": "L_val",
    "Acc _{val} (%)": "Acc_val (%)",
}


def printed() -> dict[str, list[list[str]]]:
    """The lines of each of the poster's tables, split at their tabs."""
    parts: list[list[list[str]]] = [[]]
    for line in POSTER.read_text(encoding="utf-8").splitlines():
        if line.startswith("Table "):
            parts.append([])
        elif "\t" in line:
            parts[-1].append(line.rstrip().split("\t"))
    sharpness, accuracy, language, noise, cost = parts
    return {"accuracy": accuracy, "language": language, "label-noise": noise, "cost-summary": cost,
            "sharpness": sharpness}  # fmt: skip


def rows_of_the_poster(name: str) -> list[list[str]]:
    """Method and cells of each row, in the poster's order."""
    start = FIRST_CELL[name]
    return [[NAMES.get(line[start - 1], line[start - 1]), *line[start:]] for line in printed()[name][2:]]


def shipped() -> dict[str, Table]:
    return {table.name: table for table in published.tables(published.load("sassha-paper"))}


@pytest.mark.parametrize("name", FIRST_CELL)
def test_each_cell_is_the_posters_at_its_place(name: str) -> None:
    table = shipped()[name]
    ours = [[row.headers[-1], *(cell.text for cell in row.cells)] for row in table.rows]
    assert ours == rows_of_the_poster(name)
    assert len(table.columns) == len(rows_of_the_poster(name)[0]) - 1


@pytest.mark.parametrize("name", FIRST_CELL)
def test_each_column_has_the_posters_headers(name: str) -> None:
    upper, lower = printed()[name][:2]
    start, table = FIRST_CELL[name], shipped()[name]
    groups = list(itertools.accumulate(upper[start:], lambda before, this: this or before))
    if name == "language":  # its first header names the group of the first column, its second that column
        groups, lower = ["Pretrain / GPT1-mini", *groups[1:]], ["", "Perplexity", *lower[2:]]
    if name == "label-noise":
        lower = ["", *lower[1:]]
    labels = [SYMBOLS.get(label, label) for label in lower[start:]]
    assert [column.label for column in table.columns] == labels
    filled = groups + [groups[-1]] * (len(labels) - len(groups))
    assert [column.group for column in table.columns] == filled


def test_the_categories_are_the_posters() -> None:
    written = [line[0] for line in printed()["accuracy"][2:]]
    filled = list(itertools.accumulate(written, lambda before, this: this or before))
    assert [row.headers[0] for row in shipped()["accuracy"].rows] == filled


def test_the_best_and_second_best_are_marked_by_their_direction() -> None:
    accuracy, language = shipped()["accuracy"], shipped()["language"]
    first = {row.headers[-1]: row.cells[0].figures[0].marks for row in accuracy.rows}
    assert {method: marks for method, marks in first.items() if marks} == {"SASSHA": ("best",), "SAM-SGD": ("second",)}
    perplexity = {row.headers[-1]: row.cells[0].figures[0].marks for row in language.rows}
    assert {method: marks for method, marks in perplexity.items() if marks} == {
        "SASSHA": ("best",), "Sophia-H": ("second",),
    }  # fmt: skip


def test_what_was_not_run_is_a_star_with_a_note() -> None:
    table = shipped()["accuracy"]
    (shampoo,) = (row for row in table.rows if row.headers[-1] == "Shampoo")
    assert [cell.text for cell in shampoo.cells[-2:]] == ["*", "*"]
    assert any(note.startswith("*: ") and "Shampoo" in note for note in table.notes)


@pytest.mark.parametrize("name", FIRST_CELL)
def test_every_format_shows_every_figure(name: str) -> None:
    table = shipped()[name]
    figures = [figure for row in table.rows for cell in row.cells for figure in cell.figures]
    terminal = to_terminal(table, color=False, width=None)
    for text in (to_markdown(table), to_html(table), terminal, to_latex(table), to_csv([table])):
        for figure in figures:
            assert text.count(figure.value) >= sum(other.value == figure.value for other in figures)


def test_an_unknown_publication_is_named_with_the_nearest_one() -> None:
    with pytest.raises(BadInputError) as caught:
        published.load("sasha-paper")
    assert caught.value.problems[0].nearest == "sassha-paper"


def test_a_row_that_is_too_short_is_found(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\ntitle: Own\nsource: me\nn: 3\ntables:\n"
        "  - {name: accuracy, title: T, columns: [{label: a, metrics: [test/accuracy]}], "
        "rows: [{method: A, cells: []}]}\n"
    )
    with pytest.raises(BadInputError, match="0 cells for 1 columns"):
        published.load(str(path))
