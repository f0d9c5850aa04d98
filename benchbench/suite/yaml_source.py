"""YAML files as plain data that knows its lines: YAML 1.2 scalars, no tags, bounded in size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import JsonValue

from benchbench.problems import BadInputError, Problem, SourceLocation, shorten
from benchbench.suite.yaml_nodes import DEEPEST, MOST_VALUES, PATTERNS, TAG, TOO_MANY, Loader, TooMuchError

FieldPath = tuple[str | int, ...]
"""Keys and indices that lead from the top of a document to a value."""

LARGEST_FILE = 1024 * 1024
"""Bytes."""

_LONGEST_INTEGER = 100


@dataclass
class Document:
    """The content of a YAML file (or of an option's value).

    Attributes:
        data: Plain data; all keys are strings.
        file: Name of the file or option, for problems.
        node: What the text was composed to, with the line of everything; `None` where there are no lines.
        text: The text that it was read from.
        aliases: Start and end of each alias in the text, by parent node and key node or index.
        changed: Paths of values that `--set` has put into the data.
    """

    data: Any  # JSON in all its forms, too wide a union to work with
    file: str
    node: yaml.Node | None
    text: str = ""
    aliases: Mapping[tuple[yaml.Node | None, yaml.Node | int | None], tuple[int, int]] = field(default_factory=dict)
    changed: list[FieldPath] = field(default_factory=list)

    def location(self, path: FieldPath) -> SourceLocation:
        """Return the line of a value's key, or of an item of a sequence; of the nearest parent if there is no value."""
        if any(path[: len(each)] == each for each in self.changed):
            return SourceLocation("--set", field=dotted(path))
        key_node = node = self.node
        for key in path:
            entry = _entry(node, key)
            if entry is None:
                break
            key_node, node = entry
        return SourceLocation(self.file, key_node.start_mark.line + 1 if key_node else None, dotted(path))

    def value(self, path: FieldPath) -> Any:
        """Return the value at a path, or `None`."""
        node = self.data
        for key in path:
            if not _is_in(key, node):
                return None
            node = node[key]
        return node

    def holds(self, path: FieldPath) -> bool:
        """Return whether there is a value at a path, if only `null`."""
        return _is_in(path[-1], self.value(path[:-1]))

    def problem(self, path: FieldPath, message: str, value: str = "", nearest: str | None = None) -> Problem:
        """Return a problem with the value at `path`."""
        return self.location(path).problem(message, value, nearest)


def _is_in(key: str | int, data: object) -> bool:
    return key in data if isinstance(data, dict) else isinstance(data, list) and key in range(len(data))


def _entry(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key, even one that `<<` brings, and its value; an item of a sequence is its own key."""
    if isinstance(node, yaml.SequenceNode):
        return (node.value[key], node.value[key]) if key in range(len(node.value)) else None
    sources: list[yaml.Node] = []
    for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
        if key_node.tag == TAG + "merge":
            sources += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        elif key_node.value == key:
            return key_node, value_node
    return next(filter(None, (_entry(source, key) for source in sources)), None)


def dotted(path: FieldPath) -> str:
    """Return a path as text, such as `workloads.small.epochs` or `seeds.0`."""
    return ".".join(map(str, path))


def read(path: Path) -> Document:
    """Return the content of a YAML file whose top level is a mapping.

    Raises:
        BadInputError: The file cannot be read, or is not such a file.
    """
    document = parse(_text(path), str(path))
    if document.data is None:
        raise BadInputError([Problem("the file is empty", file=str(path))])
    if not isinstance(document.data, dict):
        raise BadInputError([document.problem((), "the top level must be a mapping of keys to values")])
    return document


def parse(text: str, file: str, *, lines: bool = True) -> Document:
    """Parse YAML text.

    Args:
        text: The text, one document.
        file: What problems name as its origin.
        lines: Whether lines mean something in that origin.

    Returns:
        The content, `None` when the text is empty.

    Raises:
        BadInputError: The text is not YAML, or asks for more than plain data of moderate size and depth.
    """
    origin = SourceLocation(file)
    try:
        loader = Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = SourceLocation(file, mark.line + 1 if mark and lines else None)
        raise BadInputError([origin.problem(_reason(error))]) from None
    except yaml.reader.ReaderError as error:
        origin = SourceLocation(file, text.count("\n", 0, error.position) + 1 if lines else None)
        message = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise BadInputError([origin.problem(message)]) from None
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, in PyYAML's scanner
        raise BadInputError([origin.problem(f"not valid YAML: {error}")]) from None
    if node is None:
        return Document(None, file, None)
    return Document(_Builder(file, lines).build(node), file, node if lines else None, text, loader.aliases)


def _reason(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, TooMuchError):
        return str(error.problem)
    parts = [part for part in (error.problem, error.context) if part]
    if parts[0].startswith("but "):  # PyYAML writes some sentences from the context to the problem
        parts.reverse()
    return f"not valid YAML: {', '.join(parts)}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError([Problem(f"cannot be read: {reason}", file=str(path))]) from None
    if len(content) > LARGEST_FILE:
        raise BadInputError([Problem(f"larger than {LARGEST_FILE:,} bytes", file=str(path))])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"not UTF-8: byte 0x{content[error.start]:02x} at byte {column} of the line"
        raise BadInputError([Problem(message, file=str(path), line=line)]) from None


class _Builder:
    """Turns nodes into data, aliases written out."""

    def __init__(self, file: str, lines: bool) -> None:
        self._file = file
        self._lines = lines
        self._count = 0
        self._open: set[yaml.Node] = set()
        self._problems: list[Problem] = []

    def build(self, node: yaml.Node) -> JsonValue:
        data = self._value(node, ())
        if self._problems:
            raise BadInputError(list(dict.fromkeys(self._problems)))
        return data

    def _value(self, node: yaml.Node, path: FieldPath) -> JsonValue:
        if isinstance(node, yaml.ScalarNode):
            self._counted(node)
            return self._scalar(node, path)
        with self._entered(node, path):
            if node.tag == TAG + "map" and isinstance(node, yaml.MappingNode):
                return {key: self._value(value, (*path, key)) for key, (_, value) in self._pairs(node, path).items()}
            if node.tag == TAG + "seq" and isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        self._complain(path, node, f"the tag {_short(node.tag)} is not allowed")
        return None

    def _pairs(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key and value nodes by key; `<<` brings what is not set here, earlier sources first."""
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            self._counted(key_node)
            if key_node.tag == TAG + "merge":
                for source in self._sources(value_node, path):
                    with self._entered(source, path):
                        merged = self._pairs(source, path) | merged
            elif not isinstance(key_node, yaml.ScalarNode):
                self._complain(path, key_node, "a key must be a single word or text")
            elif key_node.value in own:
                first = own[key_node.value][0].start_mark.line + 1
                where = f", already set on line {first}" if self._lines else ""
                self._complain((*path, key_node.value), key_node, f"duplicate key{where}")
            else:
                own[key_node.value] = (key_node, value_node)
        return merged | own

    def _sources(self, node: yaml.Node, path: FieldPath) -> Iterator[yaml.MappingNode]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in nodes:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self._complain(path, source, "`<<` merges mappings only")

    def _scalar(self, node: yaml.ScalarNode, path: FieldPath) -> JsonValue:
        kind = node.tag.removeprefix(TAG)
        text: str = node.value
        if kind in ("str", "merge"):  # a value that reads `<<` is text
            return text
        if kind == node.tag or kind not in _CONSTRUCT:
            self._complain(path, node, f"the tag {_short(node.tag)} is not allowed")
        elif not PATTERNS[kind].match(text):
            self._complain(path, node, f"this is not of the type !!{kind}")
        elif kind == "int" and len(text) > _LONGEST_INTEGER:
            self._complain(path, node, f"a number of more than {_LONGEST_INTEGER} digits")
        else:
            return _CONSTRUCT[kind](text)
        return None

    @contextmanager
    def _entered(self, node: yaml.Node, path: FieldPath) -> Iterator[None]:
        self._counted(node)
        if node in self._open:
            self._give_up(node, path, "an alias to something that it is a part of")
        if len(self._open) >= DEEPEST:
            self._give_up(node, path, f"nested deeper than {DEEPEST}")
        self._open.add(node)
        yield
        self._open.remove(node)

    def _counted(self, node: yaml.Node) -> None:
        self._count += 1
        if self._count > 2 * MOST_VALUES:
            self._give_up(node, (), TOO_MANY)

    def _complain(self, path: FieldPath, node: yaml.Node, message: str) -> None:
        line = node.start_mark.line + 1 if self._lines else None
        self._problems.append(Problem(message, self._file, line, dotted(path)))

    def _give_up(self, node: yaml.Node, path: FieldPath, message: str) -> NoReturn:
        self._complain(path, node, message)
        raise BadInputError(self._problems)


def _integer(text: str) -> int:
    # `010` is ten: in YAML 1.2 only `0o` and `0x` change the base.
    unsigned = text.lstrip("+-")
    return int(text, 0) if unsigned[:2] in ("0o", "0x") else int(text)


_CONSTRUCT: dict[str, Callable[[str], JsonValue]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


def _short(tag: str) -> str:
    return shorten(tag.replace(TAG, "!!"))
