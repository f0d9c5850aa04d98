"""Build a site of 10,000 made-up runs and show its first page in headless Chromium: `python benchmarks/leaderboard.py`.

Ten methods on a hundred workloads with ten seeds each, ten epochs per run. It needs Chromium and its driver.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures

from benchbench.leaderboard import bundle, site
from benchbench.leaderboard.submission import Declaration, StoredRun, Submission
from benchbench.values import Component, Cost, EpochRecord, Method, RunResult, RunSpec, Suite

METHODS, WORKLOADS, SEEDS, EPOCHS = 10, 100, 10, 10
BUILD_TARGET, PAINT_TARGET = 20.0, 1.0
"""Seconds."""

FRAME_TARGET = 16.7
"""Milliseconds: sixty frames a second, in tenths, as the browser says when they are drawn."""

LOADS = 5
"""Loads of the page."""


def made_up() -> Submission:
    """Return 10,000 runs whose curves rise to a level of their method and workload."""
    draw = random.Random(0)
    methods = tuple(Method(label=f"method {m}", category=("one", "two")[m % 2]) for m in range(METHODS))
    workloads = tuple(f"workload {w}" for w in range(WORKLOADS))
    specs, runs = [], {}
    for w, workload in enumerate(workloads):
        for m, method in enumerate(methods):
            level = draw.uniform(0.7, 0.95)
            for seed in range(SEEDS):
                spec = RunSpec(
                    suite="made-up",
                    method=method.label,
                    workload_label=workload,
                    workload=Component(target="w", parameters={"number": w}),
                    optimizer=Component(target="o", parameters={"number": m}),
                    epochs=EPOCHS,
                    batch_size=1,
                    seed=seed,
                )
                specs.append(spec)
                runs[spec.key] = stored(spec.key, level + draw.gauss(0, 0.01), 1 + m % 3)
    suite = Suite(
        name="made-up",
        title="Made up",
        seeds=tuple(range(SEEDS)),
        methods=methods,
        workloads=workloads,
        tables=(),
        specs=tuple(specs),
    )
    return Submission("made-up", suite, runs)


def stored(key: str, level: float, gradients: int) -> StoredRun:
    """Return a finished run."""
    records = tuple(
        EpochRecord(
            epoch=epoch,
            metrics={"validation/accuracy": level * epoch / (epoch + 0.5), "train/loss": 1 / epoch},
            cost=Cost(steps=100 * epoch, forwards=100 * epoch, gradients=100 * gradients * epoch, train_seconds=epoch),
        )
        for epoch in range(1, EPOCHS + 1)
    )
    final = {**records[-1].metrics, "test/accuracy": level}
    result = RunResult(
        key=key, outcome="finished", epochs=EPOCHS, final=final, best=final, best_epoch=EPOCHS, cost=records[-1].cost
    )
    return StoredRun(result, records, "log\n" * 20)


def files_alone(site_folder: Path, place: Path) -> float:
    """Return the seconds that it takes here to write files of the same sizes, and nothing else."""
    contents = [file.read_bytes() for file in site_folder.rglob("*") if file.is_file()]
    place.mkdir()
    started = time.perf_counter()
    for number, content in enumerate(contents):
        (place / str(number)).write_bytes(content)
    return time.perf_counter() - started


def first_paints(driver: Any, page: Path) -> list[float]:
    """Return the seconds from the request to the first paint with content, of several loads."""
    found = []
    for _ in range(LOADS):
        driver.get("about:blank")
        driver.get(page.as_uri())
        time.sleep(1)
        entry = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        found.append(driver.execute_script(f"return {entry}") / 1000)
    return found


def scroll(driver: Any) -> tuple[list[float], list[float]]:
    """Scroll down by the wheel and up again, and return milliseconds between frames, and of tasks longer than 50 ms."""
    driver.execute_script(
        """
        window.frames_ = []; window.tasks = []; let last = performance.now(); window.going = true;
        new PerformanceObserver((list) => { for (const each of list.getEntries()) tasks.push(each.duration); })
            .observe({entryTypes: ["longtask"]});
        const step = (now) => { frames_.push(now - last); last = now; if (going) requestAnimationFrame(step); };
        requestAnimationFrame(step);
        """
    )
    for distance in (-20000, 20000):
        gesture = {"x": 600, "y": 500, "yDistance": distance, "speed": 4000, "gestureSourceType": "mouse"}
        driver.execute_cdp_cmd("Input.synthesizeScrollGesture", gesture)
    frames, tasks = driver.execute_script("going = false; return [frames_.slice(2), tasks]")
    return frames, tasks


def layout_shift(driver: Any) -> float:
    """Return the sum of all layout shifts so far."""
    shift: float = driver.execute_async_script(
        """
        const done = arguments[0]; let sum = 0;
        new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; })
            .observe({type: "layout-shift", buffered: true});
        setTimeout(() => done(sum), 500);
        """
    )
    return shift


def show(page: Path) -> None:
    """Print what a reader of the first page waits for."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,900"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        paints = first_paints(driver, page)
        note = f", slowest of {LOADS} {max(paints):.2f} s"
        figures.show("first paint of the first page", statistics.median(paints), " s", at_most=PAINT_TARGET, note=note)
        for what in ("first time", "again, figures drawn"):
            frames, tasks = scroll(driver)
            late = sum(frame > 2 * FRAME_TARGET for frame in frames)
            note = (
                f", 95 % within {statistics.quantiles(frames, n=20)[-1]:.1f} ms, slowest {max(frames):.0f} ms; "
                f"{late} of {len(frames)} missed a frame; tasks over 50 ms: {len(tasks)}"
            )
            figures.show(
                f"frame while scrolling, {what}",
                round(statistics.median(frames), 1),
                " ms",
                at_most=FRAME_TARGET,
                note=note,
            )
            time.sleep(3)
        figures.show("layout shift", layout_shift(driver), at_most=0)
    finally:
        driver.quit()


def main() -> None:
    """Build the site and show it."""
    submission = made_up()
    with tempfile.TemporaryDirectory() as place:
        packed = Path(place) / "made-up.zip"
        bundle.write(submission, Declaration(tuning="none: made up"), "2026-01-01", packed)
        out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(place) / "site"
        started = time.perf_counter()
        read = bundle.read(packed)
        reading = time.perf_counter() - started
        site.build([read], out, "Made up")
        built = time.perf_counter() - started
        alone = files_alone(out, Path(place) / "alone")
        note = f", {reading:.1f} s of it reading the bundle; its files alone take {alone:.1f} s on this disk"
        figures.show("site of 10,000 runs of 10 methods", built, " s", at_most=BUILD_TARGET, note=note)
        print(f"first page: {(out / 'index.html').stat().st_size / 1e6:.1f} MB")
        show(out / "index.html")


if __name__ == "__main__":
    main()
