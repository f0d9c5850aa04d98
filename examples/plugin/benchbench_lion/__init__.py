"""Lion and a workload of two spirals, as plugins of benchbench."""

from benchbench_lion.lion import Lion
from benchbench_lion.spirals import spirals

__all__ = ["Lion", "spirals"]
