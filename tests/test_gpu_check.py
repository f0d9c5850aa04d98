"""The command that asks a machine with a GPU: rehearsed on the CPU, resumed, refused where there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.report import Figure, Findings, read, to_markdown
from benchmarks.gpu.sections import LONGEST, SECTIONS
from tests.accelerator import accelerator
from tests.conftest import REPOSITORY, pretend_gpus

ORIGIN = {"device": "cuda (a GPU)", "commit": "abc"}


def gpu_check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.slow
def test_a_rehearsal_goes_through_all_sections_and_the_next_one_repeats_none(tmp_path: Path) -> None:
    done = gpu_check("--cpu", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for section in SECTIONS:
        content = json.loads((tmp_path / f"{section}.json").read_text())
        assert not content["error"]
        assert content["figures"] or content["facts"], section
    report = (tmp_path / "report.md").read_text()
    assert report.startswith("# Rehearsal on a CPU")
    assert "| products | error of H v, resnet20, float64 | 0 | <= 1e-10 | reached |" in report
    written = (tmp_path / "products.json").stat().st_mtime_ns
    broken = json.loads((tmp_path / "environment.json").read_text()) | {"error": "cut off"}
    (tmp_path / "environment.json").write_text(json.dumps(broken))
    again = gpu_check("--cpu", "--out", str(tmp_path), "products", "environment")
    assert "== products: as found before" in again.stdout
    assert "== environment\n" in again.stdout
    assert (tmp_path / "products.json").stat().st_mtime_ns == written
    assert not json.loads((tmp_path / "environment.json").read_text())["error"]


@pytest.mark.skipif(accelerator() is not None, reason="there is an accelerator")
def test_without_a_gpu_it_is_one_line() -> None:
    done = gpu_check()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no GPU is visible to torch")
    assert done.stderr.count("\n") == 1
    assert "--cpu" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA starts")
def test_a_gpu_that_does_not_start_is_one_line_with_the_remedy(nvml_folder: Path, tmp_path: Path) -> None:
    done = gpu_check("--out", str(tmp_path), **pretend_gpus(nvml_folder, 1, driver="550.54"))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("cuda does not start: ")
    assert "the driver (550.54) lists 1" in line


def test_a_section_that_is_not_there_is_named() -> None:
    done = gpu_check("--cpu", "product")
    assert done.returncode == 2
    assert "no such section: product; there are environment, products," in done.stderr


def test_all_sections_together_take_a_quarter_of_an_hour_at_most() -> None:
    assert sum(seconds for seconds, _ in SECTIONS.values()) <= LONGEST == 15 * 60


def test_a_target_is_reached_or_missed_or_not_there() -> None:
    assert Figure("a", 1.0).is_met is None
    assert Figure("a", 1.0, at_most=1.0, at_least=1.0).is_met is True
    assert Figure("a", 1.1, at_most=1.0).is_met is False
    assert Figure("a", 0.9, at_least=1.0).is_met is False
    assert Figure("a", float("nan"), at_most=1.0).is_met is False
    assert Figure("a", float("nan"), at_least=1.0).is_met is False
    assert "MISSED" in str(Figure("a", 1.1, " ms", at_most=1.0))


def test_findings_are_read_as_they_were_written(tmp_path: Path) -> None:
    findings = Findings("speed", ORIGIN, seconds=2.0, error="it | broke\nhere")
    findings.figure("a step | all", 3.0, " ms", at_most=2.0, note="slow")
    findings.fact("driver", 580)
    findings.write(tmp_path)
    assert read(tmp_path, "speed") == findings
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    report = to_markdown("Title", [findings])
    assert "| speed | a step \\| all | 3 ms | <= 2 ms | **missed** |" in report
    assert "**Did not finish: it \\| broke here**" in report
    assert "- driver: 580" in report
    assert "- device: cuda (a GPU)" in report


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"figures": [{"what": 1, "odd": 2}]}'])
def test_what_cannot_be_read_is_asked_again(content: str, tmp_path: Path) -> None:
    (tmp_path / "speed.json").write_text(content)
    assert read(tmp_path, "speed") is None
