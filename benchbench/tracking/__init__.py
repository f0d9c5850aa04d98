"""MLflow: the one package that imports it. Runs are written from their folders and read back as results."""

from benchbench.tracking.errors import Fault, TrackingError, without_passwords
from benchbench.tracking.store import Store
from benchbench.tracking.tracked_run import TrackedRun
from benchbench.tracking.tracker import Tracker

__all__ = ["Fault", "Store", "TrackedRun", "Tracker", "TrackingError", "without_passwords"]
