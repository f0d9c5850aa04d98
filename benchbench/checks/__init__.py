"""Everything about a suite that can be known before its first run starts."""

from benchbench.checks.subjects import component_problems
from benchbench.checks.suites import missing_data, prepare, problems, remarks, with_synthetic_data

__all__ = ["component_problems", "missing_data", "prepare", "problems", "remarks", "with_synthetic_data"]
