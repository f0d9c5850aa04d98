"""Progress of runs: bars on a terminal, one line per event elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from benchbench.problems import printable
from benchbench.scheduling.runner import Event
from benchbench.values import Metrics, RunResult, RunSpec

_LONGEST_LABEL = 36  # so that a line of the display fits into 80 columns


class ProgressDisplay:
    """Shows a runner's events on standard error; a context manager whose `show` goes to the runner."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._console.soft_wrap = not self._live
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            _Count(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._overall = self._bars.add_task("preparing", total=None, note="")
        self._current: dict[str, TaskID] = {}
        self._runs = 0
        self._ended = 0
        self._stopping = False

    def __enter__(self) -> ProgressDisplay:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        spec = event.spec
        match event.kind:
            case "planned":
                self._plan(spec, event.result)
            case "waiting":
                self._line(spec, "is being run by another invocation")
            case "submitted":
                self._line(spec, "is in the queue")
            case "started":
                self._start(spec)
            case "epoch" if event.record is not None:
                self._advance(spec, event.record.epoch, event.record.metrics)
            case "retried" if event.result is not None:
                crowded = "ran out of memory beside other runs; " if event.alone and event.result.out_of_memory else ""
                how = "started again, alone" if event.alone else "started again"
                self._line(spec, f"[yellow]{_reason(event.result)}; {crowded}{how}[/]")
                self._advance(spec, 0, {})
            case "stopping":
                self._stop()
            case "ended" if event.result is not None:
                self._end(spec, event.result)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._console.print(f"[yellow]warning: {escape(printable(text))}[/]")

    def _plan(self, spec: RunSpec, result: RunResult | None) -> None:
        self._runs += 1
        self._ended += result is not None
        if result is not None and spec.lacks_sharpness(result):
            self._line(spec, _unmeasured(result))
        if result is None:
            total = self._bars.tasks[self._overall].total or 0
            self._bars.update(self._overall, total=total + spec.epochs, description="epochs of all runs")

    def _start(self, spec: RunSpec) -> None:
        label = _label(spec)
        label = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
        self._current[spec.key] = self._bars.add_task(escape(label), total=spec.epochs, note="")
        if not self._live:
            self._line(spec, "started")

    def _advance(self, spec: RunSpec, epoch: int, metrics: Metrics) -> None:
        if spec.key in self._current:
            task = self._current[spec.key]
            before = self._bars.tasks[self._bars.task_ids.index(task)].completed
            self._bars.update(task, completed=epoch, note=escape(_summary(metrics)))
            self._bars.advance(self._overall, epoch - before)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._console.print("[yellow]stopping: runs leave a checkpoint first; Ctrl-C now ends them at once[/]")

    def _end(self, spec: RunSpec, result: RunResult) -> None:
        self._ended += 1
        if spec.key in self._current:
            self._advance(spec, spec.epochs, result.final)
            self._bars.remove_task(self._current.pop(spec.key))
        if result.outcome == "finished":
            seconds = f"{result.cost.train_seconds + (result.cost.warm_up_seconds or 0):.1f} s"
            self._line(spec, f"[green]finished[/] ({escape(_summary(result.final))}, {seconds})")
            if spec.lacks_sharpness(result):
                self._line(spec, _unmeasured(result))
        else:
            self._line(spec, f"[red]{result.outcome}[/]: {_reason(result)}")

    def _line(self, spec: RunSpec, text: str) -> None:
        count = f"{self._ended:>{len(str(self._runs))}}/{self._runs}"
        self._console.print(f"{escape(f'[{count}]')} {escape(_label(spec))}: {text}")


class _Count(MofNCompleteColumn):
    """Epochs done and in all, once the number is known."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text()


def _label(spec: RunSpec) -> str:
    return printable(f"{spec.method} · {spec.workload_label} · seed {spec.seed}")


def _summary(metrics: Metrics) -> str:
    """Return the metrics of the split that chooses the epoch; its loss if there are no others."""
    split = "validation/" if any(name.startswith("validation/") for name in metrics) else "test/"
    named = {name.removeprefix(split): value for name, value in metrics.items() if name.startswith(split)}
    shown = {name: value for name, value in named.items() if name != "loss"} or named
    return printable(", ".join(f"{name} {value:.4g}" for name, value in shown.items()))


def _unmeasured(result: RunResult) -> str:
    return f"[yellow]sharpness not measured[/]: {escape(printable(result.sharpness_missing or 'its weights are gone'))}"


def _reason(result: RunResult) -> str:
    """Return the most informative line of a result's message: the first of a crash, the last of a traceback."""
    lines = result.message.strip().splitlines() or [result.outcome]
    return escape(printable(lines[-1] if result.outcome == "failed" else lines[0]))
