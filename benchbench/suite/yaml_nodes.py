"""YAML text as PyYAML's nodes: the scalars of YAML 1.2, bounded in number and depth."""

from __future__ import annotations

import re
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"

MOST_VALUES = 20_000
"""Values a document may have once its aliases are written out."""

DEEPEST = 40
"""Mappings and sequences inside one another."""

TOO_MANY = f"more than {MOST_VALUES:,} values (with every alias written out)"

_SURROGATE = re.compile("[\ud800-\udfff]")


class TooMuchError(yaml.MarkedYAMLError):
    """Valid YAML, but more of it than a suite can need."""


class Loader(yaml.SafeLoader):
    """Composes nodes with the scalars of YAML 1.2 (core schema), up to a depth and a number of nodes.

    Attributes:
        aliases: Start and end of each alias in the text, by parent node and key node or index.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML fills it for each class

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._count = 0
        self.aliases: dict[tuple[yaml.Node | None, yaml.Node | int | None], tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node; PyYAML calls this for every node, recursively.

        Raises:
            TooMuchError: There is too much of it, or it is nested too deep.
            ComposerError: A scalar is no text.
        """
        self._depth += 1
        self._count += 1
        event = self.peek_event()  # type: ignore[no-untyped-call]
        start = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.aliases[parent, index] = (start.index, event.end_mark.index)  # type: ignore[union-attr]
        if self._depth > DEEPEST:
            raise TooMuchError(problem=f"nested deeper than {DEEPEST}", problem_mark=start)
        if self._count > 2 * MOST_VALUES:  # keys are nodes as well
            raise TooMuchError(problem=TOO_MANY, problem_mark=start)
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and _SURROGATE.search(node.value):
            raise yaml.composer.ComposerError(problem="half of a surrogate pair", problem_mark=start)
        self._depth -= 1
        return node


_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}
PATTERNS = {name: re.compile(f"(?:{pattern})\\Z") for name, pattern in _SCALARS.items()}
for _name, _pattern in PATTERNS.items():
    Loader.add_implicit_resolver(TAG + _name, _pattern, None)
