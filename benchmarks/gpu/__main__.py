"""Ask a machine with a GPU all that can only be asked there, in a quarter of an hour at most: `make gpu`.

Every section runs in a process of its own, within its time, and leaves its findings in a file: a section that breaks or
takes too long takes nothing with it, and the next call goes on with what is missing.

    python -m benchmarks.gpu                     # all sections
    python -m benchmarks.gpu products launches   # some
    python -m benchmarks.gpu --cpu               # a rehearsal without a GPU
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchbench.devices.visible import visible
from benchbench.problems import BadInputError, Problem
from benchbench.processes.children import start_fork_server
from benchmarks.gpu import report
from benchmarks.gpu.report import Findings
from benchmarks.gpu.sections import LONGEST, PRELOAD, SECTIONS, ask, described, in_a_process


def device_to_measure(*, on_cpu: bool) -> torch.device:
    """Return the device, without starting it.

    Raises:
        BadInputError: There is no accelerator, or one that is named wrongly.
    """
    if on_cpu:
        return torch.device("cpu")
    found = visible()
    if not found.identifiers:
        text = f"no GPU is visible to torch {torch.__version__}: `benchbench doctor` says why, --cpu rehearses"
        raise BadInputError([Problem(text)])
    return torch.device(found.kind.type, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask all sections; return 1 if one did not finish, 2 if there is nothing to ask."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help="of: " + ", ".join(SECTIONS))
    parser.add_argument("--cpu", action="store_true", help="rehearse on the CPU, with everything small")
    parser.add_argument("--out", type=Path, help="folder of the findings (default: gpu-report, or gpu-rehearsal)")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    try:
        device = device_to_measure(on_cpu=given.cpu)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    folder = (given.out or Path("gpu-rehearsal" if given.cpu else "gpu-report")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    start_fork_server(PRELOAD)
    broken = in_a_process(described, (device.type, str(folder)), 120)
    origin = report.read(folder, "made-by")
    if broken or origin is None or origin.error:
        reason = origin.error if origin and not broken else f"the device does not start: {broken}"
        print(reason, file=sys.stderr)
        return 2
    end = time.monotonic() + LONGEST
    found = [ask(name, device, origin.made_by, folder, end - time.monotonic()) for name in given.sections or SECTIONS]
    return _summary(found, folder, rehearsal=given.cpu)


def _summary(found: Sequence[Findings], folder: Path, *, rehearsal: bool) -> int:
    title = "Rehearsal on a CPU: no figure says anything about a GPU" if rehearsal else "What this machine answers"
    path = folder / "report.md"
    path.write_text(report.to_markdown(title, found), encoding="utf-8")
    with_target = [figure for findings in found for figure in findings.figures if figure.is_met is not None]
    missed = [figure for figure in with_target if not figure.is_met]
    print(f"== {len(with_target) - len(missed)} of {len(with_target)} targets reached; report: {path}")
    for figure in missed:
        print(f"  {figure}")
    unfinished = [findings for findings in found if findings.error]
    for findings in unfinished:
        print(f"  {findings.section} did not finish: {findings.error}")
    return 1 if unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
