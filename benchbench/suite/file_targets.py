"""Targets that are files: where they lie, and the content by which a run is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from benchbench import plugin_files
from benchbench.plugin_files import FILE_TARGET
from benchbench.suite.yaml_source import FieldPath
from benchbench.values import Component


@dataclass(frozen=True)
class FileTargets:
    """Finds the files that a suite names, and reads each once.

    Attributes:
        folder: Where relative paths start.
        complain: Told where a target stands, what is wrong with it, and the target.
    """

    folder: Path
    complain: Callable[[FieldPath, str, str], None]
    _contents: dict[Path, bytes] = field(default_factory=dict)

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
        located = self._located(target, path)
        values = self._all_located(parameters, lambda name, *inner: (*of_parameter(name), *inner))
        return Component(target=located, parameters=values, digest=plugin_files.digest(located, values, self._read))

    def _all_located(
        self, values: Mapping[str, JsonValue], path: Callable[..., FieldPath], outer: tuple[str, ...] = ()
    ) -> dict[str, JsonValue]:
        """Return values with every file target in them located."""
        located: dict[str, JsonValue] = {}
        for name, value in values.items():
            located[name] = value
            if isinstance(value, str):
                located[name] = self._located(value, path(*outer, name))
            elif isinstance(value, dict):
                located[name] = self._all_located(value, path, (*outer, name))
        return located

    def _located(self, target: str, path: FieldPath) -> str:
        """Return a file target with its absolute path; any other target as it is."""
        match = FILE_TARGET.fullmatch(target)
        if match is None:
            return target
        try:
            file = (self.folder / match["file"]).resolve()
            if file not in self._contents:
                self._contents[file] = plugin_files.content(file)
        except ValueError as error:  # that of a NUL in the name included
            self.complain(path, str(error), target)
            return target
        return f"{file}:{match['attribute']}"

    def _read(self, file: Path) -> bytes:
        # What could not be read has been complained about.
        return self._contents.get(file, b"")
