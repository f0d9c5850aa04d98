"""YAML that reads as given data: an existing text with its values replaced, or a text of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from benchbench.problems import BadInputError
from benchbench.suite.yaml_nodes import PATTERNS, TAG
from benchbench.suite.yaml_source import Document, parse

_MOST_PASSES = 20

_LONG_PAIR = 110
"""Characters from which a pair that is added to a mapping is written on several lines."""

_ORDERED = ("workloads", "methods", "search", "sweep")
"""Mappings whose order means something."""

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]|\\Z")

_PROPERTIES = re.compile(r"(?:(?P<anchor>&\S+)\s+|!\S*\s+)*")


class _Dumper(yaml.SafeDumper):
    """Writes plain data so that neither YAML 1.1 nor 1.2 takes a text for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # Only in double quotes every character survives: line breaks of all kinds are folded elsewhere.
    return dumper.represent_scalar(f"{TAG}str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)
for _name, _pattern in PATTERNS.items():
    _Dumper.add_implicit_resolver(TAG + _name, _pattern, None)


def as_text(content: Any, *, width: float = 120, flow: bool | None = None) -> str:
    """Return plain data as YAML.

    Args:
        content: The data.
        width: The longest line there should be.
        flow: Whether to write brackets: for all of it, nothing, or (`None`) the innermost collections.
    """
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow
    )
    return text


def edited(text: str, content: Mapping[str, Any]) -> str | None:
    """Return a YAML text with its values replaced so that it reads as `content`.

    Comments, order and spelling of everything else stay; comments within what is removed or replaced go with it.

    Args:
        text: A text that can be read, a mapping.
        content: What it shall read as. The order of keys is that of the text, where it means nothing.

    Returns:
        The text, or `None` where edits cannot express the content.
    """
    for _ in range(_MOST_PASSES):
        try:
            document = parse(text, "")
        except BadInputError:  # an anchor went that is used elsewhere
            return None
        assert document.node is not None
        edits = _Edits(document)
        edits.compare((None, None), document.node, document.data, content)
        if not edits.own and not edits.inherited:
            return text
        # What `<<` and aliases bring is compared again once the text that they repeat is as it shall be.
        text = "".join(_pieces(text, edits.own or edits.inherited))
    return None


def _pieces(text: str, edits: list[tuple[int, int, str]]) -> Iterator[str]:
    """Yield the text with the edits made; one that overlaps another is left to the next pass."""
    position = 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        if start >= position:
            yield text[position:start] + new
            position = end
    yield text[position:]


_At = tuple[yaml.Node | None, yaml.Node | int | None]
"""The parent of a node, and the node of its key or its index there."""


