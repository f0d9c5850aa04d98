"""The form of the command line: help in windows of several widths, and one line for what cannot be understood."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from benchbench.cli import app
from benchbench.cli.progress import ProgressDisplay
from benchbench.scheduling.runner import Event
from benchbench.suite import load
from benchbench.values import RunResult
from tests.conftest import benchbench

SHARED = (
    "--only",
    "--set",
    "--synthetic",
    "--code-from",
    "--force",
    "--keep-stale",
    "--format",
    "--json",
    "--engine",
    "--slots",
    "--slots-per-device",
    "--devices",
    "--address",
    "--no-wait",
    "--tracking-uri",
    "--runs-dir",
    "--data-dir",
)
"""Options of several commands, in the order in which each of them lists those it has."""


def commands() -> Iterator[tuple[str, ...]]:
    root = get_command(app)
    for name, command in root.commands.items():
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", ()))


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("command", [(), *commands()], ids=" ".join)
def test_help_fits_the_window_and_says_what_a_flag_is_by_its_name(command: tuple[str, ...], width: int) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(width), "TERM": "dumb"})
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= width
    assert "bool" not in shown.stdout.lower()
    # What an option takes is one short word, so that at least a third of the window is left to say what it means.
    options = shown.stdout.partition("╭─ Options")[2].splitlines()
    indents = [len(line[1:]) - len(line[1:].lstrip()) for line in options if line.startswith("│")]
    assert max(indents) <= width * 2 // 3


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_options_have_the_same_order_in_every_command(command: tuple[str, ...]) -> None:
    found = get_command(app)
    for name in command:
        found = found.commands[name]
    names = [parameter.opts[0] for parameter in found.params]
    shared = [name for name in names if name in SHARED]
    assert shared == sorted(shared, key=SHARED.index)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("rnu", "no such command: rnu; did you mean 'run'?"),
        ("leaderboard bild", "no such command: bild; did you mean 'build'?"),
        ("--verson", "no such option: --verson; did you mean '--version'?"),
        ("run digits --engin inline", "no such option: --engin; did you mean '--engine'?"),
        ("run digits --qqq", "no such option: --qqq; see `benchbench run --help`"),
        ("run", "missing argument 'SUITE'; see `benchbench run --help`"),
        ("plot digits", "missing option '--out'; see `benchbench plot --help`"),
        ("run digits --only", "option '--only' requires an argument"),
        (
            "run digits --engine lcal",
            "--engine: unknown value; allowed: local, inline, ray, slurm (got lcal); did you mean 'local'?",
        ),
        ("import x --from y", "--from: unknown value; allowed: algoperf, fob, modded-nanogpt (got y)"),
        (
            "list optimizer",
            "WHAT: unknown value; allowed: optimizers, workloads, models, datasets, suites (got optimizer); "
            "did you mean 'optimizers'?",
        ),
        ("tune digits --address here", "--address: only --engine ray has an address (got local)"),
    ],
)
def test_what_cannot_be_understood_is_one_line(arguments: str, line: str) -> None:
    shown = CliRunner().invoke(app, arguments.split(), prog_name="benchbench")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize(("value", "words"), [("0", "1"), ("many", "valid integer")])
def test_a_number_that_is_none_or_too_small_is_named(value: str, words: str) -> None:
    shown = CliRunner().invoke(app, ["run", "digits", "--slots", value])
    assert shown.exit_code == 2
    [line] = shown.stderr.splitlines()
    assert line.startswith("error: --slots: ")
    assert value in line
    assert words in line


def test_control_characters_in_arguments_are_shown_as_escapes() -> None:
    shown = CliRunner().invoke(app, ["\x1b[31mred", "--help"])
    assert (shown.exit_code, shown.stderr) == (2, "error: no such command: \\x1b[31mred; see `benchbench --help`\n")


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    for arguments in ((), ("leaderboard",)):
        shown = benchbench(*arguments, cwd=tmp_path)
        assert "Usage: " in shown.stdout
        assert "error" not in shown.stdout + shown.stderr


def in_a_terminal(*arguments: str, columns: int, cwd: Path) -> list[str]:
    """Return the lines that a command shows on a terminal of that width."""
    code = (
        "import fcntl, struct, sys, termios\n"
        "fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 40, int(sys.argv[1]), 0, 0))\n"
        "from benchbench.cli import main\n"
        "sys.argv = ['benchbench', *sys.argv[2:]]\n"
        "main()\n"
    )
    shown, terminal = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run(
        [sys.executable, "-c", code, str(columns), *arguments],
        cwd=cwd,
        env=environment | {"TERM": "xterm"},
        stdout=terminal,
        stderr=terminal,
        check=True,
    )
    os.close(terminal)
    text = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(shown, 1 << 16):
            text += part
    os.close(shown)
    return text.decode().splitlines()


def test_a_listing_is_folded_to_the_window_and_has_no_empty_column(
    workplace: Path, write_suite: Callable[..., Path]
) -> None:
    name = "a method with a very long name indeed"
    suite = write_suite(f"""
name: long
title: Long
seeds: [0]
workloads: {{line: {{workload: "STUBS:line", epochs: 2, batch_size: 8}}}}
methods: {{{name}: {{category: First-order, optimizer: sgd, lr: 0.1}}}}
""")
    lines = in_a_terminal("status", str(suite), columns=70, cwd=workplace)
    assert max(map(len, lines)) <= 70
    assert lines[0].split() == ["workload", "method", "seed", "state", "epochs", "key"]
    wide = in_a_terminal("status", str(suite), columns=200, cwd=workplace)
    assert name in wide[2]


def test_a_store_that_is_not_there_is_named(workplace: Path) -> None:
    for command in ("status", "report"):
        shown = CliRunner().invoke(app, [command, "digits", "--tracking-uri", "sqlite:////no/where.db"])
        assert shown.stderr == "there is no tracking store yet: sqlite:////no/where.db\n"
    assert CliRunner().invoke(app, ["status", "digits"]).stderr == ""


def test_names_of_metrics_are_shown_and_not_printed(capsys: pytest.CaptureFixture) -> None:
    spec = load("digits").specs[0]
    names = ("loss\nerror: forged", "\u202egnp.exe", "red\x1b[31m", "\x00")
    metrics = {f"validation/{name}": 0.5 for name in names}
    result = RunResult(key=spec.key, outcome="finished", final=metrics)
    with ProgressDisplay() as display:
        for event in (Event("planned", spec), Event("started", spec), Event("ended", spec, result=result)):
            display.show(event)
    said = capsys.readouterr().err
    assert not [sign for sign in "\u202e\x1b\x00" if sign in said]
    assert not [line for line in said.splitlines() if line.startswith("error:")]
    assert "\\u202egnp.exe 0.5" in said


def test_a_terminal_without_a_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    spec = load("digits").specs[0]
    with ProgressDisplay() as display:
        display.show(Event("planned", spec))
        display.show(Event("started", spec))
        display.show(Event("stopping", spec))
        display.show(Event("stopping", spec))
    assert capsys.readouterr().err.splitlines() == [
        "[0/1] SGD · digits-resnet8 · seed 0: started",
        "stopping: runs leave a checkpoint first; Ctrl-C now ends them at once",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [("list", "suites"), ("schema",)])
def test_a_full_disk_behind_standard_output_is_one_line(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", "from benchbench.cli import main; main()", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")
