"""Checks of how runs are computed, and of what is recorded next to them."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.checks.optimizers import names_in_state
from benchbench.plugins.factories import Factory
from benchbench.plugins.names import PluginError
from benchbench.problems import Problem, SourceMap, nearest_name
from benchbench.suite.validation import value_text
from benchbench.values import RunSpec, Suite


def diagnostics_problems(suite: Suite, of_optimizers: Sequence[RunSpec]) -> list[Problem]:
    """Return which diagnostics no run of the suite can give, as far as its optimizers are known."""
    settings = suite.specs[0].diagnostics if suite.specs else None
    if settings is None:
        return []
    found = []
    if "curvature_change" in settings.record and any(spec.execution.ranks > 1 for spec in suite.specs):
        message = "several ranks have no Hessian-vector products beside their steps: leave it out, or set `ranks: 1`"
        found.append(suite.source.find(name="diagnostics.curvature_change").problem(message))
    names = [names_in_state(spec, suite.source) for spec in of_optimizers] if settings.state else []
    known = set().union(*(each for each in names if each is not None))
    for name in settings.state if None not in names else ():
        if name not in known:
            message = f"no optimizer of the suite has such tensors in its state; allowed: {', '.join(sorted(known))}"
            location = suite.source.find(name=f"diagnostics.{name}")
            found.append(location.problem(message, name, nearest_name(name, known)))
    return found


def execution_problems(spec: RunSpec, source: SourceMap) -> list[Problem]:
    """Return which settings of how gradients are computed cannot be."""
    execution, size = spec.execution, spec.batch_size
    wrong = {
        "accumulate": f"a batch of {size} examples has no {execution.accumulate} parts"
        if execution.accumulate > size
        else "",
        "autocast_evaluation": "there is no autocast to evaluate under: leave it out, or set `autocast`"
        if execution.autocast_evaluation and execution.autocast == "off"
        else "",
        "cudnn_benchmark": "deterministic algorithms leave cuDNN no choice: leave out one of the two"
        if execution.cudnn_benchmark and execution.deterministic
        else "",
        "ranks": _wrong_ranks(spec),
        "batch_norm": "with one rank there is nothing to synchronise: leave it out, or set `ranks`"
        if execution.batch_norm == "synchronised" and execution.ranks == 1
        else "",
    }
    return [
        source.find(method=spec.method, workload=spec.workload_label, name=name).problem(
            message, value_text(getattr(execution, name))
        )
        for name, message in wrong.items()
        if message
    ]


def _wrong_ranks(spec: RunSpec) -> str:
    ranks, accumulate = spec.execution.ranks, spec.execution.accumulate
    if ranks == 1 or accumulate > spec.batch_size:
        return ""
    if ranks * accumulate > spec.batch_size:
        return f"a batch of {spec.batch_size} examples has no {accumulate} parts for each of {ranks} ranks"
    try:
        create_graph = Factory("optimizer", spec.optimizer).needs_graph(spec.create_graph)
    except PluginError:  # reported with the optimizer itself
        return ""
    return "gradients that are summed over ranks have no graph, which `create_graph` asks for" if create_graph else ""
