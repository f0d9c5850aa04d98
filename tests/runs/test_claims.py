"""Claims on runs: one holder at a time, whatever dies, sleeps or looks at the wrong clock."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchbench.runs import claims
from benchbench.runs.claims import Holder, current
from benchbench.runs.folder import RunFolder
from benchbench.values import EpochRecord, RunResult


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A monotonic clock that stands still; the function moves it on."""
    now = 0.0

    def advance(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(claims.time, "monotonic", lambda: now)
    return advance


def test_one_of_several_gets_a_run_until_it_lets_go(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Holder(tmp_path) as first, Holder(tmp_path) as second, Holder(tmp_path, "elsewhere") as third:
        assert first.claim(run) == 1
        assert [holder.claim(run) for holder in (second, third, first)] == [None] * 3
        first.release(run, 1)
        assert third.claim(run) == 2
        assert first.claim(run) is None


def test_the_runs_of_a_command_that_has_ended_are_free(tmp_path: Path) -> None:
    with Holder(tmp_path) as ended:
        ended.claim(tmp_path / "run")
    with Holder(tmp_path, "elsewhere") as other:
        assert other.claim(tmp_path / "run") == 2
    assert not list((tmp_path / ".holders").iterdir())


def test_a_silent_holder_on_another_machine_is_dead_when_its_lease_is_over(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    run = tmp_path / "run"
    with Holder(tmp_path, "away") as silent, Holder(tmp_path, "here") as watching:
        silent.claim(run)
        assert watching.claim(run) is None
        clock(claims.LEASE_SECONDS)
        assert watching.claim(run) is None
        clock(1.0)
        assert watching.claim(run) == 2
        assert current(run) == 2


def test_a_holder_that_speaks_keeps_its_runs(tmp_path: Path, clock: Callable[[float], None]) -> None:
    with Holder(tmp_path, "away") as speaking, Holder(tmp_path, "here") as watching:
        speaking.claim(tmp_path / "run")
        for count in range(1, 8):
            assert watching.claim(tmp_path / "run") is None
            clock(claims.LEASE_SECONDS - 1)
            speaking._beat(count)


@pytest.mark.parametrize("hours", [-100, 100])
def test_other_clocks_do_not_matter(tmp_path: Path, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Holder(tmp_path, "away") as other, Holder(tmp_path, "here") as watching:
        other.claim(tmp_path / "run")
        wrong = time.time() + 3600 * hours
        for file in tmp_path.rglob("*"):
            os.utime(file, (wrong, wrong))
        monkeypatch.setattr(time, "time", lambda: wrong)
        assert watching.claim(tmp_path / "run") is None


def test_a_claim_that_was_never_completed_ends_with_the_lease(tmp_path: Path, clock: Callable[[float], None]) -> None:
    """Its maker has died between the creation of the file and the writing of its name."""
    (tmp_path / "run" / "claims").mkdir(parents=True)
    (tmp_path / "run" / "claims" / "7").touch()
    with Holder(tmp_path) as holder:
        assert holder.claim(tmp_path / "run") is None
        clock(claims.LEASE_SECONDS + 1)
        assert holder.claim(tmp_path / "run") == 8


def test_who_comes_late_does_not_get_a_number_that_was_given_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen the first claim end, and creates the second when that, and the third, are history."""
    run = tmp_path / "run"
    with Holder(tmp_path) as quick, Holder(tmp_path) as late:
        quick.release(run, quick.claim(run) or 0)

        def dawdle(claim: Path) -> bool:
            quick.release(run, quick.claim(run) or 0)
            assert quick.claim(run) == 3
            return True

        monkeypatch.setattr(late, "_is_over", dawdle)
        assert late.claim(run) is None
        assert current(run) == 3
        assert [file.name for file in (run / "claims").iterdir()] == ["3"]


TURNS = 15


def test_many_who_want_the_same_runs_never_have_one_at_once(tmp_path: Path) -> None:
    runs = [tmp_path / str(number) for number in range(3)]
    inside = dict.fromkeys(runs, 0)
    most = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        with Holder(tmp_path, f"machine {seed % 2}") as holder:
            had = 0
            while had < TURNS:
                run = chance.choice(runs)
                number = holder.claim(run)
                if number is not None:
                    had += 1
                    inside[run] += 1
                    most.append(inside[run])
                    time.sleep(chance.uniform(0, 0.001))
                    inside[run] -= 1
                    holder.release(run, number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * TURNS * len(threads)


HOLDING = """
import sys, time
from pathlib import Path
from benchbench.runs.claims import Holder
with Holder(Path(sys.argv[1])) as holder:
    print(holder.claim(Path(sys.argv[1], "run")), flush=True)
    time.sleep(600)
"""


def test_a_killed_command_frees_its_runs_at_once_on_its_own_machine(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    with Holder(tmp_path) as here, Holder(tmp_path, "elsewhere") as away:
        process.send_signal(signal.SIGSTOP)
        assert here.claim(tmp_path / "run") is None  # stopped is not dead
        process.kill()
        process.communicate()
        assert away.claim(tmp_path / "run") is None  # from there, nobody can know yet
        assert here.claim(tmp_path / "run") == 2


def test_who_has_lost_a_run_writes_nothing_any_more(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", claim=1)
    with Holder(tmp_path, "a") as holder:
        assert holder.claim(first.path) == 1
        record = EpochRecord(epoch=1, metrics={}, cost={})
        first.append(record)
        holder.release(first.path, 1)
        second = RunFolder(first.path, claim=holder.claim(first.path))
        second.finish(RunResult(key="k", outcome="finished"))
        first.finish(RunResult(key="k", outcome="failed"))
        first.append(record)
        first.rewind([])
    assert (first.held, second.held) == (False, True)
    assert second.result() == RunResult(key="k", outcome="finished")
    assert second.records() == [record]


def test_a_claim_is_abandoned_once_its_command_is_dead(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not claims.abandoned(run)
    with Holder(tmp_path) as holder:
        holder.claim(run)
        assert not claims.abandoned(run)
    assert claims.abandoned(run)
    with Holder(tmp_path) as holder:
        holder.release(run, holder.claim(run) or 0)
        assert not claims.abandoned(run)


def test_a_claim_is_abandoned_at_once_where_its_command_was_killed_on_this_machine(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = (
        "import os, sys, pathlib; from benchbench.runs.claims import Holder\n"
        "run = pathlib.Path(sys.argv[1]); holder = Holder(run.parent).__enter__(); holder.claim(run); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=False)
    assert current(run) == 1
    assert claims.abandoned(run)


@pytest.mark.parametrize(("silent", "dead"), [(30, False), (2 * claims.LEASE_SECONDS, False), (3600, True)])
def test_of_another_machine_a_long_silence_tells(silent: float, dead: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Holder(tmp_path, "away") as away:
        away.claim(run)
        for file in (tmp_path / ".holders").glob("[!.]*"):
            os.utime(file, (time.time() - silent,) * 2)
        assert claims.abandoned(run) == dead


def test_a_claim_that_cannot_be_written_holds_the_run_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    @contextmanager
    def on_a_full_disk(path: Path) -> Iterator[None]:
        yield
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with Holder(tmp_path) as unlucky, Holder(tmp_path) as other:
        with monkeypatch.context() as patch:
            patch.setattr(claims, "naming", on_a_full_disk)
            with pytest.raises(OSError, match="No space left on device"):
                unlucky.claim(run)
        assert not list((run / "claims").iterdir())
        assert other.claim(run) == 1


def test_a_run_is_let_go_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    run = small_disk / "run"
    with Holder(small_disk) as first, Holder(small_disk) as second:
        number = first.claim(run) or 0
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        first.release(run, number)
        ballast.unlink()
        assert second.claim(run) == number + 1


def test_what_a_file_server_leaves_among_the_claims_is_none(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Holder(tmp_path) as holder:
        assert holder.claim(run) == 1
        (run / "claims" / ".nfs0001").touch()
        assert current(run) == 1
        holder.release(run, 1)
        assert holder.claim(run) == 2
        assert not (run / "claims" / "1").exists()  # or a folder would gather them


def test_a_holder_file_that_is_damaged_stops_nobody(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Holder(tmp_path) as holder, Holder(tmp_path) as other:
        number = holder.claim(run) or 0
        (tmp_path / ".holders" / holder._token).write_bytes(b"\xff\xfe")
        assert other.claim(run) is None
        (run / "claims" / str(number)).write_bytes(b"\xff")
        assert other.claim(run) == 2
