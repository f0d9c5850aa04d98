"""Plugins: which can be named, and which cannot be imported. Their code runs in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from benchbench.doctor.finding import Finding
from benchbench.plugins import names as offered
from benchbench.plugins.names import Kind, Plugin
from benchbench.processes.separate import SeparateProcess


def plugins(process: SeparateProcess, seconds: float) -> Iterator[Finding]:
    """Import the code of every plugin.

    Args:
        process: Where to import them.
        seconds: How long the import of a module may take.

    Yields:
        One finding after the other.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    imports = _Imports(process, seconds)
    for kind in kinds:
        known = process.ask(seconds, offered.plugins, kind)  # torch is where its optimizers are known
        broken = [finding for plugin in known.values() if (finding := imports.trouble_with(plugin)) is not None]
        yield Finding("plugins", f"{kind}s", "ok", f"{len(known) - len(broken)} can be named")
        yield from broken


class _Imports:
    """Imports plugins; a module that hangs or breaks the process is tried once, however many plugins it holds."""

    def __init__(self, process: SeparateProcess, seconds: float) -> None:
        self._process = process
        self._seconds = seconds
        self._dangerous: dict[str, tuple[str, str]] = {}

    def trouble_with(self, plugin: Plugin) -> Finding | None:
        """Return what keeps a plugin from being used, or `None`."""
        if plugin.rivals:
            owners = ", ".join((plugin.distribution, *plugin.rivals))
            remedy = f"remove one of {owners}, or name module:attribute"
            return Finding("plugins", plugin.name, "broken", f"is offered by {owners}", remedy)
        module = plugin.target.partition(":")[0]
        if module not in self._dangerous:
            try:
                reason = self._process.ask(self._seconds, offered.status, plugin)
            except TimeoutError:
                self._dangerous[module] = (
                    f"the import of {module} has not ended after {self._seconds:g} s",
                    f"`python -c 'import {module}'` and Ctrl-C show where it waits; --timeout gives it longer",
                )
            except ChildProcessError as error:
                self._dangerous[module] = (
                    f"the import of {module} ends Python itself: {error}",
                    f"`python -X faulthandler -c 'import {module}'` shows where",
                )
            else:
                remedy = f"mend or remove {plugin.distribution}"
                return None if reason is None else Finding("plugins", plugin.name, "broken", reason, remedy)
        found, where = self._dangerous[module]
        return Finding("plugins", plugin.name, "broken", found, f"mend or remove {plugin.distribution}; {where}")
