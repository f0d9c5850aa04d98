"""The engine that executes a suite's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from benchbench.values import RunSpec, Suite

if TYPE_CHECKING:
    from benchbench.engines import Engine


class EngineOptions(TypedDict, total=False):
    """What an engine may use.

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


def engine_of(suite: Suite, name: str, **options: Unpack[EngineOptions]) -> Engine:
    """Return an engine, configured as the suite asks.

    Raises:
        BadInputError: There is no such device.
        EngineError: The engine cannot be used.
    """
    from benchbench.engines import create
    from benchbench.engines.slots import Placement, most_ranks

    devices, per_device = tuple(options.get("devices", ())), options.get("slots_per_device", 1)
    return create(
        name,
        Placement(options.get("slots"), devices, per_device, suite.exclusive),
        _plugin_modules(suite.specs),
        address=options.get("address"),
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
