"""Plugin files: code that a suite names by its path, and the files next to it that this code imports.

A file imports its neighbours as with `python file.py`, but nothing is added to `sys.path`: the modules of a folder are
a package of their own, so that two folders may each have a `tiny.py`. What is executed is exactly what was read for the
digest, which is part of a run's key; compiled copies in `__pycache__` are neither read nor written.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib
import importlib.util
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

FILE_TARGET = re.compile(r"(?P<file>.+\.py):(?P<attribute>[\w.]+)")
"""A target that is a file, `path/to/file.py:attribute`."""

MODULE_TARGET = re.compile(r"(?!\d)[\w.-]+:(?!\d)[\w.]+")
"""A target that lies in an installed module, `module:attribute`."""

_SHARED = frozenset({"benchbench", "numpy", "torch", *sys.builtin_module_names})
"""Modules that a process can have only one of: a neighbour of such a name is not imported in their place."""

_PREFIX = "_benchbench_files_"


class UnreadableError(ValueError):
    """A plugin file or a neighbour cannot be read; the message says which, and why."""


def sources(path: Path) -> dict[Path, bytes]:
    """Return the content of a file and of all files next to it that it imports, be it through one of the others.

    Imports are found by reading, not by running. Of a package, all modules belong to it.

    Returns:
        Contents by absolute path, the file itself first and the others in the order of their names.

    Raises:
        UnreadableError: One of the files cannot be read.
    """
    path = _absolute(path)
    found = {path: _read(path)}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file.suffix != ".py":  # compiled
            continue
        package = file.relative_to(path.parent).parts[:-1]
        for name in _imported(found[file], package):
            new = [each for each in _files(path.parent, name) if each not in found]
            found |= {each: _read(each) for each in new}
            waiting += new
    return {path: found[path], **{file: found[file] for file in sorted(found) if file != path}}


def _absolute(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from None


def _read(path: Path) -> bytes:
    try:
        special = path.exists() and not path.is_file()
        content = b"" if special else path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if special:  # a folder, a pipe, a device that never ends
        raise UnreadableError(f"{path} cannot be read: it is no regular file")
    return content


def _unreadable(path: Path, error: OSError | ValueError) -> UnreadableError:
    return UnreadableError(f"{path} cannot be read: {error.strerror if isinstance(error, OSError) else error}")


def content(path: Path) -> bytes:
    """Return what a plugin file is known by: its content and that of the neighbours that it imports, with their names.

    Raises:
        UnreadableError: One of the files cannot be read.
    """
    own, *others = sources(path).items()
    folder = own[0].parent
    named = [f"\0{file.relative_to(folder).as_posix()}\0".encode() + code for file, code in others]
    return b"".join([own[1], *named])


def digest(target: str, parameters: Mapping[str, Any], read: Callable[[Path], bytes] = content) -> str | None:
    """Return the digest of the files that a component names, or `None` if it names none.

    Args:
        target: Its target, a file by a path that is absolute or, in published specs, begins at the current folder.
        parameters: Its parameters, which may name files as well.
        read: Returns the content of a file and its neighbours.

    Raises:
        UnreadableError: A file cannot be read.
    """
    found = b"".join(read(Path(match["file"])) for match in _file_targets([target, *parameters.values()]))
    return hashlib.sha256(found).hexdigest()[:16] if found else None


def _file_targets(values: Sequence[Any]) -> Iterator[re.Match[str]]:
    for value in values:
        if isinstance(value, str) and (match := FILE_TARGET.fullmatch(value)):
            yield match
        elif isinstance(value, Mapping):
            yield from _file_targets([*value.values()])


@functools.lru_cache(maxsize=1024)
def _imported(code: bytes, package: tuple[str, ...]) -> frozenset[str]:
    """Return the names at the top of the folder that a module in it imports, anywhere in its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # importing it will say what is wrong
        return frozenset()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (not node.level or node.level == len(package) + 1):
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return frozenset(name.partition(".")[0] for name in names)


def _files(folder: Path, name: str) -> list[Path]:
    """Return the files behind an import of a name in a folder: none, one, or the modules of a package."""
    found = None if name in _SHARED else _neighbour(folder, name)
    if found is None or found.is_file():
        return [found] if found else []
    files = []
    for parent, folders, names in os.walk(found):
        folders[:] = filter(str.isidentifier, folders)
        files += [Path(parent, each) for each in names if each.endswith((".py", *EXTENSION_SUFFIXES))]
    return sorted(files)


