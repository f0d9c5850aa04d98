from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchbench.problems import printable
from benchbench.reporting import tables, to_markdown
from benchbench.reporting.accuracy import accuracy_table
from benchbench.reporting.table import Table, all_notes
from tests.helpers.synthetic_rows import PAPER, row, rows, suite

NASTY = [
    "a|b", "a\\|b", "a\\", "`code`", "*a*", "**b**", "_c_", "__d__", "~~e~~", "<b>", "<script>x</script>",
    "[x](http://y)", "![x](y)", "&lt;", "&amp;", "C#", "# h", "a ##", "- i", "1. i", "> q", "$x$", "a\nb",
    "a\r\nb", "\x1b[1m", "|", "||", "---", ":-:", "{x}", "100%_|$", "日本語", "a  b", "007", "1e-3", "None",
]  # fmt: skip


def parse(text: str) -> list[Token]:
    """Read Markdown as GitHub does, as far as tables and strikethrough go."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def plain(token: Token) -> str:
    """The text of an inline token: nothing but plain text, bold and italic may be in it."""
    kinds = {child.type for child in token.children}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "em_open", "em_close"}, kinds
    return "".join(child.content for child in token.children)


def grid(text: str) -> list[list[str]]:
    """The cells of the one table in a Markdown text, its header row first."""
    tokens = parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    lines: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            lines.append([])
        if before.type in {"th_open", "td_open"}:
            lines[-1].append(plain(token))
    return lines


def test_the_whole_of_a_small_table():
    made = suite({"A": "One", "B": "One", "C": "Two"}, title="Digits")
    lost = [row("C", seed, outcome="diverged") for seed in range(3)]
    table = accuracy_table(made, [*rows("A", 0.9, 0.9, 0.9), *rows("B", 0.95, 0.95), *lost])
    assert to_markdown(table).splitlines() == [
        "### Test accuracy (%) after the final epoch – Digits",
        "",
        "| Category   | Method   | digits                        |",
        "|:-----------|:---------|:------------------------------|",
        "| One        | A        | *90.00 ± 0.00*                |",
        "|            | B        | **95.00 ± 0.00** (2 of 3 run) |",
        "| Two        | C        | \\*                            |",
        "",
        "- Bold: best of its column; italic: second best.",
        "- Mean ± sample standard deviation (ddof = 1); n = 3 seeds unless a cell says otherwise.",
        "- Differences are not tested: that takes 5 seeds.",
        "- The best of digits, B, rests on 2 seeds, others on up to 3.",
        "- \\*: diverged (3): C.",
    ]


def test_every_cell_of_the_tables_can_be_read_back():
    workloads = ("digits", "mlp")
    runs = [row(m, s, 0.9 + i / 100, workload=w) for w in workloads for i, m in enumerate(PAPER) for s in range(3)]
    for table in tables(suite(PAPER, workloads), runs):
        lines = grid(to_markdown(table))
        assert len(lines) == 1 + len(PAPER)
        assert [line[1] for line in lines[1:]] == list(PAPER)
        assert [line[0] for line in lines[1:]] == ["First-order", "", "", "", "Second-order", "", "", ""]
        for line, source in zip(lines[1:], table.rows, strict=True):
            assert line[2:] == [cell.text for cell in source.cells]


def test_with_several_workloads_columns_carry_their_names():
    cost = tables(suite(PAPER, ("digits", "mlp"), tables=("cost",)), [])[0]
    header = grid(to_markdown(cost))[0]
    assert header[2] == "digits: grads"
    assert header[-1] == "mlp: relative"


def test_with_one_workload_its_name_is_a_heading():
    (cost,) = tables(suite(PAPER, tables=("cost",)), [])
    text = to_markdown(cost)
    assert grid(text)[0][2:4] == ["grads", "HVPs"]
    assert "\n#### digits\n" in text


def check(table: Table, labels: list[str]) -> None:
    text = to_markdown(table)
    lines = grid(text)
    assert {len(line) for line in lines} == {len(table.headers) + len(table.columns)}
    assert [line[len(table.headers) - 1] for line in lines[1:]] == [printable(label).strip() for label in labels]
    tokens = parse(text)
    headings = [plain(token) for before, token in pairwise(tokens) if before.type == "heading_open"]
    assert headings == [printable(table.title).strip()]
    notes = [plain(token) for before, token in pairwise(tokens) if before.type == "paragraph_open"]
    assert notes == [printable(note) for note in all_notes(table, best="Bold", second="italic")]


def test_markup_of_a_user_is_shown_as_it_was_written():
    for nasty in NASTY:
        made = suite(dict.fromkeys(NASTY, nasty), (nasty,), seeds=(0,), title=nasty)
        runs = [row(label, 0, 0.5, workload=nasty) for label in NASTY]
        check(accuracy_table(made, runs), NASTY)


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=4, unique=True),
    st.text(alphabet=st.sampled_from("|\\`*_[]()<>~&#$!-a \n"), max_size=12),
)
@example(["\\|"], "\\")
def test_a_table_keeps_its_cells_whatever_the_labels_are(labels, markup):
    made = suite(dict.fromkeys(labels, markup), (markup,), title=markup)
    check(accuracy_table(made, [row(labels[0], 0, 0.5, workload=markup)]), labels)
