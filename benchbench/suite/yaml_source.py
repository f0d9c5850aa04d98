"""YAML files as plain data with the place of every value: YAML 1.2 scalars, no tags, bounded in size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import JsonValue

from benchbench.problems import BadInputError, Place, Problem, shorten
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
        places: Where each value stands: the line of its key, or its own line in a sequence.
    """

    data: Any  # JSON in all its forms, too wide a union to work with
    places: dict[FieldPath, Place] = field(default_factory=dict)

    def place(self, path: FieldPath) -> Place:
        """Return where a value stands; for one that is not there, where its nearest parent stands."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        return replace(self.places.get(known, Place()), field=dotted(path))

    def value(self, path: FieldPath) -> JsonValue:
        """Return what stands at a path, or `None`."""
        node: JsonValue = self.data
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node

    def problem(self, path: FieldPath, message: str, value: str = "", nearest: str | None = None) -> Problem:
        """Return a problem with the value at `path`."""
        return self.place(path).problem(message, value, nearest)


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
    origin = Place(file)
    try:
        loader = Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = Place(file, mark.line + 1 if mark and lines else None)
        raise BadInputError([origin.problem(_reason(error))]) from None
    except yaml.reader.ReaderError as error:
        origin = Place(file, text.count("\n", 0, error.position) + 1 if lines else None)
        message = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise BadInputError([origin.problem(message)]) from None
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, in PyYAML's scanner
        raise BadInputError([origin.problem(f"not valid YAML: {error}")]) from None
    if node is None:
        return Document(None, {(): Place(file, 1 if lines else None)})
    return _Builder(file, lines).build(node)


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
    """Turns nodes into data, aliases written out, and notes where each value stands."""

    def __init__(self, file: str, lines: bool) -> None:
        self._file = file
        self._lines = lines
        self._count = 0
        self._open: set[yaml.Node] = set()
        self._problems: list[Problem] = []
        self._places: dict[FieldPath, Place] = {}

    def build(self, node: yaml.Node) -> Document:
        self._note((), node)
        data = self._value(node, ())
        if self._problems:
            raise BadInputError(list(dict.fromkeys(self._problems)))
        return Document(data, self._places)

    def _value(self, node: yaml.Node, path: FieldPath) -> JsonValue:
        if isinstance(node, yaml.ScalarNode):
            self._counted(node)
            return self._scalar(node, path)
        with self._entered(node, path):
            if node.tag == TAG + "map" and isinstance(node, yaml.MappingNode):
                pairs = self._pairs(node, path)
                for key, (key_node, _) in pairs.items():
                    self._note((*path, key), key_node)
                return {key: self._value(value, (*path, key)) for key, (_, value) in pairs.items()}
            if node.tag == TAG + "seq" and isinstance(node, yaml.SequenceNode):
                for index, item in enumerate(node.value):
                    self._note((*path, index), item)
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

    def _note(self, path: FieldPath, node: yaml.Node) -> None:
        self._places[path] = Place(self._file, self._line(node))

    def _line(self, node: yaml.Node) -> int | None:
        return node.start_mark.line + 1 if self._lines else None

    def _complain(self, path: FieldPath, node: yaml.Node, message: str) -> None:
        self._problems.append(Problem(message, self._file, self._line(node), dotted(path)))

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
