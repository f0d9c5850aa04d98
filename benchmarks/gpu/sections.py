"""Sections: which there are, and how each is asked in a process of its own."""

from __future__ import annotations

import hashlib
import multiprocessing
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchbench.devices import starting, use
from benchbench.processes.children import no_main_module
from benchmarks.gpu import arithmetic, counting, report, settings, speed
from benchmarks.gpu.report import Findings

ROOT = Path(__file__).parents[2]
SECTIONS = {**arithmetic.SECTIONS, **counting.SECTIONS, **speed.SECTIONS}
PRELOAD = ("benchmarks.gpu.speed", "benchmarks.gpu.counting", "benchmarks.gpu.arithmetic", "torch._dynamo")
LONGEST = 900
"""Seconds that all sections may take together."""


def made_by(device: torch.device) -> dict[str, str]:
    """Return what findings depend on; with the same, a section is not asked again."""
    changes = _git("diff", "HEAD") + _git("status", "--porcelain", "--", "*.py")
    return {
        "device": use.description(device),
        **use.versions(device),
        "torch": str(torch.__version__),
        "commit": _git("rev-parse", "HEAD"),
        "changes": hashlib.sha256(changes.encode()).hexdigest()[:12] if changes else "none",
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def perform(section: str, device_type: str, origin: Mapping[str, str], folder: str) -> None:
    """Do a section, in a process of its own, and write what it has found."""
    device = torch.device(device_type, 0) if device_type != "cpu" else torch.device(device_type)
    findings = Findings(section, dict(origin))
    started = time.perf_counter()
    try:
        SECTIONS[section][1](settings.on(device), findings)
    except Exception as error:  # noqa: BLE001 - the report tells it, and the other sections go on
        traceback.print_exc(limit=8)
        findings.error = f"{type(error).__name__}: {error}"
    findings.seconds = time.perf_counter() - started
    findings.write(Path(folder))


def described(device_type: str, folder: str) -> None:
    """Write what findings on a device depend on, in a process of its own, for asking starts the device."""
    device = torch.device(device_type, 0) if device_type != "cpu" else torch.device(device_type)
    failure = starting.failure(device_type, 1, {})
    Findings("made-by", {} if failure else made_by(device), error=failure or "").write(Path(folder))


def in_a_process(work: Callable[..., None], arguments: tuple[object, ...], seconds: float) -> str:
    """Run a function in another process; return why it failed, or nothing."""
    with no_main_module():
        process = multiprocessing.get_context("forkserver").Process(target=work, args=arguments)
        process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return f"not done in {seconds:.0f} s"
    return "" if process.exitcode == 0 else f"the process ended with status {process.exitcode}"


def ask(section: str, device: torch.device, origin: Mapping[str, str], folder: Path, seconds_left: float) -> Findings:
    """Return the findings of a section: those of an earlier call, if nothing has changed and it came to its end.

    Args:
        section: Its name.
        device: What is asked.
        origin: What findings depend on now.
        folder: Where they lie.
        seconds_left: What it may take at most, if that is less than its own time.
    """
    before = report.read(folder, section)
    if before is not None and before.made_by == origin and not before.error:
        print(f"== {section}: as found before", flush=True)
        for figure in before.figures:
            print(f"  {figure}", flush=True)
        return before
    print(f"== {section}", flush=True)
    (folder / f"{section}.json").unlink(missing_ok=True)
    # A rehearsal may be on a machine that is busy with other things.
    budget = min(SECTIONS[section][0], seconds_left) if use.is_accelerator(device) else 4 * SECTIONS[section][0]
    started = time.perf_counter()
    ended = in_a_process(perform, (section, device.type, dict(origin), str(folder)), budget)
    found = report.read(folder, section) or Findings(section, origin, error=ended or "left no findings")
    if ended and not found.error:
        found.error = ended
    found.seconds = found.seconds or time.perf_counter() - started
    if found.error:
        print(f"  DID NOT FINISH: {found.error}", flush=True)
        found.write(folder)
    return found
