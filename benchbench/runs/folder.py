"""The folder of one run: plain files, complete enough to lose nothing when the tracking store is away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from benchbench.runs import claims
from benchbench.runs.checkpoint import Checkpoints
from benchbench.sharpness import RunSharpness
from benchbench.values import DiagnosticRecord, EpochRecord, RunResult, RunSpec, Submission

_Record = TypeVar("_Record", EpochRecord, DiagnosticRecord)

_LONGEST_TAIL = 64 * 1024


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; it has ended once there is a `result.json`.

    Attributes:
        path: The folder, named by the run's key.
        claim: Number of the claim under which it is written. Once somebody else has claimed the run, because this
            process or its machine had been silent for too long, nothing is written any more. `None` writes anyway.
    """

    path: Path
    claim: int | None = None

    @property
    def held(self) -> bool:
        """Whether the run is still this one's to write."""
        return self.claim is None or self.claim == claims.current(self.path)

    def as_claimed(self) -> RunFolder:
        """Return the folder as that of whoever has claimed it now, unless it says already whose it is.

        What was handed over to another system is that system's, whoever claims it to wait for its end.
        """
        if self.claim is not None or self.submission() is not None:
            return self
        return replace(self, claim=claims.current(self.path))

    @property
    def spec_file(self) -> Path:
        """The run's spec, as it was started."""
        return self.path / "spec.json"

    @property
    def metrics_file(self) -> Path:
        """One `EpochRecord` per line, appended while the run trains."""
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        """Everything that the run's process printed."""
        return self.path / "log.txt"

    @property
    def result_file(self) -> Path:
        """The run's result; its existence says that the run has ended."""
        return self.path / "result.json"

    @property
    def diagnostics_file(self) -> Path:
        """One `DiagnosticRecord` per line, for runs that are asked for them."""
        return self.path / "diagnostics.jsonl"

    @property
    def sharpness_file(self) -> Path:
        """The sharpness of the solution that the run has found, once it has been measured."""
        return self.path / "sharpness.json"

    @property
    def weights_file(self) -> Path:
        """The model's state at the end of the run, at the weights that the optimizer recommends."""
        return self.path / "weights.pt"

    @property
    def tracked_files(self) -> list[Path]:
        """The files that are kept in the tracking store too, those that exist."""
        files = (self.spec_file, self.metrics_file, self.diagnostics_file, self.sharpness_file, self.log_file)
        return [file for file in (*files, self.result_file) if file.exists()]

    @property
    def checkpoints(self) -> Checkpoints:
        """What an attempt at the run leaves for the next one."""
        return Checkpoints(self.path / "checkpoints")

    @property
    def submission_file(self) -> Path:
        """Says that the run was handed over to another system, which answers for it until it has ended there."""
        return self.path / "submitted.json"

    def submission(self) -> Submission | None:
        """Return where the run was handed over to, or `None` if nobody else answers for it."""
        try:
            return Submission.model_validate_json(self.submission_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def submit(self, submission: Submission) -> None:
        """Note that the run was handed over."""
        _write(self.submission_file, submission.model_dump_json() + "\n")

    def prepare(self, spec: RunSpec) -> None:
        """Write the spec, and remove what an earlier attempt left, apart from its checkpoints.

        Of a run that only has to be measured, everything stays.
        """
        if not self.held:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)  # logs and weights are the user's own affair
        left = (self.result_file, self.metrics_file, self.diagnostics_file, self.sharpness_file, self.log_file)
        for file in () if self.measurable(spec) else (*left, self.weights_file):
            file.unlink(missing_ok=True)
        _write(self.spec_file, spec.model_dump_json(indent=2) + "\n")

    def append(self, record: EpochRecord) -> None:
        """Add a line to the metrics."""
        if not self.held:
            return
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def append_diagnostics(self, record: DiagnosticRecord) -> None:
        """Add a line to the diagnostics."""
        with self.diagnostics_file.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def rewind(self, records: Sequence[EpochRecord], diagnostics: Sequence[DiagnosticRecord] = ()) -> None:
        """Let the metrics and the diagnostics be these, each file in one piece or not at all."""
        if not self.held:
            return
        _write(self.metrics_file, "".join(record.model_dump_json() + "\n" for record in records))
        if diagnostics:
            _write(self.diagnostics_file, "".join(record.model_dump_json() + "\n" for record in diagnostics))

    def finish(self, result: RunResult) -> None:
        """Write the result, in one piece or not at all; after a conclusive one, checkpoints have no use."""
        if not self.held:
            return
        _write(self.result_file, result.model_dump_json(indent=2) + "\n")
        if result.conclusive:
            self.checkpoints.clear()

    def forget(self) -> None:
        """Let the run begin anew, whatever it has come to."""
        self.checkpoints.clear()
        self.result_file.unlink(missing_ok=True)

    def measurable(self, spec: RunSpec) -> RunResult | None:
        """Return the result of a run that has finished and left its weights, if only its sharpness is missing.

        Args:
            spec: The run, with what shall be measured.
        """
        result = self.result()
        left = result is not None and spec.lacks_sharpness(result) and self.weights_file.exists()
        return result if left else None

    def keep_sharpness(self, sharpness: RunSharpness) -> None:
        """Write what was measured, in one piece or not at all."""
        _write(self.sharpness_file, sharpness.model_dump_json(indent=2) + "\n")

    def sharpness(self) -> RunSharpness | None:
        """Return the sharpness of the solution, or `None` when it has not been measured (or its file is unreadable)."""
        try:
            return RunSharpness.model_validate_json(self.sharpness_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def result(self) -> RunResult | None:
        """Return the result, or `None` when the run has not ended (or its file is unreadable)."""
        try:
            return RunResult.model_validate_json(self.result_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def log_tail(self, lines: int) -> str:
        """Return the last `lines` lines of the log, as far as they are within its last 64 KiB."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_TAIL))
            text = file.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def records(self) -> list[EpochRecord]:
        """Return the complete lines of the metrics."""
        return Tail(self).new()

    def diagnostics(self) -> list[DiagnosticRecord]:
        """Return the complete lines of the diagnostics, none where none were asked for."""
        try:
            return complete_records(DiagnosticRecord, self.diagnostics_file.read_bytes())
        except FileNotFoundError:
            return []


class Tail:
    """Reads the metrics of a run while they are being written, each epoch once.

    Epochs are counted, for an attempt that goes on from a checkpoint writes those before it again.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._file = folder.metrics_file
        self._state = (0, 0)
        self._count = 0

    def new(self) -> list[EpochRecord]:
        """Return the epochs that have been completed since the last call."""
        try:
            status = self._file.stat()
            if self._state == (state := (status.st_size, status.st_mtime_ns)):
                return []
            content = self._file.read_bytes()
        except FileNotFoundError:
            return []
        self._state = state
        found = complete_records(EpochRecord, content, self._count)
        self._count += len(found)
        return found


def complete_records(model: type[_Record], content: bytes, start: int = 0) -> list[_Record]:
    """Return what the lines of a file say, up to the first one that is damaged: what follows is not believed either.

    Args:
        model: What each line holds.
        content: The file's content; a last line that has no end does not count.
        start: Lines to pass over.
    """
    found = []
    for line in content[: content.rfind(b"\n") + 1].splitlines()[start:]:
        try:
            found.append(model.model_validate_json(line))
        except ValidationError:
            break
    return found


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave an empty file under the new name
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
