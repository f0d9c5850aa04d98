"""Targets that are files: where they lie, and what stands in them, by which a run is known."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from benchbench.suite.yaml_source import FieldPath
from benchbench.values import Component

FILE_TARGET = re.compile(r"(?P<file>[^:]+\.py|[A-Za-z]:[^:]+\.py):(?P<attribute>[\w.]+)")


@dataclass(frozen=True)
class FileTargets:
    """Finds the files that a suite names.

    Attributes:
        folder: Where relative paths start.
        complain: Told where a target stands, what is wrong with it, and the target.
    """

    folder: Path
    complain: Callable[[FieldPath, str, str], None]

    def component(
        self,
        target: str,
        path: FieldPath,
        parameters: Mapping[str, JsonValue],
        of_parameter: Callable[[str], FieldPath],
    ) -> Component:
        """Return a component with the paths of all files that it names made absolute, and their digest.

        Args:
            target: Its target.
            path: Where that stands.
            parameters: Its parameters.
            of_parameter: Where a parameter stands.
        """
        located, content = self._located(target, path)
        values, more = self._all_located(parameters, of_parameter)
        return Component(target=located, parameters=values, digest=_digest(content + more))

    def _all_located(
        self, values: Mapping[str, JsonValue], path: Callable[[str], FieldPath]
    ) -> tuple[dict[str, JsonValue], bytes]:
        """Return values with every file target in them located, and the content of these files."""
        located: dict[str, JsonValue] = {}
        content = b""
        for name, value in values.items():
            more = b""
            located[name] = value
            if isinstance(value, str):
                located[name], more = self._located(value, path(name))
            elif isinstance(value, dict):
                located[name], more = self._all_located(value, functools.partial(_below, path(name)))
            content += more
        return located, content

    def _located(self, target: str, path: FieldPath) -> tuple[str, bytes]:
        """Return a file target with its absolute path, and the file's content; any other target as it is."""
        match = FILE_TARGET.fullmatch(target)
        if match is None:
            return target, b""
        file = (self.folder / match["file"]).resolve()
        try:
            return f"{file}:{match['attribute']}", file.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else error
            self.complain(path, f"{file} cannot be read: {reason}", target)
            return target, b""


def _below(path: FieldPath, name: str) -> FieldPath:
    return (*path, name)


def _digest(content: bytes) -> str | None:
    return hashlib.sha256(content).hexdigest()[:16] if content else None