def _neighbour(folder: Path, name: str) -> Path | None:
    """Return the module, or the folder of the package, that an import of a name finds in a folder, as Python does."""
    candidates = [folder / f"{name}{suffix}" for suffix in (*EXTENSION_SUFFIXES, ".py")]
    if (folder / name / "__init__.py").is_file():
        return folder / name
    if file := next((each for each in candidates if each.is_file()), None):
        return file
    # A folder without an __init__.py gives way to whatever else has the name.
    return folder / name if (folder / name).is_dir() and not _is_installed(name) else None


def _is_installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


class _Folder:
    """The modules of one folder, as long as none of its files changes.

    Attributes:
        name: Name of the package that they are in.
        path: The folder.
        loaded: The sources of every file that a suite has named, as they were when it was imported.
        modules: Files, and folders of packages, by the names under which they are imported.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"{_PREFIX}{next(_numbers)}"
        self.path = path
        self.loaded: dict[Path, dict[Path, bytes]] = {}
        self.modules: dict[str, Path] = {}
        package = ModuleType(self.name)
        package.__path__ = []
        sys.modules[self.name] = package

    def is_current(self) -> bool:
        """Return whether importing everything again would execute the same code."""
        try:
            return all(sources(path) == before for path, before in self.loaded.items())
        except UnreadableError:
            return False

    def module(self, path: Path, found: dict[Path, bytes]) -> ModuleType:
        """Return the module of a file, given its sources.

        Raises:
            Exception: Whatever its code raises.
        """
        own = path.stem.isidentifier() and _files(self.path, path.stem) == [path]
        name = path.stem if own else re.sub(r"\W", "-", path.stem) + f"-{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
        for file in found:
            first = file.relative_to(self.path).parts[0]
            self.modules[first.partition(".")[0]] = self.path / first
        self.modules[name] = path
        self.loaded[path] = found
        return importlib.import_module(f"{self.name}.{name}")

    def source(self, file: Path) -> bytes:
        """Return the content that a file had when it was read for the digest."""
        return next(found[file] for found in self.loaded.values() if file in found)

    def import_module(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what `__import__` does, with the neighbours first."""
        first = name.partition(".")[0]
        if level or first not in self.modules:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{self.name}.{name}")
        return sys.modules[f"{self.name}.{first}"]


_numbers = itertools.count(1)

_folders: dict[Path, _Folder] = {}
"""Modules imported from each folder, kept like `sys.modules`."""


def load(path: Path) -> ModuleType:
    """Return a plugin file as a module, imported again if its content or that of a neighbour has changed.

    Raises:
        UnreadableError: One of the files cannot be read.
        Exception: Whatever the code in them raises.
    """
    found = sources(path)
    path = next(iter(found))
    folder = _folders.get(path.parent)
    if folder is None or not folder.is_current():
        folder = _folders[path.parent] = _Folder(path.parent)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return folder.module(path, found)


def without_prefix(text: str) -> str:
    """Return a message with the names of modules as the author of a plugin file knows them."""
    return re.sub(rf"{_PREFIX}\d+\.", "", text)


class _Finder(MetaPathFinder):
    """Finds the modules of folders that plugin files lie in, by the names that they have here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is, or `None` for any other module."""
        package, _, name = fullname.partition(".")
        folder = next((each for each in _folders.values() if each.name == package), None)
        if folder is None or not name:
            return None
        parent, _, last = name.rpartition(".")
        found = _neighbour(Path(next(iter(path or ()))), last) if parent else folder.modules.get(name)
        if found is None:
            return None
        if found.is_file():
            return importlib.util.spec_from_file_location(fullname, found, loader=_loader(fullname, found, folder))
        if not (found / "__init__.py").is_file():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(found)]
            return spec
        file = found / "__init__.py"
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_loader(fullname, file, folder), submodule_search_locations=[str(found)]
        )


def _loader(name: str, file: Path, folder: _Folder) -> SourceFileLoader | None:
    return _Loader(name, file, folder) if file.suffix == ".py" else None


class _Loader(SourceFileLoader):
    """Executes a file whose import statements look at its neighbours first."""

    def __init__(self, name: str, file: Path, folder: _Folder) -> None:
        super().__init__(name, str(file))
        self._file = file
        self._folder = folder

    def get_code(self, fullname: str) -> CodeType:
        """Compile what was read, whatever is on the disk by now."""
        return self.source_to_code(self._folder.source(self._file), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; functions in it that import something later do so in the same way."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._folder.import_module}
        super().exec_module(module)
