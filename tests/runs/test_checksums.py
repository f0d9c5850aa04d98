"""Files of runs that have changed since they were written: noticed, named, and never a number from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.runs.checkpoint import UnusableCheckpointError, save_tensors
from benchbench.runs.checksums import DamagedError
from benchbench.runs.folder import RunFolder
from benchbench.values import DiagnosticRecord, EpochRecord, RunResult, Submission
from tests.training.test_trainer import spec

SPEC = spec(epochs=3)
RECORDS = [EpochRecord(epoch=n, metrics={"test/accuracy": 0.1 * n}, cost={}) for n in (1, 2, 3)]
DIAGNOSTICS = [DiagnosticRecord(step=n, epoch=1, values={"update_norm": 0.5 * n}) for n in (2, 4)]


def ended(runs: Path, key: str = "") -> RunFolder:
    """Return the folder of a run of three epochs."""
    folder = RunFolder(runs / (key or SPEC.key))
    folder.prepare(SPEC)
    for record in RECORDS:
        folder.append(record)
    for each in DIAGNOSTICS:
        folder.append_diagnostics(each)
    save_tensors(folder.weights_file, {"w": [1.0]})
    final = {"test/accuracy": 4.78, "test/loss": float("nan")}
    folder.finish(RunResult(key=SPEC.key, outcome="finished", epochs=3, final=final))
    return folder


def flips(content: bytes) -> list[bytes]:
    """Return all that a content becomes when one of its bits flips."""
    found = []
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        found.append(bytes(changed))
    return found


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    result = folder.result()
    assert result is not None
    assert repr(result.final) == "{'test/accuracy': 4.78, 'test/loss': nan}"
    assert (folder.records(), folder.diagnostics(), folder.lost()) == (RECORDS, DIAGNOSTICS, [])
    assert folder.spec() == SPEC
    assert folder.weights() == {"w": [1.0]}


def test_every_flipped_bit_of_a_result_is_noticed_and_named(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    for changed in flips(folder.result_file.read_bytes()):
        folder.result_file.write_bytes(changed)
        assert folder.result() is None
        assert str(folder.result_file) in folder.lost()[0]


@pytest.mark.parametrize("has_ended", [True, False])
def test_no_flipped_bit_of_a_history_is_believed(tmp_path: Path, *, has_ended: bool) -> None:
    folder = ended(tmp_path)
    if not has_ended:
        folder.result_file.unlink()
    for file, read, written in (
        (folder.metrics_file, folder.records, RECORDS),
        (folder.diagnostics_file, folder.diagnostics, DIAGNOSTICS),
    ):
        whole = file.read_bytes()
        for changed in flips(whole):
            file.write_bytes(changed)
            found = read()  # type: ignore[operator]
            assert len(found) < len(written)
            assert found == written[: len(found)]
            if has_ended:
                assert found == []
                assert str(file) in folder.lost()[0]
        file.write_bytes(whole)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncation": lambda content: content[: len(content) // 2],
    "a line that is missing": lambda content: b"".join(content.splitlines(keepends=True)[1:]),
    "the last line is missing": lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    "lines that are there twice": lambda content: content + content.splitlines(keepends=True)[-1],
    "other order": lambda content: b"".join(content.splitlines(keepends=True)[::-1]),
    "nothing": lambda _: b"",
    "edited by hand": lambda content: content.replace(b'"epoch":1', b'"epoch":7'),
    "no checksums": lambda content: content.replace(b',"checksum"', b',"sum"'),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["metrics.jsonl", "diagnostics.jsonl"])
def test_a_damaged_history_of_a_run_that_has_ended_is_lost_as_a_whole(tmp_path: Path, name: str, kind: str) -> None:
    folder = ended(tmp_path)
    file = folder.path / name
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    assert (folder.records() if name == "metrics.jsonl" else folder.diagnostics()) == []
    [line] = folder.lost()
    assert str(file) in line
    assert folder.result() is not None


@pytest.mark.parametrize("kind", ["a line that is missing", "lines that are there twice", "other order"])
def test_lines_out_of_order_are_not_believed_while_a_run_is_under_way(tmp_path: Path, kind: str) -> None:
    folder = ended(tmp_path)
    folder.result_file.unlink()
    for file in (folder.metrics_file, folder.diagnostics_file):
        file.write_bytes(DAMAGE[kind](file.read_bytes()))
    assert folder.records() == (RECORDS if kind == "lines that are there twice" else [])
    in_order = folder.diagnostics()
    assert [each.step for each in in_order] == sorted({each.step for each in in_order})


def test_what_belongs_to_another_run_is_not_believed(tmp_path: Path) -> None:
    here, other = ended(tmp_path), ended(tmp_path, "0123456789abcdef")
    for file in other.path.iterdir():
        if file.is_file() and file.suffix != ".pt":
            shutil.copy(file, here.path / file.name)
    assert (here.result(), here.records(), here.diagnostics()) == (None, [], [])
    with pytest.raises(DamagedError, match="does not match its checksum"):
        here.spec()


def test_the_history_of_another_attempt_is_not_that_of_the_result(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    kept = folder.metrics_file.read_bytes()
    folder.prepare(SPEC)
    for record in RECORDS:
        folder.append(record.model_copy(update={"metrics": {"test/accuracy": 0.5}}))
    folder.finish(RunResult(key=SPEC.key, outcome="finished", epochs=3))
    folder.metrics_file.write_bytes(kept)
    assert folder.records() == []


def test_a_result_that_is_completed_later_does_not_bless_what_has_changed_meanwhile(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    result = folder.result()
    assert result is not None
    folder.metrics_file.write_bytes(folder.metrics_file.read_bytes().splitlines(keepends=True)[0])
    save_tensors(folder.weights_file, {"w": [2.0]})
    folder.finish(result.model_copy(update={"unmetered": "not asked for"}))
    assert folder.records() == []
    with pytest.raises(UnusableCheckpointError, match=r"weights\.pt: damaged; --force"):
        folder.weights()


def test_metrics_that_were_damaged_before_the_end_are_named_at_the_end(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    folder.result_file.unlink()
    folder.metrics_file.write_bytes(DAMAGE["a line that is missing"](folder.metrics_file.read_bytes()))
    folder.finish(RunResult(key=SPEC.key, outcome="finished", epochs=3))
    assert folder.lost() == [f"{folder.metrics_file} has 0 of the 3 epochs of its run"]


@pytest.mark.parametrize("name", ["spec.json", "result.json", "metrics.jsonl", "sharpness.json", "weights.pt"])
def test_a_folder_in_the_place_of_a_file_is_damage_like_any_other(tmp_path: Path, name: str) -> None:
    folder = ended(tmp_path)
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name / "below").mkdir(parents=True)
    folder.result()
    folder.records()
    folder.sharpness()
    if name in ("result.json", "metrics.jsonl"):
        assert name in folder.lost()[0]
    folder.forget()
    folder.prepare(SPEC)
    folder.finish(RunResult(key=SPEC.key, outcome="finished"))
    assert folder.result() is not None


def test_a_note_on_another_system_that_is_damaged_is_said_and_not_taken_for_none(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    note = Submission(engine="slurm", job="17", submitted_at="2026-01-01")
    folder.submit(note)
    assert folder.submission() == note
    for changed in flips(folder.submission_file.read_bytes()):
        folder.submission_file.write_bytes(changed)
        with pytest.raises(DamagedError, match="remove it once there is no such job"):
            folder.submission()


def test_a_file_without_a_checksum_is_not_trusted(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    result = folder.result()
    assert result is not None
    folder.result_file.write_text(result.model_dump_json(indent=2) + "\n")  # as earlier versions wrote it
    assert folder.result() is None
    assert "has no checksum" in folder.lost()[0]
