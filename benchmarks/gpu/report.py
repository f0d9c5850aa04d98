"""Findings of a section: figures beside their targets, facts, an error; as JSON, in the terminal, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.figures import MISSED, described


@dataclass(frozen=True)
class Figure:
    """A number, and the target that it has, if any.

    Attributes:
        what: What was measured.
        value: The number.
        unit: Its unit, with a space before it where one belongs.
        at_most: It should not be larger.
        at_least: It should not be smaller.
        note: What else there is to say.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Return whether the target is reached, `None` without a target; NaN reaches none."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_most is None or self.value <= self.at_most
        return above and (self.at_least is None or self.value >= self.at_least)

    def __str__(self) -> str:
        note = f" - {self.note}" if self.note else ""
        return described(self.what, self.value, self.unit, at_most=self.at_most, at_least=self.at_least, note=note)


@dataclass
class Findings:
    """Findings of one section on one machine with one state of the code.

    Attributes:
        section: Its name.
        made_by: What its numbers depend on: device, commit, versions.
        figures: Numbers.
        facts: What is no number, by what it is about.
        seconds: How long it took.
        error: Why it did not get to its end; empty if it did.
    """

    section: str
    made_by: Mapping[str, str]
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""

    def figure(self, what: str, value: float, unit: str = "", **target: float | str | None) -> None:
        """Note a figure, and print it."""
        self.figures.append(Figure(what, float(value), unit, **target))  # type: ignore[arg-type]
        print(f"  {self.figures[-1]}", flush=True)

    def fact(self, what: str, text: object) -> None:
        """Note a fact, and print it."""
        self.facts[what] = str(text)
        print(f"  {what}: {text}", flush=True)

    def write(self, folder: Path) -> None:
        """Write the findings to a folder, complete or not at all."""
        path = folder / f"{self.section}.json"
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        unfinished.replace(path)


def read(folder: Path, section: str) -> Findings | None:
    """Return what a section has found before, or `None` if there is nothing that can be read."""
    try:
        content = json.loads((folder / f"{section}.json").read_text(encoding="utf-8"))
        figures = [Figure(**figure) for figure in content.pop("figures")]
        return Findings(**content, figures=figures)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def to_markdown(title: str, all_findings: Sequence[Findings]) -> str:
    """Return a report: machine, targets reached and missed, then every section."""
    lines = [f"# {title}", ""]
    for name, text in all_findings[0].made_by.items() if all_findings else ():
        lines.append(f"- {name}: {text}")
    figures = [(found.section, figure) for found in all_findings for figure in found.figures]
    lines += ["", "## Targets", "", "| section | figure | value | target | |", "| --- | --- | --- | --- | --- |"]
    for section, figure in figures:
        if figure.is_met is not None:
            met = "reached" if figure.is_met else f"**{MISSED.lower()}**"
            lines.append(f"| {section} | {_cell(figure.what)} | {_number(figure)} | {_target(figure)} | {met} |")
    for found in all_findings:
        lines += ["", f"## {found.section}", ""]
        lines += [f"{found.seconds:.0f} s." + (f" **Did not finish: {_cell(found.error)}**" if found.error else "")]
        if found.figures:
            lines += ["", "| figure | value | note |", "| --- | --- | --- |"]
            lines += [f"| {_cell(f.what)} | {_number(f)} | {_cell(f.note)} |" for f in found.figures]
        if found.facts:
            lines += [""] + [f"- {name}: {_cell(text)}" for name, text in found.facts.items()]
    return "\n".join(lines) + "\n"


def _number(figure: Figure) -> str:
    return f"{figure.value:.4g}{figure.unit}"


def _target(figure: Figure) -> str:
    parts = [("<=", figure.at_most), (">=", figure.at_least)]
    return ", ".join(f"{sign} {bound:g}{figure.unit}" for sign, bound in parts if bound is not None)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
