"""The folder of one run: plain files, complete enough to lose nothing when the tracking store is away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from benchbench.files import append, private_folder, remove, write_whole
from benchbench.runs import claims
from benchbench.runs.checkpoint import Checkpoints, UnusableCheckpointError, load_intact
from benchbench.runs.checksums import DamagedError, digest_of, sealed, unsealed
from benchbench.values import DiagnosticRecord, EpochRecord, Frozen, RunResult, RunSpec, Submission
from benchbench.values.sharpness import RunSharpness, SharpnessSummary, with_sharpness

_Record = TypeVar("_Record", EpochRecord, DiagnosticRecord)
_Value = TypeVar("_Value", bound=Frozen)

_LONGEST_TAIL = 64 * 1024


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; it has ended once there is a `result.json`.

    Every JSON text in them has a checksum, and the result has the digests of the files that it sums up. What is not as
    it was written, or belongs to another run, is not believed.

    Attributes:
        path: The folder, named by the run's key.
        claim: Number of the claim under which it is written. Once another command has claimed the run, because this
            process or its machine had been silent for too long, nothing is written any more. `None` writes anyway.
    """

    path: Path
    claim: int | None = None

    @property
    def held(self) -> bool:
        """True if the run is still this process's to write."""
        return self.claim is None or self.claim == claims.current(self.path)

    def as_claimed(self) -> RunFolder:
        """Return the folder as that of the command that has claimed it now, unless it says already whose it is.

        What was handed over to another system is that system's, also if another command claims it to wait for its end.
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
    def sharpness_files(self) -> list[Path]:
        """One file for each settings by which the sharpness of the solution was measured, or was to be."""
        return sorted(self.path.glob("sharpness*.json"))  # earlier versions kept one, without a digest in its name

    @property
    def weights_file(self) -> Path:
        """The model's state at the end of the run, at the weights that the optimizer recommends."""
        return self.path / "weights.pt"

    @property
    def tracked_files(self) -> list[Path]:
        """The files that are kept in the tracking store too, those that exist."""
        files = (self.spec_file, self.metrics_file, self.diagnostics_file, self.log_file, self.result_file)
        return [file for file in (*files, *self.sharpness_files) if file.is_file()]

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints that an attempt at the run leaves for the next one."""
        return Checkpoints(self.path / "checkpoints")

    @property
    def submission_file(self) -> Path:
        """Says that the run was handed over to another system, which answers for it until it has ended there."""
        return self.path / "submitted.json"

    def submission(self) -> Submission | None:
        """Return the external scheduler's job for the run, or `None` if there is none.

        Raises:
            DamagedError: That cannot be known any more.
        """
        try:
            return self._read(Submission, self.submission_file)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            reason = f"{error.strerror}; it names the job that has the run: remove it once there is no such job"
            raise DamagedError(self.submission_file, reason) from None

    def submit(self, submission: Submission) -> None:
        """Note that the run was handed over."""
        self._write(self.submission_file, submission.model_dump_json())

    def spec(self) -> RunSpec:
        """Return the spec, as the run was started.

        Raises:
            FileNotFoundError: It never was.
            DamagedError: The file is not what was written.
        """
        return self._read(RunSpec, self.spec_file)

    def prepare(self, spec: RunSpec) -> None:
        """Write the spec, and remove what an earlier attempt left, apart from its checkpoints.

        Of a run that only has to be measured, everything stays.
        """
        if not self.held:
            return
        private_folder(self.path)  # logs and weights are the user's own affair
        left = (self.result_file, self.metrics_file, self.diagnostics_file, self.log_file, self.weights_file)
        for file in () if self.is_measurable(spec) else (*left, *self.sharpness_files):
            remove(file)
        self._write(self.spec_file, spec.model_dump_json(indent=2))

    def append(self, record: EpochRecord) -> None:
        """Add a line to the metrics."""
        if not self.held:
            return
        append(self.metrics_file, self._line(record))

    def append_diagnostics(self, record: DiagnosticRecord) -> None:
        """Add a line to the diagnostics."""
        append(self.diagnostics_file, self._line(record))

    def rewind(self, records: Sequence[EpochRecord], diagnostics: Sequence[DiagnosticRecord] = ()) -> None:
        """Let the metrics and the diagnostics be these, each file in one piece or not at all."""
        if not self.held:
            return
        write_whole(self.metrics_file, b"".join(map(self._line, records)))
        if diagnostics:
            write_whole(self.diagnostics_file, b"".join(map(self._line, diagnostics)))

    def finish(self, result: RunResult) -> None:
        """Write the result, in one piece or not at all; after a conclusive one, checkpoints have no use."""
        if not self.held:
            return
        written = self._written_result()
        # What an earlier result of the attempt has summed up stays what it was.
        files = {**self._digests(), **(written[1] if written else {})}
        self._write(self.result_file, json.dumps({**json.loads(result.model_dump_json()), "files": files}, indent=2))
        if result.conclusive:
            self.checkpoints.clear()

    def forget(self) -> None:
        """Delete the outcome of the run, so that it starts over."""
        self.checkpoints.clear()
        remove(self.result_file)

    def is_measurable(self, spec: RunSpec) -> bool:
        """Return whether only the sharpness that is asked for is missing, and the run has left its weights."""
        result = self.answer(spec)
        return result is not None and spec.lacks_sharpness(result) and self.weights_file.exists()

    def is_settled(self, spec: RunSpec) -> bool:
        """Return whether the run has answered, and no measurement can add to that."""
        result = self.result()
        return result is not None and result.conclusive and not self.is_measurable(spec)

    def weights(self) -> dict[str, Any]:
        """Return the model's state at the end of a run that has finished, on the CPU.

        Raises:
            FileNotFoundError: There are no weights.
            UnusableCheckpointError: They are not those that the run ended with.
        """
        if not self.weights_file.exists():
            raise FileNotFoundError(f"no weights in {self.path}")
        written = self._written_result()
        try:
            return load_intact(self.weights_file, written[1].get(self.weights_file.name, "") if written else "")
        except UnusableCheckpointError as error:
            raise UnusableCheckpointError(f"{self.weights_file}: {error}; --force trains the run again") from error

    def keep_sharpness(self, measured: RunSharpness | SharpnessSummary) -> None:
        """Write what was measured, or why nothing was, in one piece or not at all."""
        digest = measured.settings if isinstance(measured, SharpnessSummary) else measured.settings.digest
        if self.held:
            self._write(self.path / f"sharpness-{digest}.json", measured.model_dump_json(indent=2))

    def sharpness(self) -> dict[str, RunSharpness]:
        """Return the sharpness of the solution by digest of the settings; damaged files are left out."""
        return {each.settings.digest: each for each in self._measured() if isinstance(each, RunSharpness)}

    def answer(self, spec: RunSpec) -> RunResult | None:
        """Return the result with the sharpness that a spec asks for, or `None` when the run has not ended."""
        result = self.result()
        return self.with_sharpness(result, spec) if result is not None else None

    def with_sharpness(self, result: RunResult, spec: RunSpec) -> RunResult:
        """Return a result of the run with the sharpness that a spec asks for, or with the reason why it is missing."""
        return with_sharpness(result, spec.sharpness, self.summaries())

    def summaries(self) -> list[SharpnessSummary]:
        """Return in short what was measured of the solution, and why other measurements have failed."""
        return [each.summary if isinstance(each, RunSharpness) else each for each in self._measured()]

    def _measured(self) -> Iterator[RunSharpness | SharpnessSummary]:
        for file in self.sharpness_files:
            with suppress(DamagedError, FileNotFoundError):
                failed = "missing" in json.loads(self._unsealed(file))
                yield self._read(SharpnessSummary, file) if failed else self._read(RunSharpness, file)

    def result(self) -> RunResult | None:
        """Return the result, or `None` when the run has not ended, or the file is damaged."""
        written = self._written_result()
        return written[0] if written else None

    def lost(self) -> list[str]:
        """Return what an ended run has lost of its files since it ended: a line for each, with path and reason."""
        try:
            result, files = self._read_result()
        except FileNotFoundError:
            return []
        except DamagedError as error:
            return [str(error)]
        lost = []
        for name, digest in files.items():
            path = self.path / name
            if path == self.weights_file:  # which are left out where they are too large, and can be removed
                continue
            if not path.exists():
                lost.append(f"{path} is gone")
            elif _digest(path) != digest:
                lost.append(f"{path} is damaged: it is not what its run has written")
        if result.conclusive and not lost and not result.has_all_of(records := self.records()):
            lost.append(f"{self.metrics_file} has {len(records)} of the {result.epochs} epochs of its run")
        for file in self.sharpness_files:
            try:
                self._unsealed(file)
            except DamagedError as error:
                lost.append(str(error))
        return lost

    def _written_result(self) -> tuple[RunResult, dict[str, str]] | None:
        """Return the result and the digests of the files that it sums up, by name."""
        try:
            return self._read_result()
        except (FileNotFoundError, DamagedError):
            return None

    def _read_result(self) -> tuple[RunResult, dict[str, str]]:
        content = json.loads(self._unsealed(self.result_file))
        try:
            files = content.pop("files")
            return RunResult.model_validate(content), dict(files)
        except (ValidationError, LookupError, TypeError, ValueError):
            raise DamagedError(self.result_file, "is damaged: it holds no result") from None

    def _digests(self) -> dict[str, str]:
        summed_up = (self.metrics_file, self.diagnostics_file, self.weights_file)
        return {file.name: digest_of(file) for file in summed_up if file.is_file()}

    def _is_whole(self, path: Path) -> bool:
        """Return whether a file has the digest that the result records, if there is a result."""
        written = self._written_result()
        return written is None or written[1].get(path.name) == _digest(path)

    def _read(self, model: type[_Value], path: Path) -> _Value:
        try:
            return model.model_validate_json(self._unsealed(path))
        except ValidationError as error:
            raise DamagedError(path, f"cannot be read: {error.errors()[0]['msg']}") from None

    def _unsealed(self, path: Path) -> str:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedError(path, f"cannot be read: {error.strerror}") from None
        text = unsealed(content, _place(path))
        if text is None:
            has_one = b'"checksum"' in content
            reason = "does not match its checksum" if has_one else "has no checksum, as of an earlier version"
            raise DamagedError(path, f"is damaged or was changed: it {reason}")
        return text

    def _write(self, path: Path, text: str) -> None:
        write_whole(path, sealed(text, _place(path)))

    def _line(self, record: EpochRecord | DiagnosticRecord) -> bytes:
        file = self.metrics_file if isinstance(record, EpochRecord) else self.diagnostics_file
        return sealed(record.model_dump_json(), _place(file))

    def log_tail(self, lines: int) -> str:
        """Return the last `lines` lines of the log, as far as they are within its last 64 KiB."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_TAIL))
            text = file.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def records(self) -> list[EpochRecord]:
        """Return the complete lines of the metrics, none where they are not those that the result sums up."""
        return Tail(self).new() if self._is_whole(self.metrics_file) else []

    def diagnostics(self) -> list[DiagnosticRecord]:
        """Return the complete lines of the diagnostics, none where none were asked for, or they are not the run's."""
        return intact_records(DiagnosticRecord, self.diagnostics_file) if self._is_whole(self.diagnostics_file) else []


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
        except OSError:
            return []
        if self._state == (state := (status.st_size, status.st_mtime_ns)):
            return []
        self._state = state
        found = intact_records(EpochRecord, self._file, self._count)
        self._count += len(found)
        return found


def intact_records(model: type[_Record], path: Path, start: int = 0) -> list[_Record]:
    """Return what the lines of a file say, up to the first one that is damaged: what follows is not believed either.

    Args:
        model: What each line holds.
        path: The file; a last line that has no end does not count.
        start: Lines to pass over.
    """
    try:
        lines = path.read_bytes().split(b"\n")[start:-1]
    except OSError:
        return []
    found: list[_Record] = []
    for number, line in enumerate(lines, start + 1):
        text = unsealed(line + b"\n", _place(path))
        if text is None:
            break
        record = model.model_validate_json(text)
        if isinstance(record, EpochRecord):
            in_order = record.epoch == number
        else:
            in_order = not found or record.step > found[-1].step
        if not in_order:  # a line is missing, or there twice
            break
        found.append(record)
    return found


def _place(path: Path) -> str:
    """Return what ties a file's content to it: the run's key, which is the name of its folder, and its own name."""
    return f"{path.absolute().parent.name}/{path.name}"


def _digest(path: Path) -> str | None:
    """Return the digest of a file, `None` where there is none that can be read."""
    try:
        return digest_of(path)
    except OSError:
        return None
