"""The folder of one run: plain files, complete enough to lose nothing when the tracking store is away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchbench.checkpoint import Checkpoints
from benchbench.values import EpochRecord, RunResult, RunSpec, Submission


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; it has ended once there is a `result.json`.

    Attributes:
        path: The folder, named by the run's key.
    """

    path: Path

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
    def lock_file(self) -> Path:
        """Locked by the process that is at work on the run."""
        return self.path / "lock"

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
        """Write the spec, and remove what an earlier attempt left, apart from its checkpoints."""
        self.path.mkdir(parents=True, exist_ok=True)
        left = (self.result_file, self.metrics_file, self.diagnostics_file, self.sharpness_file, self.log_file)
        for file in (*left, self.weights_file):
            file.unlink(missing_ok=True)
        _write(self.spec_file, spec.model_dump_json(indent=2) + "\n")

    def append(self, record: EpochRecord) -> None:
        """Add a line to the metrics."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def rewind(self, records: Sequence[EpochRecord]) -> None:
        """Let the metrics be these, in one piece or not at all."""
        _write(self.metrics_file, "".join(record.model_dump_json() + "\n" for record in records))

    def finish(self, result: RunResult) -> None:
        """Write the result, in one piece or not at all; after a conclusive one, checkpoints have no use."""
        _write(self.result_file, result.model_dump_json(indent=2) + "\n")
        if result.conclusive:
            self.checkpoints.clear()

    def result(self) -> RunResult | None:
        """Return the result, or `None` when the run has not ended (or its file is unreadable)."""
        try:
            return RunResult.model_validate_json(self.result_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def log_tail(self, lines: int) -> str:
        """Return the last `lines` lines of the log."""
        if not self.log_file.exists():
            return ""
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def records(self, skip: int = 0) -> Iterator[EpochRecord]:
        """Yield the complete lines of the metrics after the first `skip` ones."""
        try:
            text = self.metrics_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        complete = text[: text.rfind("\n") + 1].splitlines()
        for line in complete[skip:]:
            yield EpochRecord.model_validate_json(line)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # or a power cut could leave an empty file under the new name
    temporary.replace(path)
