"""The engine that executes a suite's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.api.suites import plugin_modules
from benchbench.values import Suite

if TYPE_CHECKING:
    from benchbench.engines import Engine


def engine_of(
    suite: Suite,
    name: str,
    *,
    slots: int | None,
    devices: Sequence[str],
    slots_per_device: int = 1,
    address: str | None,
) -> Engine:
    """Return an engine with what a suite says about it; the arguments are those of `run`.

    Raises:
        BadInputError: There is no such device.
        EngineError: The engine cannot be used.
    """
    from benchbench.engines import create
    from benchbench.engines.slots import Placement, most_ranks

    return create(
        name,
        Placement(slots, tuple(devices), slots_per_device, suite.exclusive),
        plugin_modules(suite.specs),
        address=address,
        options=suite.engine_options.get(name, {}),
        ranks=most_ranks(suite.specs),
    )
