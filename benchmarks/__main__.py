"""Print every figure that the documentation states, and what falls short with its reason: `python benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from figures import MISSED

SCRIPTS: tuple[tuple[str, ...], ...] = (
    ("ledger.py",),
    ("optimizer_arithmetic.py",),
    ("second_order.py",),
    ("compiled.py",),
    ("harness_overhead.py",),
    ("checkpoints.py",),
    ("data_loading.py",),
    ("sharpness.py",),
    ("leaderboard.py",),
    ("intervals.py",),
    ("engines.py",),
    ("engines.py", "ray"),
)

REASONS = {
    "SASSHA's arithmetic / plain loop, WRN-28-10": "bound by memory: nineteen passes over every number are needed",
    "SASSHA step with compiled gradients / eager, gpt": "the eager gradients use torch's fused attention already",
    "SASSHA step with compiled gradients / eager, resnet20": "the Hessian, every tenth step, is not compiled",
    "plan of 10,000 runs": "MLflow makes an object for every metric, parameter and tag of a run",
    "report of 10,000 runs": "MLflow makes an object for every metric, parameter and tag of a run",
    "parent's time per run": "MLflow's calls to the store: one for the run, one for what it wrote, one for its end",
}
"""Why a figure that begins so misses its target where it did; docs/performance.md says more."""


def reason(line: str) -> str:
    """Return why a figure falls short, as far as that is known."""
    return next((why for what, why in REASONS.items() if line.startswith(what)), "not known: run it alone, and again")


def main() -> int:
    """Run all scripts; return how many of them broke."""
    missed, broken = [], []
    for script in SCRIPTS:
        print(f"== {' '.join(script)}", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(script[0])), *script[1:]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            missed += [line.strip()] if MISSED in line else []
        if process.wait():
            broken.append(" ".join(script))
    print("== what falls short")
    for line in missed:
        print(f"{line}\n    {reason(line)}")
    for script_line in broken:
        print(f"{script_line}: ended with an error")
    return len(broken)


if __name__ == "__main__":
    sys.exit(main())
