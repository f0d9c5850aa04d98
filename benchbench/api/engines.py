"""The engine that executes a suite's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from benchbench.values import RunSpec, Suite

if TYPE_CHECKING:
    from benchbench.engines import Engine


class EngineOptions(TypedDict, total=False):
    """Options of engines: runs at a time, and where they execute.

    Attributes:
        slots: Runs at a time (default: one per GPU, or per core without a GPU; on a cluster, as many as it takes).
        devices: What to use of this machine: `cpu`, or GPUs by number or UUID (default: all GPUs, or else the CPU); on
            a cluster `cpu`, or nothing.
        slots_per_device: Runs that share a GPU (default: 1).
        address: For `ray`: the cluster (default: `RAY_ADDRESS`; without it, one is started on this machine).
    """

    slots: int | None
    devices: Sequence[str]
    slots_per_device: int
    address: str | None


def engine_of(
    suite: Suite,
    name: str,
    *,
    slots: int | None = None,
    devices: Sequence[str] = (),
    slots_per_device: int = 1,
    address: str | None = None,
) -> Engine:
    """Return an engine, configured as the suite and `EngineOptions` ask.

    Raises:
        BadInputError: There is no such device.
        EngineError: The engine cannot be used.
    """
    from benchbench.engines import create
    from benchbench.engines.slots import Placement, most_ranks

    return create(
        name,
        Placement(slots, tuple(devices), slots_per_device, suite.exclusive),
        _plugin_modules(suite.specs),
        address=address,
        options=suite.engine_options.get(name, {}),
        ranks=most_ranks(suite.specs),
    )


def load_ahead(suite: Suite, engine: str) -> None:
    """Start to load what the runs of a suite will need, in the background, if the engine keeps it for all of them."""
    if engine == "local":
        from benchbench.engines.local import start_server

        start_server(_plugin_modules(suite.specs))


def _plugin_modules(specs: Sequence[RunSpec]) -> list[str]:
    """Return the modules of the plugins that the specs name, for engines that load them once for all runs."""
    from benchbench.plugins.names import module_of

    modules = {module_of("optimizer", target) for target in {spec.optimizer.target for spec in specs}}
    modules |= {module_of("workload", target) for target in {spec.workload.target for spec in specs}}
    return sorted(module for module in modules if module is not None)
