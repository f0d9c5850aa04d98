"""Runs of a bundle made again: the one part of the leaderboard that runs code which a submission names."""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench import suite as suites
from benchbench.leaderboard.submission import Submission
from benchbench.problems import BadInputError
from benchbench.stats import sample_std
from benchbench.values import RunResult, RunSpec
from benchbench.values.sharpness.values import PREFIX

_DECISIVE = ("device", "threads", "platform", "python", "torch")
"""Parts of a recorded environment that decide the bits of a result."""

SPREADS = 4.0
"""Standard deviations over seeds that a run on other hardware may lie off: two seeds do in 1 of 200 cases."""


@dataclass(frozen=True)
class Draw:
    """Runs that were drawn.

    Attributes:
        seed: Seed of the draw.
        specs: The runs.
    """

    seed: int
    specs: tuple[RunSpec, ...]


@dataclass(frozen=True)
class Check:
    """One number of a run, claimed and measured.

    Attributes:
        spec: The run.
        name: What the number is.
        claimed: The bundle's number.
        measured: The number of the run that was made now, or `None` where there is none.
        tolerance: Largest difference.
    """

    spec: RunSpec
    name: str
    claimed: float
    measured: float | None
    tolerance: float

    @property
    def holds(self) -> bool:
        """True if the two agree; NaN agrees with NaN."""
        if self.measured is None:
            return False
        if self.measured == self.claimed or (math.isnan(self.measured) and math.isnan(self.claimed)):
            return True
        return abs(self.measured - self.claimed) <= self.tolerance

    def as_row(self) -> dict[str, object]:
        """Return it as a row of a listing."""
        return {
            "method": self.spec.method,
            "workload": self.spec.workload_label,
            "seed": self.spec.seed,
            "number": self.name,
            "claimed": repr(self.claimed),
            "measured": "–" if self.measured is None else repr(self.measured),
            "tolerance": f"± {self.tolerance:.2g}" if self.tolerance else "equal bits",
            "verdict": "as claimed" if self.holds else "DIFFERS",
        }


def draw(submission: Submission, count: int, seed: int | None = None) -> Draw:
    """Draw runs of a submission.

    Args:
        submission: The submission.
        count: How many; at most all.
        seed: Seed of the draw; by default one that no submitter can know.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    specs = sorted(submission.suite.specs, key=lambda spec: spec.key)
    return Draw(seed, tuple(random.Random(seed).sample(specs, min(count, len(specs)))))


def verify(
    submission: Submission,
    specs: Sequence[RunSpec],
    data: Path,
    tolerance: float,
    devices: Sequence[str] = (),
    code_from: Path | None = None,
    *,
    any_code: bool = False,
) -> Iterator[Check]:
    """Run specs again, in this process, and compare their numbers with those of a submission.

    Counts have to be equal. Metrics have to be equal in every bit where device, threads, platform, Python and torch are
    those of the claim. Elsewhere, roundings differ, and a training makes of them what another seed would make: metrics
    may differ by the tolerance, or by `SPREADS` standard deviations over the claim's own seeds where that is more.

    Args:
        submission: The submission.
        specs: The runs.
        data: The folder in which data sets lie.
        tolerance: Largest difference of a metric elsewhere, as a share of the claimed value.
        devices: Where to run them, as `--devices` takes it; the first one is used.
        code_from: The one folder whose files the specs may name as code, next to registered plugins.
        any_code: Whether they may name any code, paths starting at the current folder.

    Yields:
        Every number of a run, after that run.

    Raises:
        BadInputError: They name code that they may not, or that is not installed here, data are missing, or a device
            does not start.
    """
    suite = submission.suite
    if not any_code:  # of the whole suite, or a draw would decide whether it is refused
        suite = suites.confined(suite, code_from, str(submission.archive or submission.name))
    drawn = {spec.key for spec in specs}
    part = suite.model_copy(update={"specs": tuple(spec for spec in suite.specs if spec.key in drawn)})

    from benchbench import checks
    from benchbench.engines.inline import device_here
    from benchbench.engines.slots import Placement, available_slots
    from benchbench.engines.starting import ready

    problems = checks.problems(part, data)
    if problems:
        raise BadInputError(problems)
    slot = available_slots(Placement(devices=tuple(devices)))[0]
    ready([slot])
    for spec in part.specs:
        claimed = submission.runs[spec.key].result
        stated = claimed.environment.get("threads", "")
        threads = min(max(int(stated), 1), os.cpu_count() or 1) if stated.isdecimal() else 1
        measured = _run(spec, data, device_here(slot), threads)
        seeds = [
            submission.runs[each.key].result
            for each in submission.suite.specs
            if (each.method, each.workload_label) == (spec.method, spec.workload_label)
        ]
        one, other = claimed.environment, measured.environment
        same_build = one.get("device", "").startswith("cpu") and all(
            one.get(each) == other.get(each) for each in _DECISIVE
        )
        yield from _compare(spec, claimed, measured, seeds, None if same_build else tolerance)


def _run(spec: RunSpec, data: Path, device: str, threads: int) -> RunResult:
    import torch

    from benchbench.runs.folder import RunFolder
    from benchbench.training.trainer import run_in_folder

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = RunFolder(Path(place) / spec.key)
            quick = spec.model_copy(update={"measure": ()})
            folder.prepare(quick)
            return run_in_folder(quick, torch.device(device), folder, data=data)
    finally:
        torch.set_num_threads(before)


def _compare(
    spec: RunSpec, claimed: RunResult, measured: RunResult, seeds: Sequence[RunResult], tolerance: float | None
) -> Iterator[Check]:
    """Yield every number; `seeds` are the claimed results of all seeds, a tolerance of `None` asks for equal bits."""
    ended = measured.outcome == claimed.outcome
    yield Check(spec, f"outcome {claimed.outcome}", 1.0, float(ended), 0.0)
    counts = ("steps", "forwards", "gradients", "hvps")
    for name in counts:
        yield Check(spec, name, getattr(claimed.cost, name), getattr(measured.cost, name), 0.0)
    for part in ("final", "best"):
        here = getattr(measured, part)
        for name, value in getattr(claimed, part).items():
            if name.startswith(PREFIX):  # measured apart from the run, which is all that is made again
                continue
            known = [getattr(each, part).get(name, math.nan) for each in seeds if each.outcome == "finished"]
            allowed = 0.0
            if tolerance is not None and math.isfinite(value):
                spread = sample_std(known) or 0.0
                allowed = max(tolerance * abs(value), SPREADS * spread if math.isfinite(spread) else 0.0)
            yield Check(spec, f"{part} {name}", value, here.get(name), allowed)
