"""What a run asks Slurm for, as options of `sbatch`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import JsonValue

_ASK_FOR_MEMORY = frozenset({"mem", "mem-per-cpu", "mem-per-gpu"})


def sbatch_options(options: Mapping[str, JsonValue], ranks: int, memory: int = 0) -> dict[str, JsonValue]:
    """Return the options of a job by name, without dashes in front.

    Args:
        options: Those of the suite; `gpus` and `cpus_per_task` count for each rank.
        ranks: Ranks of the run.
        memory: Bytes that the run needs, asked for unless the suite's options do; 0 where nothing is said.
    """
    asked = {name.replace("_", "-"): value for name, value in options.items()}
    asked = {"requeue": True, "cpus-per-task": 1, **asked}
    if memory and not _ASK_FOR_MEMORY & set(asked):
        asked["mem"] = f"{math.ceil(memory / 2**20)}M"
    for name in ("cpus-per-task", "gpus"):
        if isinstance(count := asked.get(name), int):
            asked[name] = count * ranks
    return {name: value for name, value in asked.items() if value is not False}
