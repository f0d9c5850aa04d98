"""A run's precision of float32 is its own, whichever of torch's interfaces its plugins have used."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import benchbench
from tests.helpers.suites import line, suite

WAYS = [
    "",
    "backends.fp32_precision = 'tf32'",
    "backends.fp32_precision = 'ieee'",
    "backends.cudnn.fp32_precision = 'tf32'",
    "backends.cuda.matmul.fp32_precision = 'tf32'",
    "backends.cuda.matmul.fp32_precision = 'ieee'",
    "backends.cudnn.conv.fp32_precision = 'ieee'",
    "backends.cudnn.rnn.fp32_precision = 'ieee'",
    "backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "backends.mkldnn.conv.fp32_precision = 'tf32'",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "backends.cuda.matmul.allow_tf32 = True",
    "backends.cudnn.allow_tf32 = False",
    "backends.cuda.matmul.allow_tf32 = True; backends.fp32_precision = 'ieee'",
    "backends.cudnn.allow_tf32 = False; backends.fp32_precision = 'tf32'",
    "torch.set_float32_matmul_precision('medium'); backends.cuda.matmul.fp32_precision = 'ieee'",
]
"""Of asking for a precision."""

PROGRAM = """
import json, os, sys, warnings
import torch
from torch import backends
from benchbench.optim.execution.float32 import tf32

warnings.simplefilter("ignore")
OLDER = {
    "matmul": lambda: backends.cuda.matmul.allow_tf32,
    "precision": torch.get_float32_matmul_precision,
    "cudnn": lambda: backends.cudnn.allow_tf32,
}
NEWER = {
    "all": backends, "cuda": backends.cudnn, "matmul": backends.cuda.matmul, "conv": backends.cudnn.conv,
    "rnn": backends.cudnn.rnn, "mkldnn": backends.mkldnn, "mkldnn matmul": backends.mkldnn.matmul,
    "mkldnn conv": backends.mkldnn.conv, "mkldnn rnn": backends.mkldnn.rnn,
}

def older():
    found = {}
    for name, read in OLDER.items():
        try:
            found[name] = read()
        except RuntimeError as error:
            found[name] = str(error)
    return found

def state():
    return older(), {name: each.fp32_precision for name, each in NEWER.items()}

def judged(way):
    exec(way)
    before, wrong = state(), []
    for allowed in (False, True):
        try:
            with tf32(allowed):
                found, newer = state()
                exec("backends.cuda.matmul.fp32_precision = 'none'")  # as code inside a run may
                raise KeyError
        except KeyError:
            pass
        if found != {"matmul": allowed, "precision": "high" if allowed else "highest", "cudnn": allowed}:
            wrong.append(found)
        if {newer[name] for name in ("matmul", "conv", "rnn")} != {"tf32" if allowed else "ieee"}:
            wrong.append(newer)
        if {newer["mkldnn " + name] for name in ("matmul", "conv", "rnn")} != {"ieee"}:
            wrong.append(newer)
        if state() != before:
            wrong.append((before, state()))
    return wrong

for way in json.loads(sys.argv[1]):
    if os.fork() == 0:  # what is set here is the process's
        print(json.dumps([way, judged(way)]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_both_interfaces_say_the_same_in_a_run_and_are_put_back() -> None:
    command = [sys.executable, "-c", PROGRAM, json.dumps(WAYS)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [[way, []] for way in WAYS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "options"),
    [(WAYS[1], []), (WAYS[4], ["--set", "workloads.line.tf32=true"]), (WAYS[-1], ["--engine", "inline"])],
)
def test_a_plugin_that_sets_a_precision_runs(
    write_suite: Callable[..., Path], workplace: Path, way: str, options: list[str]
) -> None:
    plugin = workplace / "ours.py"
    plugin.write_text(f"import torch\nfrom torch import backends\n{way}\nclass Ours(torch.optim.SGD): pass\n")
    text = suite(workloads={"line": line(epochs=1)}, methods={"Ours": {"optimizer": f"{plugin}:Ours", "lr": 0.1}})
    done = benchbench("run", str(write_suite(text)), "--devices", "cpu", *options, cwd=workplace)
    assert done.returncode == 0, done.stdout + done.stderr
