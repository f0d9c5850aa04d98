"""Resource requests of a run, as options of `sbatch`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pydantic import JsonValue

_ASK_FOR_MEMORY = frozenset({"mem", "mem-per-cpu", "mem-per-gpu"})

_ASK_FOR_GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")
"""Options whose value is a number of GPUs, maybe with their type in front: `a100:2`."""

_MAY_ASK_FOR_GPUS = ("gres", "tres-per-job", "tres-per-node", "tres-per-task")
"""Options that list resources, GPUs among them: `gpu:a100:2`, `gres/gpu:2`."""

_NUMBER = re.compile(r"((?:[^:]+:)?)(\d+)")
_AMONG_RESOURCES = re.compile(r"(?:^|[,/])gpu(?::(?!\d+(?:,|\(|$))[^:,=()]+)?(?:[:=](\d+))?(?=,|\(|$)")


def sbatch_options(
    options: Mapping[str, JsonValue], ranks: int, memory: int = 0, cores_per_gpu: int = 1
) -> dict[str, JsonValue]:
    """Return the options of a job by name, without dashes in front.

    Args:
        options: Those of the suite; `gpus` and `cpus_per_task` count for each rank.
        ranks: Ranks of the run.
        memory: Bytes that the run needs, asked for unless the suite's options do; 0 where nothing is said.
        cores_per_gpu: Cores to ask for with each GPU, unless the suite's options say how many.
    """
    asked = _named(options)
    cores = max(1, (gpus_of(options) or 0) * cores_per_gpu)
    asked = {"requeue": True, "cpus-per-task": cores, **asked}
    if memory and not _ASK_FOR_MEMORY & set(asked):
        asked["mem"] = f"{math.ceil(memory / 2**20)}M"
    for name in ("cpus-per-task", "gpus"):
        found = _NUMBER.fullmatch(str(asked.get(name)))
        if found is not None and ranks > 1:
            count = int(found[2]) * ranks
            asked[name] = f"{found[1]}{count}" if found[1] else count
    return {
        name: value
        for name, value in asked.items()
        if value is not False and not (name in _ASK_FOR_GPUS and str(value) == "0")
    }


def gpus_of(options: Mapping[str, JsonValue]) -> int | None:
    """Return how many GPUs these options ask for, 0 where they ask for none, `None` where they don't say.

    Args:
        options: Those of the suite; `gpus` counts for each rank.
    """
    asked = _named(options)
    said = [_NUMBER.fullmatch(str(asked[name])) for name in _ASK_FOR_GPUS if asked.get(name) is not None]
    counts = [1 if number is None else int(number[2]) for number in said]
    listed = [_AMONG_RESOURCES.findall(str(asked[name])) for name in _MAY_ASK_FOR_GPUS if name in asked]
    counts += [sum(int(number or 1) for number in numbers) for numbers in listed if numbers]
    return max(counts, default=None)


def partition_of(options: Mapping[str, JsonValue]) -> str | None:
    """Return the partition that these options name, if they do."""
    named = _named(options).get("partition")
    return None if named is None else str(named)


def _named(options: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name.replace("_", "-"): value for name, value in options.items()}
