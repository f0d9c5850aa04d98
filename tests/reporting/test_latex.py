import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given

from benchbench.problems import printable
from benchbench.reporting import published, to_latex
from benchbench.reporting.latex import escape
from benchbench.reporting.table import Cell, Column, Figure, Table, TableRow
from tests.reporting.hostile_tables import TEXTS, hostile_table
from tests.reporting.hostile_tables import tables as hostile_tables

COMMANDS = {
    "textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<", "textgreater": ">",
    "textbar": "|", "textquotedbl": '"', "textquotesingle": "'", "textasciigrave": "`",
}  # fmt: skip
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip
SIGNS = {r"$\pm$": "±", r"$\times$": "×", r"$\surd$": "✓", r"$^\dagger$": "†", r"$^\ddagger$": "‡", "$^-$": "⁻",
         **{f"$\\{name}$": sign for sign, name in GREEK.items()},
         **{f"$^{digit}$": sign for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
         **{f"$_{digit}$": sign for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}}  # fmt: skip
TOKEN = re.compile(
    r"\\(text\w+)\{\}|\\([{}$&#%_])|(\$[^$]+\$)|\{([\[\]*])\}|(-)\{\}|(,)\{\}|(--)|([^\\{}$&#%_^~])", re.S
)


def printed(source: str) -> str:
    """What LaTeX prints for escaped text, read by its own rules; anything unescaped is an error."""
    text, position = "", 0
    while position < len(source):
        match = TOKEN.match(source, position)
        assert match, f"unescaped: {source[position:]!r}"
        command, sign, math, grouped, hyphen, comma, dash, plain = match.groups()
        known = COMMANDS[command] if command else SIGNS[math] if math else ""
        text += known or sign or grouped or hyphen or comma or ("–" if dash else plain)
        position = match.end()
    return text


@given(TEXTS)
def test_texts_are_printed_as_they_were_written(text):
    assert printed(escape(text)) == printable(text)


@given(hostile_tables())
def test_a_line_per_row_and_a_cell_per_column(table):
    body = to_latex(table).partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == len(table.rows) + 1 + any(column.group for column in table.columns)
    for line in lines[-len(table.rows) :]:
        assert len(re.findall(r"(?<!\\)&", line)) == len(table.headers) + len(table.columns) - 1


def test_the_whole_of_a_small_table():
    table = Table(
        name="accuracy",
        title="Title",
        headers=("Category", "Method"),
        columns=(Column(label="x", group="G"), Column(label="y", group="G")),
        rows=(
            TableRow(
                headers=("One", "A_1"),
                cells=(
                    Cell(figures=(Figure(value="9.50", spread="0.25", marks=("best",)),)),
                    Cell(reason="diverged (3)"),
                ),
            ),
            TableRow(
                headers=("One", "B"),
                cells=(
                    Cell(figures=(Figure(value="8.00", marks=("second",)), Figure(value="7.00"))),
                    Cell(remark="varies"),
                ),
            ),
        ),
        notes=("100 % noted.",),
    )  # fmt: skip
    assert to_latex(table).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Title}",
        r"\sbox0{\begin{tabular}{llrr}",
        r"\toprule",
        r" &  & \multicolumn{2}{c}{G} \\",
        r"\cmidrule(lr){3-4}",
        r"Category & Method & x & y \\",
        r"\midrule",
        r"One & A\_1 & \textbf{9.50 $\pm$ 0.25} & {*} \\",
        r" & B & \underline{8.00} / 7.00 & varies \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        r"Bold: best of its column; underlined: second best.\par",
        r"100 \% noted.\par",
        r"\end{minipage}",
        r"\end{table}",
    ]


def pages_of(fragments: str, folder: Path) -> bytes:
    head = "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{textcomp, booktabs, graphicx}\n"
    document = f"{head}\\begin{{document}}\n{fragments}\n\\end{{document}}\n"
    (folder / "tables.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=folder, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "tables.pdf").read_bytes()


needs_pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, with booktabs")


@needs_pdflatex
def test_hostile_names_compile(tmp_path: Path):
    assert pages_of(to_latex(hostile_table()), tmp_path).startswith(b"%PDF")


@needs_pdflatex
def test_the_published_tables_compile(tmp_path: Path):
    tables = published.tables(published.load("sassha-paper"))
    assert pages_of("\n\n".join(map(to_latex, tables)), tmp_path).startswith(b"%PDF")
