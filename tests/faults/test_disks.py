"""Disks that are full, read-only, or have lost a part of a file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from benchbench import api
from benchbench.runs.checkpoint import Checkpoints
from benchbench.runs.folder import RunFolder
from benchbench.workloads.images import folder
from tests.conftest import benchbench
from tests.faults.conftest import MISBEHAVING, numbers
from tests.helpers.line_suite import SUITE, kinds, mlflow_client, run_inline, tracked

Check = Callable[[Path], None]


def fill(disk: Path) -> Path:
    """Take up all the room on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_is_said_in_a_line(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    ballast = fill(small_disk)
    runs = ["--runs-dir", str(small_disk / "runs")]
    command = benchbench("run", str(path), *runs, cwd=workplace)
    assert command.returncode == 2
    assert "Traceback" not in command.stderr
    last = command.stderr.splitlines()[-1]
    assert last.startswith(f"error: {small_disk}/runs"), command.stderr
    assert last.endswith(": No space left on device")
    ballast.unlink()
    assert benchbench("run", str(path), *runs, cwd=workplace).returncode == 0
    assert_undisturbed(path)


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    suite = api.load_suite(path)
    runs = small_disk / "runs"
    ballast: list[Path] = []

    def fill_after_the_first_end(event: object) -> None:
        if getattr(event, "kind", "") == "ended" and not ballast:
            ballast.append(fill(small_disk))

    workspace = api.Workspace(runs_dir=runs)
    with pytest.raises(OSError, match="No space left"):
        api.run(suite, engine="inline", workspace=workspace, observe=fill_after_the_first_end)
    said = [
        row.result.message for row in api.rows(suite, workspace=workspace) if row.result and not row.result.conclusive
    ]
    assert "stopped by the user" not in said
    ballast[0].unlink()
    api.run(suite, engine="inline", workspace=workspace)
    assert_undisturbed(path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "local"])
