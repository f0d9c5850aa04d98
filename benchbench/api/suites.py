"""Loading suites, checking them, and getting their data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchbench import suite as suites
from benchbench.api.folders import DATA
from benchbench.problems import BadInputError, Problem
from benchbench.values import RunSpec, Suite


def load_suite(
    suite: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    data: Path | None = DATA,
    synthetic: bool = False,
    thorough: bool = True,
    may_be_missing: bool = False,
    code_from: Path | None = None,
    warm_up: bool = False,
) -> Suite:
    """Load a suite and check it.

    Args:
        suite: Path of a YAML file, or the name of a bundled suite.
        overrides: Changes such as `workloads.digits-mlp.epochs=2`.
        only: Selections such as `method=SASSHA,seed=0`.
        data: The folder in which data sets lie; `None` if they may be missing.
        synthetic: Whether every workload that can shall make up its data.
        thorough: Whether to check everything that can be known before its first run starts (which imports the plugins
            that it names), or its form only.
        may_be_missing: Whether missing data are no problem; a workload that lacks none is tried.
        code_from: For a suite by someone else: the one folder whose files it may name as code, next to registered
            plugins. Without it, a suite may name any code.
        warm_up: Let the local engine load what the runs will need meanwhile.

    Raises:
        BadInputError: The suite cannot be used; carries every problem found.
    """
    if thorough:
        from benchbench import checks

        before = _warm_up if warm_up else None
        return checks.load(
            suite,
            overrides=overrides,
            only=only,
            data=data,
            synthetic=synthetic,
            may_be_missing=may_be_missing,
            code_from=code_from,
            before=before,
        )
    loaded = suites.load(suite, overrides=overrides)
    if code_from is not None:
        loaded = suites.confined(loaded, code_from)
    if synthetic:
        from benchbench.checks import with_synthetic_data

        loaded = with_synthetic_data(loaded)
    return suites.select(loaded, only) if only else loaded


def check(suite: Suite, *, data: Path | None = DATA) -> None:
    """Check everything about a suite that can be known before its first run starts.

    Args:
        suite: The suite.
        data: The folder in which data sets lie; `None` if they may be missing.

    Raises:
        BadInputError: A run could not be set up; carries every problem found.
    """
    from benchbench.checks import problems

    found = problems(suite, data)
    if found:
        raise BadInputError(found)


def remarks(suite: Suite) -> list[Problem]:
    """Return what is to be said of the methods of a suite without problems before they run, though it stops nothing."""
    from benchbench import checks

    return checks.remarks(suite)


def prepare(suite: Suite, *, data: Path = DATA) -> Iterator[str]:
    """Download and verify the data of a suite.

    Args:
        suite: The suite, loaded without `thorough`.
        data: The folder in which data sets lie, or shall lie.

    Yields:
        The label of each workload, once its data is there.

    Raises:
        BadInputError: A workload or its parameters cannot be used, or data cannot be had.
    """
    from benchbench.checks import prepare as prepare_workloads

    yield from prepare_workloads(suite, data)


def missing_data(suite: Suite, *, data: Path = DATA) -> list[Problem]:
    """Say which data are missing: a line for each workload, with where they were looked for and how to get them.

    Args:
        suite: A suite without problems.
        data: The folder in which data sets lie.
    """
    from benchbench.checks import missing_data as missing

    return missing(suite, data)


def _warm_up(suite: Suite) -> None:
    from benchbench.engines.local import start_server

    start_server(plugin_modules(suite.specs))


def plugin_modules(specs: Sequence[RunSpec]) -> list[str]:
    """Return the modules of the plugins that the specs name, for engines that load them once for all runs."""
    from benchbench.plugins.names import module_of

    optimizers = dict.fromkeys(spec.optimizer.target for spec in specs)
    workloads = dict.fromkeys(spec.workload.target for spec in specs)
    modules = [module_of("optimizer", target) for target in optimizers]
    modules += [module_of("workload", target) for target in workloads]
    return [module for module in dict.fromkeys(modules) if module is not None]
