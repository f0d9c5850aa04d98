"""Suites by someone else: which code they may name. All of it is decided by reading; nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from benchbench import plugin_files
from benchbench.plugin_files import FILE_TARGET, MODULE_TARGET
from benchbench.problems import BadInputError, Problem
from benchbench.values import Component, RunSpec, Suite, canonical_json


def confined(suite: Suite, folder: Path | None, file: str = "") -> Suite:
    """Return someone else's suite, which may name registered plugins and the files of one folder.

    A text of the form of a target counts as one wherever it is in a component: which parameters name code is known
    only once the code that takes them has been imported.

    Args:
        suite: The suite. Relative paths start at the folder; absolute ones, as in a loaded suite, must lead into it.
        folder: The folder, or `None` if no file may be named.
        file: The file that the suite comes from, for problems; a loaded suite knows it itself.

    Returns:
        The suite with the paths of all files made absolute.

    Raises:
        BadInputError: It names other code, or a file that is not the one that its results were made with.
    """
    located: dict[str, Component] = {}
    problems: list[Problem] = []

    def complain(confinement: _Confinement, **where: str) -> None:
        found = suite.source.find(**where)
        found = replace(found, file=found.file or file, field=found.field or ".".join(filter(None, where.values())))
        problems.extend(found.problem(message, target) for target, message in confinement.complaints)

    def of(spec: RunSpec, kind: str, component: Component) -> Component:
        content = canonical_json(component.model_dump(mode="json"))
        if content not in located:
            confinement = _Confinement(folder)
            located[content] = confinement.component(component)
            method = spec.method if kind == "optimizer" else ""
            complain(confinement, method=method, workload=spec.workload_label, name=kind)
        return located[content]

    specs = [
        spec.model_copy(
            update={
                "workload": of(spec, "workload", spec.workload),
                "optimizer": of(spec, "optimizer", spec.optimizer),
            }
        )
        for spec in suite.specs
    ]
    for workload, of_methods in suite.spaces.items():
        for method, space in of_methods.items():
            for name, values in space.items():
                confinement = _Confinement(folder)
                for choice in values.choices or ():
                    confinement.value(choice)
                complain(confinement, method=method, workload=workload, name=name)
    if problems:
        raise BadInputError(list(dict.fromkeys(problems)))
    return suite.model_copy(update={"specs": tuple(specs)})


@dataclass(frozen=True)
class _Confinement:
    """Finds the files that a component names in one folder.

    Attributes:
        folder: The folder, or `None` if no file may be named.
        complaints: Targets that may not be named, and why.
    """

    folder: Path | None
    complaints: list[tuple[str, str]] = field(default_factory=list)

    def component(self, given: Component) -> Component:
        target = self._target(given.target)
        parameters = {name: self.value(value) for name, value in given.parameters.items()}
        if not self.complaints and plugin_files.digest(target, parameters) != given.digest:
            self._complain(given.target, "is another file than the one that the results were made with")
        return Component(target=target, parameters=parameters, digest=given.digest)

    def value(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._target(value)
        if isinstance(value, dict):
            return {name: self.value(each) for name, each in value.items()}
        if isinstance(value, list):  # where no file is looked for, and none can be named
            for each in value:
                _Confinement(None, self.complaints).value(each)
        return value

    def _target(self, text: str) -> str:
        """Return a file target with its absolute path; any other text as it is."""
        match = FILE_TARGET.fullmatch(text)
        if match is None and not MODULE_TARGET.fullmatch(text):
            return text
        if match is None or self.folder is None:
            files = "the files in --code-from FOLDER" if self.folder is None else f"files in {self.folder}"
            self._complain(text, f"is code that someone else's suite may not name; allowed: installed plugins, {files}")
            return text
        try:
            path = (self.folder / match["file"]).resolve()
            if outside := self._outside(path):
                self._complain(text, f"leads out of {self.folder}: {outside}")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            self._complain(text, str(error))
            return text
        return f"{path}:{match['attribute']}"

    def _outside(self, path: Path) -> Path | None:
        """Return the file, or the neighbour that it imports, that is not in the folder."""
        assert self.folder is not None
        folder = self.folder.resolve()
        if not path.is_relative_to(folder):
            return path
        return next((each for each in plugin_files.sources(path) if not each.resolve().is_relative_to(folder)), None)

    def _complain(self, target: str, why: str) -> None:
        self.complaints.append((target, why))
