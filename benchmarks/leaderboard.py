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

from benchbench.leaderboard import bundle, site
from benchbench.leaderboard.submission import Declaration, StoredRun, Submission
from benchbench.values import Component, Cost, EpochRecord, Method, RunResult, RunSpec, Suite

METHODS, WORKLOADS, SEEDS, EPOCHS = 10, 100, 10, 10
BUILD_BUDGET, PAINT_BUDGET = 20.0, 1.0
"""Seconds."""


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


def page_times(page: Path) -> tuple[float, float, float]:
    """Return seconds to the first paint, the layout shift, and milliseconds of the slowest frame of a scroll."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,900"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        time.sleep(2)
        paint = driver.execute_script("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        frames = driver.execute_async_script(
            """
            const done = arguments[0], gaps = []; let last = performance.now(), y = 0;
            const step = (now) => {
                gaps.push(now - last); last = now; y += 40; scrollTo(0, y);
                y < 12000 ? requestAnimationFrame(step) : done(gaps.slice(1));
            };
            requestAnimationFrame(step);
            """
        )
        shift = driver.execute_async_script(
            """
            const done = arguments[0]; let sum = 0;
            new PerformanceObserver((list) => { for (const each of list.getEntries()) sum += each.value; })
                .observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 500);
            """
        )
    finally:
        driver.quit()
    print(
        f"scroll: median frame {statistics.median(frames):.1f} ms, "
        f"{sum(frame > 50 for frame in frames)} of {len(frames)} frames took more than 50 ms"
    )
    return paint / 1000, shift, max(frames)


def main() -> None:
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
        print(f"build: {built:.1f} s, reading the bundle {reading:.1f} s of it (budget {BUILD_BUDGET:.0f} s)")
        print(f"first page: {(out / 'index.html').stat().st_size / 1e6:.1f} MB")
        paint, shift, worst = page_times(out / "index.html")
        print(
            f"first paint: {paint:.2f} s (budget {PAINT_BUDGET:.0f} s); layout shift {shift:.4f}; "
            f"worst frame {worst:.0f} ms"
        )


if __name__ == "__main__":
    main()