def test_runs_on_a_disk_that_fills_up_meanwhile_name_it_and_go_on_when_there_is_room(
    engine: str, small_disk: Path, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    text = SUITE.replace("STUBS:line", f"{MISBEHAVING}:filling").replace("steps: 4", f"disk: {small_disk}")
    path = str(write_suite(text.replace("seeds: [0, 1]", "seeds: [0]")))
    options = ["--runs-dir", str(small_disk / "runs"), "--engine", engine, "--slots", "1"]
    (small_disk / "fill").touch()
    full = benchbench("run", path, *options, cwd=workplace)
    assert full.returncode in (1, 2)
    shown = " ".join((full.stderr + full.stdout).split())
    assert "No space left on device" in shown
    assert f"{small_disk}/runs/" in shown
    assert "stopped by the user" not in shown
    assert "Traceback" not in full.stderr
    for name in ("fill", "ballast"):
        (small_disk / name).unlink()
    done = benchbench("run", path, *options, cwd=workplace)
    assert done.returncode == 0, done.stderr
    suite = api.load_suite(path)
    results = [row.result for row in api.rows(suite, workspace=api.Workspace(runs_dir=small_disk / "runs"))]
    assert {result.outcome for result in results if result} == {"finished"}
    assert [len(RunFolder(small_disk / "runs" / spec.key).records()) for spec in suite.specs] == [3, 3]


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_checkpoint_without_room_is_left_out_and_takes_up_none(small_disk: Path, earlier: int) -> None:
    checkpoints = Checkpoints(small_disk / "checkpoints")
    for step in range(earlier):
        checkpoints.save(step, {"small": torch.zeros(10)})
    before = shutil.disk_usage(small_disk).free
    with pytest.raises(OSError, match="No space left") as raised:
        checkpoints.save(7, {"large": torch.zeros(2**20)})
    assert str(raised.value.filename).startswith(str(small_disk))
    assert len(checkpoints.files()) == earlier
    assert shutil.disk_usage(small_disk).free >= before - 4096


@pytest.mark.slow
def test_a_full_disk_for_temporary_files_is_named(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    fill(small_disk)
    command = benchbench("run", str(path), cwd=workplace, TMPDIR=str(small_disk))
    assert "Traceback" not in command.stderr
    if command.returncode != 0:
        assert str(small_disk) in command.stderr.splitlines()[-1]
        assert benchbench("run", str(path), cwd=workplace).returncode == 0
    assert_undisturbed(path)


@pytest.mark.slow
def test_a_tracking_store_on_a_full_disk_is_named_and_written_later(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    shutil.move(workplace / "mlflow.db", small_disk / "mlflow.db")
    ballast = fill(small_disk)
    where = ["--tracking-uri", f"sqlite:///{small_disk}/mlflow.db"]
    command = benchbench("run", str(path), *where, cwd=workplace)
    assert command.returncode != 0
    assert "Traceback" not in command.stderr
    assert str(small_disk) in "".join(command.stderr.split())
    ballast.unlink()
    again = benchbench("run", str(path), *where, cwd=workplace)
    assert again.returncode == 0, again.stderr
    shutil.copy(small_disk / "mlflow.db", workplace / "mlflow.db")
    assert_undisturbed(path)


def test_a_cache_of_images_without_room_is_named(small_disk: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(OSError, match="No space left") as raised:
        folder._write_cache(small_disk / "cache.npy", [str(tmp_path / "a.png")], 2048)
    assert raised.value.filename == str(small_disk / "cache.npy")
    assert not list(small_disk.iterdir())


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_said_in_a_line(
    small_disk: Path, workplace: Path, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(SUITE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    command = benchbench("run", str(path), "--runs-dir", str(small_disk / "runs"), cwd=workplace)
    assert command.returncode == 2
    assert command.stderr.splitlines()[-1] == f"error: {small_disk / 'runs'}: Read-only file system"
    assert "Traceback" not in command.stderr


@pytest.mark.parametrize("store_is_lost_too", [False, True])
def test_a_run_whose_metrics_have_lost_lines_is_drawn_from_the_store_or_not_at_all(
    workplace: Path, write_suite: Callable[..., Path], migrated_store: Path, *, store_is_lost_too: bool
) -> None:
    path = write_suite(SUITE.replace("steps: 4", "steps: 4, target: 0.4").replace("[accuracy]", "[targets]"))
    rows, _ = run_inline(path)
    whole = api.figures(path, kinds=["curves"])
    metrics = workplace / ".benchbench/runs" / rows[0].spec.key / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:1] + lines[2:]))
    if not store_is_lost_too:
        assert api.figures(path, kinds=["curves"]) == whole
        return
    shutil.copy(migrated_store, workplace / "mlflow.db")
    again = benchbench("run", str(path), "--engine", "inline", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("warning:") == 1
    assert "metrics.jsonl is damaged: it is not what its run has written" in " ".join(again.stderr.split())
    assert "1 without a history" in again.stdout
    assert api.figures(path, kinds=["curves"]).without_history == ["SGD on line, seed 0"]


@pytest.mark.parametrize("name", ["edited", "without a checksum", "of another run"])
def test_without_the_store_a_changed_result_is_named_and_its_run_repeated(
    name: str, workplace: Path, write_suite: Callable[..., Path], migrated_store: Path, assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    rows, _ = run_inline(path)
    mine, other = (RunFolder(Path(".benchbench/runs", row.spec.key)) for row in rows[:2])
    result = other.result()
    assert result is not None
    if name == "edited":
        text = mine.result_file.read_text()
        mine.result_file.write_text(text.replace('"test/accuracy": 0.', '"test/accuracy": 4.'))
        assert mine.result_file.read_text() != text
    elif name == "of another run":
        shutil.copy(other.result_file, mine.result_file)
    else:
        mine.result_file.write_text(result.model_dump_json(indent=2) + "\n")
    shutil.copy(migrated_store, workplace / "mlflow.db")
    [shown] = [row for row in api.rows(api.load_suite(path)) if row.result and row.result.outcome == "failed"]
    assert shown.result is not None
    assert str(mine.result_file) in shown.result.message
    said: list[str] = []
    _, events = run_inline(path, warn=said.append)
    assert kinds(events).count("started") == 1
    assert [str(mine.result_file) in line and line.endswith("; the run is repeated") for line in said] == [True]
    assert_undisturbed(path)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", ["result.json", "spec.json", "metrics.jsonl"])
def test_a_file_that_was_written_by_halves_is_not_believed(
    name: str, workplace: Path, write_suite: Callable[..., Path], assert_undisturbed: Check
) -> None:
    path = write_suite(SUITE)
    rows, _ = run_inline(path)
    victim = workplace / ".benchbench/runs" / rows[0].spec.key
    whole = (victim / name).read_bytes()
    (victim / name).write_bytes(whole[: len(whole) // 2])
    if name != "result.json":  # as it is when its process dies
        (victim / "result.json").unlink()
    [lost] = [run for run in tracked() if run.data.tags["benchbench.key"] == rows[0].spec.key]
    mlflow_client().delete_run(lost.info.run_id)
    _, events = run_inline(path)
    assert kinds(events).count("started") == 1
    assert len(numbers(api.rows(api.load_suite(path)))) == 4
    assert_undisturbed(path)
