"""YAML texts of plain data in every style."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]


class Text:
    """YAML text of plain data, in block and flow style as drawn, which remembers the line of every path."""

    def __init__(self, data: object, draw: st.DrawFn) -> None:
        self._draw = draw
        self._text = ""
        self.lines: dict[Path, int] = {}
        self._block(data, (), 0)

    def __str__(self) -> str:
        return self._text

    def _block(self, value: Any, path: Path, indent: int) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            self._text += self._draw(st.sampled_from(["", "\n", "# a comment: {\n", "\r\n"])) + " " * indent
            self._note((*path, key))
            self._text += f"{json.dumps(key)}:" if isinstance(value, dict) else "-"
            if isinstance(each, dict | list) and each and self._draw(st.booleans()):
                self._text += self._draw(st.sampled_from(["\n", "  # here\n"]))
                self._block(each, (*path, key), indent + 2)
            else:
                self._text += self._draw(
                    st.sampled_from([" ", f"\n{' ' * (indent + 2)}"] if isinstance(value, dict) else [" "])
                )
                self._flow(each, (*path, key), indent + 2)
                self._text += self._draw(st.sampled_from(["\n", " # there\n"]))

    def _flow(self, value: Any, path: Path, indent: int) -> None:
        if not isinstance(value, dict | list):
            self._text += json.dumps(value)
            return
        self._text += "{" if isinstance(value, dict) else "["
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            self._text += self._draw(st.sampled_from(["", f"\n{' ' * indent}"]))
            self._note((*path, key))
            self._text += f"{json.dumps(key)}: " if isinstance(value, dict) else ""
            self._flow(each, (*path, key), indent)
            self._text += ","
        self._text += "}" if isinstance(value, dict) else "]"

    def _note(self, path: Path) -> None:
        self.lines[path] = self._text.count("\n") + 1
