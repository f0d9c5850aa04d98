"""The frozen values that travel between the rooms of the harness; each one can be written as JSON."""

from benchbench.values.frozen import Frozen, canonical_json
from benchbench.values.results import (
    CONCLUSIVE,
    Cost,
    DiagnosticRecord,
    EpochRecord,
    Histogram,
    Memory,
    Metrics,
    Outcome,
    RunResult,
    Shortage,
    Submission,
)
from benchbench.values.schedules import Constant, Cosine, Linear, MultiStep, Piecewise, Plateau, Polynomial, Schedule
from benchbench.values.specs import Component, DiagnosticName, Diagnostics, Execution, Measurement, Protocol, RunSpec
from benchbench.values.suites import ColumnLabel, Heading, Method, Row, Suite
from benchbench.values.tuning import Budget, Finalists, Space, Spent, Tuned, Tuning

__all__ = [
    "CONCLUSIVE",
    "Budget",
    "ColumnLabel",
    "Component",
    "Constant",
    "Cosine",
    "Cost",
    "DiagnosticName",
    "DiagnosticRecord",
    "Diagnostics",
    "EpochRecord",
    "Execution",
    "Finalists",
    "Frozen",
    "Heading",
    "Histogram",
    "Linear",
    "Measurement",
    "Memory",
    "Method",
    "Metrics",
    "MultiStep",
    "Outcome",
    "Piecewise",
    "Plateau",
    "Polynomial",
    "Protocol",
    "Row",
    "RunResult",
    "RunSpec",
    "Schedule",
    "Shortage",
    "Space",
    "Spent",
    "Submission",
    "Suite",
    "Tuned",
    "Tuning",
    "canonical_json",
]
