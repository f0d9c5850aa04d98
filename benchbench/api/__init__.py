"""The commands as functions: load a suite, run it, read its results back as tables."""

from benchbench.api.leaderboards import export_bundle, submission
from benchbench.api.optimizers import check_component, model_parameters
from benchbench.api.regression import regress
from benchbench.api.results import (
    Figures,
    compare,
    export,
    figures,
    plot,
    report,
    results,
    rows,
    workloads_left_out,
)
from benchbench.api.running import collect, estimates, find_run, measure, plan, run, status
from benchbench.api.suites import check, load_suite, prepare
from benchbench.api.tuning import tune, tuning_state, write_matched, write_tuned
from benchbench.api.workspace import Workspace

__all__ = [
    "Figures",
    "Workspace",
    "check",
    "check_component",
    "collect",
    "compare",
    "estimates",
    "export",
    "export_bundle",
    "figures",
    "find_run",
    "load_suite",
    "measure",
    "model_parameters",
    "plan",
    "plot",
    "prepare",
    "regress",
    "report",
    "results",
    "rows",
    "run",
    "status",
    "submission",
    "tune",
    "tuning_state",
    "workloads_left_out",
    "write_matched",
    "write_tuned",
]
