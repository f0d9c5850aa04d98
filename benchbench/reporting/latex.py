"""Tables for LaTeX, in the style of booktabs."""

from __future__ import annotations

import re

from benchbench.problems import printable
from benchbench.reporting.table import Figure, Table, all_notes, shown_headers

_GREEK = (
    "alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "varphi", "chi", "psi", "omega",
)  # fmt: skip
_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break, a bracket would start its optional argument
    "]": "{]}",
    "*": "{*}",  # and a star would be its variant
    "-": "-{}",  # before another one: two would become a dash
    ",": ",{}",  # before another one: two would become a quotation mark
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "×": r"$\times$",
    "✓": r"$\surd$",
    "–": "--",
    "⁻": r"$^-$",
    **{sign: rf"$^{digit}$" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{sign: rf"$_{digit}$" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{sign: rf"$\{name}$" for sign, name in zip("αβγδεζηθκλμνξπρστφχψω", _GREEK, strict=True)},
}
_PAIRED = {"-", ","}
_SPECIAL = re.compile(
    "|".join(rf"{re.escape(sign)}(?={sign})" if sign in _PAIRED else re.escape(sign) for sign in _COMMANDS)
)
_MARKUP = {"best": r"\textbf", "second": r"\underline"}


def to_latex(table: Table) -> str:
    """Return the table as a `table` environment that needs booktabs and graphicx, without a line end.

    A table that is wider than the line is shrunk to it. Small Greek letters and raised or lowered digits are written as
    mathematics. Other letters outside Latin-1 that users wrote are passed on; pdfLaTeX knows few of them, LuaLaTeX all
    that its font has.
    """
    names = len(table.headers)
    notes = [rf"{escape(note)}\par" for note in all_notes(table, best="Bold", second="underlined")]
    body: list[str] = []
    for block in table.blocks:
        body.append(r"\midrule")
        for headers, row in zip(shown_headers(block), block, strict=True):
            body.append(_line([*map(escape, headers), *(cell.written(_figure, escape) for cell in row.cells)]))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.title)}}}",
        rf"\sbox0{{\begin{{tabular}}{{{'l' * names}{'r' * len(table.columns)}}}",
        r"\toprule",
        *_group_lines(table),
        _line([escape(name) for name in (*table.headers, *(column.label for column in table.columns))]),
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        *([r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return `text` so that LaTeX prints it as it is."""
    return _SPECIAL.sub(lambda match: _COMMANDS[match[0]], printable(text))


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _group_lines(table: Table) -> list[str]:
    """Return the upper header: each group's name over its columns, with a rule of that width below."""
    if not any(column.group for column in table.columns):
        return []
    names, rules = [""] * len(table.headers), []
    start = len(table.headers) + 1
    for group, length in table.column_groups:
        names.append(rf"\multicolumn{{{length}}}{{c}}{{{escape(group)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + length - 1}}}"] if group else []
        start += length
    return [_line(names), " ".join(rules)]


def _figure(figure: Figure) -> str:
    text = escape(figure.text)
    for mark in figure.marks:
        text = f"{_MARKUP[mark]}{{{text}}}" if mark in _MARKUP else text
    return f"{text}{escape(figure.sign)}"