@dataclass
class _Edits:
    """The differences between a document and other content, as edits of its text.

    Attributes:
        document: The document.
        own: Start, end and new text of edits to values where they are written.
        inherited: The same, for values that `<<` or an alias brings.
    """

    document: Document
    own: list[tuple[int, int, str]] = field(default_factory=list)
    inherited: list[tuple[int, int, str]] = field(default_factory=list)

    def compare(self, at: _At, node: yaml.Node, old: Any, new: Any) -> None:
        """Collect the edits that make the value of a node another one."""
        key = at[1].value if isinstance(at[1], yaml.ScalarNode) else ""
        if _comparable(old, key) == _comparable(new, key):
            return
        is_alias = at in self.document.aliases
        if is_alias or not new:
            self._replace(at, node, new, self.inherited if is_alias else self.own)
        elif isinstance(node, yaml.MappingNode) and isinstance(new, dict):
            order = [*(each for each in old if each in new), *(each for each in new if each not in old)]
            if key in _ORDERED and order != list(new):
                self._replace(at, node, new, self.own)
            else:
                self._compare_mappings(at, node, old, new)
        elif isinstance(node, yaml.SequenceNode) and isinstance(new, list) and 0 < len(old) <= len(new):
            for index, item in enumerate(node.value):
                self.compare((node, index), item, old[index], new[index])
            self._insert(node, [(None, each) for each in new[len(old) :]], self.own)
        else:
            self._replace(at, node, new, self.own)

    def _compare_mappings(self, at: _At, node: yaml.MappingNode, old: dict[str, Any], new: dict[str, Any]) -> None:
        written = {key.value: (key, value) for key, value in node.value if key.tag != TAG + "merge"}
        removed = [written[key][0].start_mark for key in old if key not in new and key in written]
        if any(key not in new and key not in written for key in old):
            self._replace(at, node, new, self.inherited)
        elif len(removed) == len(node.value) or (not node.flow_style and any(map(self._follows, removed))):
            self._replace(at, node, new, self.own)
        else:
            for key, (key_node, value_node) in written.items():
                if key in new:
                    self.compare((node, key_node), value_node, old[key], new[key])
                else:
                    self._remove(node, key_node, self._span((node, key_node), value_node)[1])
            self._insert(node, [(key, new[key]) for key in new if key not in old], self.own)
            inherited = [key for key in new if key in old and key not in written]
            changed = [key for key in inherited if _comparable(old[key], key) != _comparable(new[key], key)]
            self._insert(node, [(key, new[key]) for key in changed], self.inherited)

    def _span(self, at: _At, node: yaml.Node) -> tuple[int, int]:
        """Return where a value starts and ends in the text, without comments and line breaks after it."""
        if at in self.document.aliases:
            return self.document.aliases[at]
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:  # its end mark is that of what follows
            last = node.value[-1]
            inner = (node, last[0]) if isinstance(node, yaml.MappingNode) else (node, len(node.value) - 1)
            return start, self._span(inner, last[1] if isinstance(node, yaml.MappingNode) else last)[1]
        return start, max(start, len(self.document.text[:end].rstrip("\r\n")))

    def _replace(self, at: _At, node: yaml.Node, new: Any, edits: list[tuple[int, int, str]]) -> None:
        start, end = self._span(at, node)
        text, written = self.document.text, _inline(new)
        if at not in self.document.aliases:
            properties = _PROPERTIES.match(text, start, end)
            anchor = properties["anchor"] if properties else None
            is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
            if anchor:
                written = f"{anchor} {written}"
            elif is_block and isinstance(node, yaml.MappingNode) and isinstance(new, dict) and new:
                written = _indented(as_text(new), node.start_mark.column).strip()
            elif is_block:
                written = f"  {written}"  # items of a sequence can be as far to the left as their key
        if start and not text[start - 1].isspace() and text[start - 1] not in "[{":
            written = f" {written}"
        edits.append((start, end, written))

    def _remove(self, node: yaml.MappingNode, key: yaml.Node, end: int) -> None:
        """Remove a key of a mapping with its value, from block style with the lines that they are on."""
        text, start = self.document.text, key.start_mark.index
        line = start - key.start_mark.column
        if not node.flow_style:
            self.own.append((line, self._next_line(end), ""))
        elif after := re.compile(r"\s*,[ \t]*").match(text, end):
            self.own.append((start, after.end(), ""))
        elif before := re.search(r",\s*$", text[:start]):
            self.own.append((before.start(), end, ""))
        else:
            self.own.append((start, end, ""))

    def _insert(
        self, node: yaml.CollectionNode, pairs: list[tuple[str | None, Any]], edits: list[tuple[int, int, str]]
    ) -> None:
        """Insert pairs at the end of a mapping, or items without keys at the end of a sequence."""
        if not pairs:
            return
        text, last = self.document.text, node.value[-1]
        is_mapping = isinstance(node, yaml.MappingNode)
        end = (
            self._span((node, last[0]), last[1])[1] if is_mapping else self._span((node, len(node.value) - 1), last)[1]
        )
        newline = "\r\n" if "\r\n" in text else "\n"
        if node.flow_style:
            margin = self._margin(node.start_mark) + 4
            for key, value in pairs:
                new = f" {_inline({key: value})[1:-1] if key is not None else _inline(value)}"
                if key is not None and len(new) > _LONG_PAIR:
                    wrapped = as_text({key: value}, width=120 - margin, flow=True).strip()[1:-1]
                    new = f"\n{_indented(wrapped, margin)}".replace("\n", newline)
                edits.append((end, end, f",{new}"))
            return
        if is_mapping:
            column = node.value[0][0].start_mark.column
        else:
            dash = text.rfind("-", 0, self._span((node, 0), node.value[0])[0])
            column = dash - max(text.rfind(each, 0, dash) for each in "\r\n") - 1
        lines = "".join(_indented(_line(key, value), column) for key, value in pairs)
        lines, position = lines.replace("\n", newline), self._next_line(end)
        at_end_without_break = position == len(text) and not text.endswith(("\n", "\r"))
        edits.append((position, position, newline + lines if at_end_without_break else lines))

    def _margin(self, mark: yaml.Mark) -> int:
        """Return how far the line of a mark is indented."""
        start = mark.index - mark.column
        return len(self.document.text[start:]) - len(self.document.text[start:].lstrip(" "))

    def _follows(self, mark: yaml.Mark) -> bool:
        """Return whether something else is before a mark on its line, such as the dash of an item."""
        return self._margin(mark) < mark.column

    def _next_line(self, position: int) -> int:
        found = _BREAK.search(self.document.text, position)
        assert found is not None
        return found.end()


def _comparable(value: Any, key: str) -> str:
    """Return a text that is equal for equal values of equal types, by the order of keys only where it matters."""

    def plain(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            pairs = value.items() if key in _ORDERED else sorted(value.items())
            return {"pairs": [[name, plain(each, name)] for name, each in pairs]}
        return [plain(each, key) for each in value] if isinstance(value, list) else value

    return json.dumps(plain(value, key))


def _inline(value: Any) -> str:
    return as_text([value], width=float("inf"), flow=True).strip()[1:-1]


def _line(key: str | None, value: Any) -> str:
    """Return a pair of a mapping, or an item without a key, on one line if it is short."""
    if key is None:
        return f"- {_inline(value)}\n"
    line = _inline({key: value})[1:-1]
    if len(line) <= _LONG_PAIR and not line.startswith("? "):  # which is no pair outside of braces
        return f"{line}\n"
    return as_text({key: value}, flow=None if isinstance(value, dict | list) else False)


def _indented(text: str, columns: int) -> str:
    return re.sub("^(?=.)", " " * columns, text, flags=re.MULTILINE)
