"""MLflow: the one package that imports it. Runs are written from their folders and read back as results."""

from benchbench.tracking.errors import TrackingError, without_passwords
from benchbench.tracking.tracker import TrackedRun, Tracker

__all__ = ["TrackedRun", "Tracker", "TrackingError", "without_passwords"]
