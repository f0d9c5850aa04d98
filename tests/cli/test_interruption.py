"""Ctrl-C at the worst moments: what is broken off leaves nothing that stands in the way of the next command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.processes.signals import postponed
from benchbench.tracking import Tracker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_postponed_comes_at_the_end(number: signal.Signals) -> None:
    received: list[int] = []
    before = signal.signal(number, lambda got, _: received.append(got))
    try:
        with postponed():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            assert not received
        assert received == [number]
    finally:
        signal.signal(number, before)


def test_ctrl_c_while_mlflow_is_imported_lets_it_be_imported_as_a_whole(tmp_path: Path) -> None:
    code = """
import os, signal, sys, threading
from benchbench.tracking import Tracker

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is ignored, as in the background of a shell

def interrupt():
    while "mlflow.exceptions" not in sys.modules:
        pass
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    Tracker("sqlite:///never.db").end_invocation("0", finished=True)
except KeyboardInterrupt:
    from mlflow import MlflowClient
    print("whole")
"""
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert shown.stdout == "whole\n", shown.stderr


def test_a_store_that_was_broken_off_while_it_was_made_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half a database")
        raise KeyboardInterrupt

    monkeypatch.setattr("mlflow.MlflowClient", broken_off)
    with pytest.raises(KeyboardInterrupt):
        Tracker(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}").end_invocation("0", finished=True)
    assert not list((tmp_path / "new").iterdir())
