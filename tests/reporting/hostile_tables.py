"""Names that users could write, made to break a format."""

from hypothesis import strategies as st

from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow

LATIN = [
    "a&b", "100%_|$#{}~^\\", "<script>alert(1)</script>", "\\end{tabular}", "\\\\[2cm]", "[x]", "*", "\\\\*", "--",
    "---", "a\nb", "a\r\nb", "\x1b[31m", "``quoted''", '"', "'", ",,", "$x$", "{", "}", "{{ table }}", "{% raw %}",
    "&lt;", "&amp;", "=1+1", "a,b", '"a","b"', "a;b", "é ñ ß", "#", "~", "^", "% comment", "\\input{x}", "a  b", "±",
    "–",
]  # fmt: skip
"""What pdfLaTeX can print."""

TEXTS = st.one_of(
    st.sampled_from(LATIN), st.text(max_size=12), st.text(alphabet="<>&\"'`\\{}[]$%#_^~|*-,;= \n\r\t", max_size=12)
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables with hostile texts wherever a user's text can stand."""
    count = draw(st.integers(1, 3))
    columns = tuple(Column(label=draw(TEXTS), group=draw(TEXTS)) for _ in range(count))
    rows = tuple(
        TableRow(headers=(draw(TEXTS), draw(TEXTS)), cells=tuple(draw(cells()) for _ in range(count)))
        for _ in range(draw(st.integers(1, 3)))
    )
    notes = tuple(draw(st.lists(TEXTS, max_size=2)))
    return Table(
        name="accuracy", title=draw(TEXTS), headers=("Category", "Method"), columns=columns, rows=rows, notes=notes
    )


def cells() -> st.SearchStrategy[Cell]:
    """Cells with a figure, words, both, or the reason why there is none."""
    figure = Figure(value="92.00", spread="0.17", mean=92.001, std=0.1712, n=3)
    marked = st.sampled_from([figure, *(figure.model_copy(update={"marks": (mark,)}) for mark in ("best", "second"))])
    return st.one_of(
        st.builds(lambda one, remark: Cell(figures=(one,), remark=remark), marked, TEXTS),
        st.builds(lambda reason: Cell(reason=reason), TEXTS.filter(bool)),
    )


def hostile_table() -> Table:
    """A table with all of LATIN as methods, workloads, groups and notes."""
    cell = Cell(figures=(Figure(value="1.00", mean=1.0, n=1),))
    rows = tuple(TableRow(headers=(name, name), cells=(cell, Cell(reason=name))) for name in LATIN)
    columns = (Column(label=LATIN[1], group=LATIN[1]), Column(label=LATIN[3], group=LATIN[3]))
    return Table(
        name="accuracy",
        title=" ".join(LATIN),
        headers=("Category", "Method"),
        columns=columns,
        rows=rows,
        notes=tuple(LATIN),
    )
