"""The installed code that results come from, and whether it has changed since."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, distribution, entry_points, packages_distributions
from pathlib import Path
from typing import cast

from benchbench.plugins.factories import Factories
from benchbench.plugins.names import Kind, module_of
from benchbench.values import RunResult


class InstalledCode:
    """The code of installed plugins as it is now; what is found out about a plugin is remembered."""

    def __init__(self) -> None:
        self._versions: dict[tuple[Kind, str], str | None] = {}

    def of_run(self, factories: Factories) -> dict[str, str]:
        """Return the code that a run is made of: a version for each plugin that its spec names.

        The version is that of the plugin's distribution (`optimizer adamw` is `torch 2.14.1`). Where the module is not
        one that the distribution has installed (an editable install, a folder on the path), a hash of the sources of
        its top-level package is added, for there the version says little. Plugins in files are left out: their
        content is part of the run's key.
        """
        named = [plugin for factory in (factories.workload, factories.optimizer) for plugin in factory.plugins()]
        found = {f"{kind} {name}": self._version(kind, name, "torch") for kind, name in named}
        return {plugin: version for plugin, version in found.items() if version is not None}

    def changes(self, result: RunResult) -> list[str]:
        """Return which code of a run has changed since, such as `optimizer lion: lion-torch 1.0 then, 1.1 now`.

        A plugin that is not installed here has no changes, nor has a result that does not say what it was made of.
        """
        changed = []
        for plugin, then in (result.code or {}).items():
            kind, _, name = plugin.partition(" ")
            now = self._version(cast(Kind, kind), name, then.partition(" ")[0])
            if now is not None and now != then:
                changed.append(f"{plugin}: {then} then, {now} now")
        return changed

    def _version(self, kind: Kind, name: str, known_owner: str) -> str | None:
        if (kind, name) not in self._versions:
            self._versions[kind, name] = _version(kind, name, known_owner)
        return self._versions[kind, name]


def _version(kind: Kind, name: str, known_owner: str) -> str | None:
    """Return the version of a plugin's code, or `None` for a file and for what is not installed here."""
    found = _located(kind, name, known_owner)
    if found is None:
        return None
    package, owner = found
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    known = "" if owner is None else f"{owner.name} {owner.version}"
    return known if owner and _has_installed(owner, spec) else f"{known} (content {_content(spec)})".lstrip()


def _located(kind: Kind, name: str, known_owner: str) -> tuple[str, Distribution | None] | None:
    """Return the top-level package that a plugin lies in, and the distribution that brings it."""
    # Not by `plugins.find`, which imports torch for the names of its optimizers: reports would have to wait for it.
    offered = next(iter(entry_points(group=f"benchbench.{kind}s", name=name)), None)
    if offered is not None:
        return offered.module.partition(".")[0], offered.dist
    if ":" not in name:
        return ("torch", distribution("torch")) if kind == "optimizer" and known_owner == "torch" else None
    module = module_of(kind, name)
    if module is None:
        return None
    package = module.partition(".")[0]
    owners = packages_distributions().get(package, [])
    return package, distribution(owners[0]) if owners else None


def _has_installed(owner: Distribution, spec: ModuleSpec) -> bool:
    """Return whether a package is the very one that a distribution has installed, so that its version says all."""
    origin = json.loads(owner.read_text("direct_url.json") or "{}")
    is_editable = bool(origin.get("dir_info", {}).get("editable")) or owner.read_text("WHEEL") is None
    places = [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin else [])]
    installed = Path(str(owner.locate_file(""))).resolve()
    return not is_editable and any(Path(place).resolve().is_relative_to(installed) for place in places)


def _content(spec: ModuleSpec) -> str:
    """Return a hash of the names and the contents of a package's Python files."""
    digest = hashlib.sha256()
    for folder in map(Path, spec.submodule_search_locations or []):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    if not spec.submodule_search_locations and spec.origin:
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:12]
