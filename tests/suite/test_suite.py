"""Suites: what a file means, and everything that can be wrong with one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench import suite as suites
from benchbench.problems import BadInputError
from benchbench.values import Execution, Linear, MultiStep, RunSpec, Suite

Write = Callable[[str], Path]

SMALL = """\
name: small
seeds: [0, 1]
workloads:
  w: {epochs: 2, batch_size: 8}
methods:
  A: {optimizer: one, lr: 0.1}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "suite.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def problems(path: Path, *overrides: str) -> list[str]:
    """Return the problems of a file that has some, without its path."""
    with pytest.raises(BadInputError) as caught:
        suites.load(path, overrides=overrides)
    return [str(problem).replace(f"{path}:", "") for problem in caught.value.problems]


def one(suite: Suite, method: str, workload: str = "w") -> RunSpec:
    """Return the first run of a method on a workload."""
    return next(spec for spec in suite.specs if (spec.method, spec.workload_label) == (method, workload))


# What a file means


def test_the_memory_of_a_run_is_stated_like_its_budget_and_is_no_part_of_its_key(write: Write) -> None:
    plain = suites.load(write(SMALL))
    text = SMALL.replace("batch_size: 8", "batch_size: 8, memory: 1.5") + "  B: {optimizer: two, memory: 4}\n"
    suite = suites.load(write(text + "  C: {optimizer: two, memory: 4, overrides: {w: {memory: 0.5}}}\n"))
    assert [one(suite, method).memory for method in "ABC"] == [1.5, 4.0, 0.5]
    assert one(suite, "A").memory_stated == 1.5 * 2**30
    assert one(suite, "A").key == one(plain, "A").key


def test_every_run_is_spelled_out(write: Write) -> None:
    text = SMALL.replace("seeds", "title: A small one\ntimeout: 60\ntables: [cost]\nseeds")
    text = text.replace("methods:", "  v: {workload: other, epochs: 3, batch_size: 4, width: 5}\nmethods:")
    text += "  B: {category: Second, optimizer: two, betas: [0.9, 0.99], create_graph: true}\n"
    suite = suites.load(write(text))
    assert (suite.name, suite.title, suite.seeds, suite.tables) == ("small", "A small one", (0, 1), ("cost",))
    assert [(method.label, method.category) for method in suite.methods] == [("A", ""), ("B", "Second")]
    assert suite.workloads == ("w", "v")
    assert [(spec.workload_label, spec.method, spec.seed) for spec in suite.specs] == [
        (workload, method, seed) for workload in "wv" for method in "AB" for seed in (0, 1)
    ]
    first, last = suite.specs[0], suite.specs[-1]
    assert (first.workload.target, first.workload.parameters) == ("w", {})
    assert (first.optimizer.target, first.optimizer.parameters) == ("one", {"lr": 0.1})
    assert (first.epochs, first.batch_size, first.timeout, first.create_graph) == (2, 8, 60.0, None)
    assert (last.workload.target, last.workload.parameters) == ("other", {"width": 5})
    assert last.optimizer.parameters == {"betas": [0.9, 0.99]}
    assert (last.epochs, last.batch_size, last.create_graph) == (3, 4, True)


def test_what_does_not_depend_on_the_seed_is_measured_for_the_first_one_only(write: Write) -> None:
    suite = suites.load(write(SMALL.replace("seeds: [0, 1]", "measure: [flops]\nseeds: [3, 1]")))
    assert {(spec.seed, spec.measure) for spec in suite.specs} == {(3, ("flops",)), (1, ())}
    assert {spec.measure for spec in suites.load(write(SMALL)).specs} == {()}


def test_defaults_fill_in_what_is_not_said(write: Write) -> None:
    suite = suites.load(
        write("""\
name: small
seeds: [0]
defaults:
  workloads: {batch_size: 16, epochs: 5, schedule: {rho: {name: linear}}}
  methods: {optimizer: one, category: First, weight_decay: 5e-4}
workloads:
  w: {epochs: 2, schedule: {name: multistep, milestones: [1]}}
methods:
  A: {lr: 0.1}
  B: {optimizer: two, weight_decay: 0, category: Second, schedule: {rho: {name: linear, end_factor: 2.0}}}
""")
    )
    a, b = suite.specs
    assert (a.epochs, a.batch_size) == (2, 16)
    assert (a.optimizer.target, a.optimizer.parameters) == ("one", {"weight_decay": 5e-4, "lr": 0.1})
    assert (b.optimizer.target, b.optimizer.parameters) == ("two", {"weight_decay": 0})
    assert [method.category for method in suite.methods] == ["First", "Second"]
    steps = MultiStep(milestones=(1.0,))
    assert a.schedule == {"rho": Linear(), "lr": steps}
    assert b.schedule == {"rho": Linear(end_factor=2.0), "lr": steps}


def test_overrides_of_a_workload_beat_the_method(write: Write) -> None:
    text = SMALL.replace("methods:", "  v: {epochs: 1, batch_size: 4, schedule: {name: cosine}}\nmethods:")
    text += "    # for one workload\n".replace("    #", "  #")
    text = text.replace("lr: 0.1}", "lr: 0.1, overrides: {v: {lr: 0.3, rho: 1, schedule: {lr: {name: constant}}}}}")
    suite = suites.load(write(text))
    on_w, on_v = suite.specs[0], suite.specs[2]
    assert on_w.optimizer.parameters == {"lr": 0.1}
    assert on_v.optimizer.parameters == {"lr": 0.3, "rho": 1}
    assert on_w.schedule == {}
    assert on_v.schedule["lr"].name == "constant"


def test_how_gradients_are_computed_is_said_by_workload_method_or_override(write: Write) -> None:
    text = """\
name: small
seeds: [0]
workloads:
  v: {workload: digits-mlp, epochs: 1, batch_size: 8, compile: true, accumulate: 2}
  w: {workload: digits-mlp, epochs: 1, batch_size: 8}
methods:
  A: {optimizer: sgd, accumulate: 4, overrides: {w: {clip_norm: 1.0, accumulate: 8}}}
  B: {optimizer: sgd}
"""
    found = {(spec.workload_label, spec.method): spec for spec in suites.load(write(text)).specs}
    assert found["v", "A"].execution == Execution(compile=True, accumulate=4)
    assert found["w", "A"].execution == Execution(clip_norm=1.0, accumulate=8)
    assert found["v", "B"].execution == Execution(compile=True, accumulate=2)
    assert found["w", "B"].execution == Execution()
    assert "accumulate" not in found["v", "A"].optimizer.parameters
    assert len({spec.key for spec in found.values()}) == 4


def test_a_sweep_gives_a_row_per_combination(write: Write) -> None:
    text = SMALL + "  B: {optimizer: two, rho: 9, sweep: {rho: [0.05, 5e-4], base: [x], n: [[1, 2]]}}\n"
    suite = suites.load(write(text))
    labels = ["A", "B (rho=0.05, base=x, n=[1, 2])", "B (rho=0.0005, base=x, n=[1, 2])"]
    assert [method.label for method in suite.methods] == labels
    assert suite.specs[-1].optimizer.parameters == {"rho": 5e-4, "base": "x", "n": [1, 2]}


def test_extension_keys_hold_anchors(write: Write) -> None:
    text = "x-common: &common {optimizer: one, momentum: 0.9}\nx-nan: .nan\n" + SMALL + "  B: {<<: *common, lr: 1}\n"
    suite = suites.load(write(text))
    assert suite.specs[-1].optimizer.parameters == {"momentum": 0.9, "lr": 1}
    assert suite.origin.find(method="B", name="momentum").line == 1


def test_unicode_names(write: Write) -> None:
    suite = suites.load(write(SMALL.replace("small", "größe-数").replace("A:", "Ünïcode λ → ∞:")))
    assert suite.name == "größe-数"
    assert suite.methods[0].label == "Ünïcode λ → ∞"


def test_a_parameter_stands_where_its_value_comes_from(write: Write) -> None:
    path = write("""\
name: small
seeds: [0]
defaults:
  methods: {weight_decay: 0.1}
workloads:
  w: {epochs: 2, batch_size: 8,
      schedule: {name: cosine}}
methods:
  A:
    optimizer: one
    lr: 0.1
    overrides:
      w: {lr: 0.2}
    sweep:
      rho:
        - 1
        - 2
""")
    origin = suites.load(path, overrides=["methods.A.momentum=1"]).origin

    def line(name: str, method: str = "A (rho=2)") -> int | None:
        return origin.find(method=method, workload="w", name=name).line

    names = ["optimizer", "weight_decay", "lr", "rho", "schedule.lr", ""]
    assert [line(name) for name in names] == [10, 4, 13, 17, 7, 9]
    assert origin.find(method="A (rho=1)", name="rho").line == 16
    assert origin.find(workload="w", name="epochs").line == 6
    place = origin.find(method="A (rho=1)", name="momentum")
    assert (place.file, place.line, place.field) == ("--set", None, "methods.A.momentum")


def test_where_it_stands_is_no_part_of_a_suite(write: Write) -> None:
    assert suites.load(write(SMALL)) == suites.load(write("\n" + SMALL))


# Code in files


def test_file_targets_are_absolute_and_known_by_content(write: Write, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    file = tmp_path / "code" / "mine.py"
    file.write_text("x = 1")
    path = write(SMALL.replace("optimizer: one", "optimizer: code/mine.py:One"))
    (first, *_) = suites.load(path).specs
    assert first.optimizer.target == f"{file}:One"
    assert len(first.optimizer.digest or "") == 16
    assert suites.load(path).specs[0].key == first.key
    file.write_text("x = 2")
    assert suites.load(path).specs[0].key != first.key


def test_a_base_can_come_from_a_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1")
    suite = suites.load(write(SMALL.replace("lr: 0.1", "base: mine.py:One")))
    assert suite.specs[0].optimizer.parameters == {"base": f"{tmp_path / 'mine.py'}:One"}
    assert suite.specs[0].optimizer.digest


@pytest.mark.parametrize(
    "value", ["mine.py:Net", "{name: mine.py:Net, width: 4}", "{name: x, deep: {er: mine.py:Net}}"]
)
def test_what_a_workload_names_can_come_from_a_file(write: Write, tmp_path: Path, value: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1")
    path = write(SMALL.replace("batch_size: 8", f"batch_size: 8, model: {value}"))
    (first, *_) = suites.load(path).specs
    assert f"{file}:Net" in json.dumps(first.workload.parameters)
    assert len(first.workload.digest or "") == 16
    assert suites.load(path).specs[0].key == first.key
    file.write_text("x = 2")
    assert suites.load(path).specs[0].key != first.key


def test_the_parameters_of_what_is_named_are_part_of_the_key(write: Write) -> None:
    keys = {
        suites.load(write(SMALL.replace("batch_size: 8", f"batch_size: 8, model: {value}"))).specs[0].key
        for value in ("net", "{name: net, width: 4}", "{name: net, width: 5}", "{name: other, width: 5}")
    }
    assert len(keys) == 4


def test_a_missing_file_below_a_parameter_is_a_problem(write: Write, tmp_path: Path) -> None:
    text = SMALL.replace("batch_size: 8", "batch_size: 8, model: {name: no.py:Net}")
    message = f"4: workloads.w.model.name: {tmp_path}/no.py cannot be read: No such file or directory (got no.py:Net)"
    assert problems(write(text)) == [message]


def test_a_missing_file_is_a_problem(write: Write, tmp_path: Path) -> None:
    text = SMALL.replace("optimizer: one", "optimizer: mine.py:One").replace("w: {", "w: {workload: no.py:two, ")
    reason = "cannot be read: No such file or directory"
    assert problems(write(text)) == [
        f"4: workloads.w.workload: {tmp_path}/no.py {reason} (got no.py:two)",
        f"6: methods.A.optimizer: {tmp_path}/mine.py {reason} (got mine.py:One)",
    ]


# What can be wrong with a file


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("batch_size: 8", "batch_size: 8, memory: 8G", '4: workloads.w.memory: must be a number (got "8G")'),
        ("batch_size: 8", "batch_size: 8, memory: 0", "4: workloads.w.memory: must be greater than 0 (got 0)"),
        ("lr: 0.1", "lr: 0.1, memory: 2.0e+6", "6: methods.A.memory: must be at most 1048576.0 (got 2000000.0)"),
        ("name: small", "", "2: name: is required"),
        ("name: small", "name: a/b", "1: name: must be a file name"),
        ("name: small", "name: ..", "1: name: must be a file name"),
        (
            "name: small",
            "name: 3",
            "1: name: must be text (in quotes where it reads as something else) (got 3)",
        ),
        ("name: small", f"name: {'x' * 61}", "1: name: must have at most 60 characters"),
        ("name: small", "name: small\ntitel: x", "2: titel: unknown key; allowed: name, title, "),
        ("name: small", "name: small\ntitel: x", "; did you mean 'title'?"),
        ("name: small", "name: small\ntimeout: 0", "2: timeout: must be greater than 0 (got 0)"),
        ("name: small", "name: small\ntables: []", "2: tables: must not be empty (got [])"),
        (
            "name: small",
            "name: small\ntables: [costs]",
            "pareto, cost, cost-summary, sharpness, tuning (got \"costs\"); did you mean 'cost'?",
        ),
        ("name: small", "name: small\ntables: [cost, cost]", "2: tables: 'cost' is listed twice"),
        ("name: small", "name: small\nmeasure: flops", '2: measure: must be a list (got "flops")'),
        (
            "name: small",
            "name: small\nmeasure: [flop]",
            "allowed: flops, sharpness (got \"flop\"); did you mean 'flops'?",
        ),
        ("name: small", "name: small\nmeasure: [flops, flops]", "2: measure: 'flops' is listed twice"),
        (
            "name: small",
            "name: small\ndefaults: {method: {}}",
            "unknown key; allowed: workloads, methods; did you",
        ),
        ("[0, 1]", "[]", "2: seeds: must not be empty (got [])"),
        ("[0, 1]", "3", "2: seeds: must be a list (got 3)"),
        ("[0, 1]", "[0, -1]", "2: seeds.1: must be at least 0 (got -1)"),
        ("[0, 1]", "[0, 1, 0]", "2: seeds: 0 is listed twice"),
        ("[0, 1]", "[4294967296]", "2: seeds.0: must be at most 4294967295 (got 4294967296)"),
        ("[0, 1]", "[true]", "2: seeds.0: must be a whole number (got true)"),
        ("[0, 1]", "[1.0]", "2: seeds.0: must be a whole number (got 1.0)"),
        ("[0, 1]", str(list(range(1001))), "2: seeds: must have at most 1000 entries"),
        ("  w: {epochs: 2, batch_size: 8}", "", "3: workloads: must be a mapping (got null)"),
        ("\n  w: {epochs: 2, batch_size: 8}", " {}", "3: workloads: must not be empty (got {})"),
        ("epochs: 2", "epochs: 0", "4: workloads.w.epochs: must be at least 1 (got 0)"),
        ("epochs: 2", "epochs: 2.5", "4: workloads.w.epochs: must be a whole number (got 2.5)"),
        ("epochs: 2, ", "", "4: workloads.w.epochs: is required"),
        ("epochs: 2", "epochs: null", "4: workloads.w.epochs: is required"),
        ("batch_size: 8", "batch_size: '8'", '4: workloads.w.batch_size: must be a whole number (got "8")'),
        ("w: {epochs: 2, batch_size: 8}", "w:", "4: workloads.w: must be a mapping (got null)"),
        ("optimizer: one, ", "", "6: methods.A.optimizer: is required"),
        ("lr: 0.1", "lr: .nan", "6: methods.A.lr: must be a finite number (got NaN)"),
        ("lr: 0.1", "lr: [1, {a: .inf}]", "6: methods.A.lr.1.a: must be a finite number (got Infinity)"),
        ("lr: 0.1", "lr: 1e999", "6: methods.A.lr: must be a finite number (got Infinity)"),
        ("lr: 0.1", "create_graph: 1", "6: methods.A.create_graph: must be true or false (got 1)"),
        ("lr: 0.1", "category: 1", "6: methods.A.category: must be text"),
        ("lr: 0.1", "sweep: {lr: []}", "6: methods.A.sweep.lr: must not be empty (got [])"),
        ("lr: 0.1", "sweep: {lr: 3}", "6: methods.A.sweep.lr: must be a list (got 3)"),
        (
            "lr: 0.1",
            "sweep: {lr: [1, 1]}",
            "6: methods.A.sweep: two methods have the same label (got A (lr=1))",
        ),
        ("lr: 0.1", f"sweep: {{lr: [{'x' * 99}]}}", "6: methods.A.sweep: a label has at most 100 characters"),
        (
            "lr: 0.1",
            f"sweep: {{a: {list(range(300))}, b: {list(range(300))}}}",
            "5: methods: 180,000 runs in all",
        ),
        ("lr: 0.1", "sweep: {lr: [1]}, overrides: {w: {lr: 2}}", "A.overrides.w.lr: is swept: it cannot be"),
        ("lr: 0.1", "overrides: {ww: {lr: 2}}", "A.overrides.ww: unknown workload; allowed: w"),
        ("lr: 0.1", "overrides: {w: 2}", "6: methods.A.overrides.w: must be a mapping (got 2)"),
        (
            "epochs: 2",
            "epochs: 2, autocast: b16",
            "w.autocast: must be 'off', 'bf16' or 'fp16' (got \"b16\"); did you mean 'bf16'?",
        ),
        ("name: small", "name: small\nprotocol: 3", "2: protocol: must be 'holdout' or 'paper' (got 3)"),
        ("lr: 0.1", "clip_norm: 0", "6: methods.A.clip_norm: must be greater than 0 (got 0)"),
        ("lr: 0.1", "schedule: 3", "6: methods.A.schedule: must be a mapping (got 3)"),
        (
            "lr: 0.1",
            "schedule: {name: multi}",
            "unknown schedule; allowed: 'constant', 'multistep', 'piecewise', 'cosine'",
        ),
        ("lr: 0.1", "schedule: {name: multi}", "(got multi); did you mean 'multistep'?"),
        (
            "lr: 0.1",
            "schedule: {lr: {gamma: 1}}",
            "A.schedule.lr: a schedule needs a name: constant, multistep",
        ),
        ("lr: 0.1", "schedule: {name: multistep}", "A.schedule.lr.milestones: is required"),
        (
            "lr: 0.1",
            "schedule: {name: multistep, milestones: [a]}",
            'milestones.0: must be a number (got "a")',
        ),
        (
            "lr: 0.1",
            "schedule: {rho: {name: piecewise, milestones: [1], factors: [0]}}",
            "A.schedule.rho: factors must have 2 entries, one more than milestones",
        ),
        (
            "lr: 0.1",
            "schedule: {rho: {name: piecewise, milestones: [2, 1], factors: [0, 1, 2]}}",
            "A.schedule.rho: milestones must increase",
        ),
        (
            "lr: 0.1",
            "schedule: {name: cosine, end: 1}",
            "schedule.lr.end: unknown key; allowed: warmup_epochs, ",
        ),
        ("A:", "'':", "a label must not be empty"),
        ("A:", '"a\\eb":', "methods.a\\x1bb: a label must not have control characters"),
        ("A:", f"{'x' * 101}:", "a label has at most 100 characters"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_one_thing_is_wrong(write: Write, old: str, new: str, problem: str) -> None:
    assert old in SMALL
    (found,) = problems(write(SMALL.replace(old, new)))
    assert problem in found
    assert "\n" not in found


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write: Write) -> None:
    found = problems(
        write("""\
seeds: [0, -1]
titel: x
workloads:
  w: {epochs: 0}
methods:
  A: {optimizer: one, lr: .nan, overrides: {ww: {}}}
  B: {lr: 1}
  C: {optimizer: no.py:x}
""")
    )
    fields = [problem.split(": ")[:2] for problem in found]
    assert fields == [
        ["1", "name"],
        ["1", "seeds.1"],
        ["2", "titel"],
        ["4", "workloads.w.epochs"],
        ["4", "workloads.w.batch_size"],
        ["6", "methods.A.lr"],
        ["6", "methods.A.overrides.ww"],
        ["7", "methods.B.optimizer"],
        ["8", "methods.C.optimizer"],
    ]


def test_too_little_to_look_for_more(write: Write) -> None:
    assert problems(write("name: x\nseeds: [0]\nworkloads: 3\nmethods: 4")) == [
        "3: workloads: must be a mapping (got 3)",
        "4: methods: must be a mapping (got 4)",
    ]


PIECES = [
    *SMALL.split(),
    "{",
    "}",
    "[",
    "]",
    ":",
    "\n  ",
    "schedule: {name: cosine}",
    "x.py:y",
    "sweep",
    "null",
]


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.lists(st.sampled_from(PIECES)).map(" ".join).map(str.encode),
    )
)
def test_any_bytes_give_a_suite_or_problems(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(suites.load(path), Suite)
    except BadInputError as error:
        assert error.problems


@settings(max_examples=50)
@given(st.data())
def test_any_values_in_a_suite_give_a_suite_or_problems(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "lr", "name", "cosine", "\0"])
    value = st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(leaf.map(str), inner), max_leaves=5)
    content = data.draw(
        st.fixed_dictionaries(
            {"name": st.just("x"), "seeds": st.just([0])},
            optional={
                "defaults": st.dictionaries(st.sampled_from(["methods", "workloads"]), value),
                "workloads": st.dictionaries(
                    leaf.map(str), st.fixed_dictionaries({"schedule": value, "epochs": value})
                ),
                "methods": st.dictionaries(
                    leaf.map(str),
                    st.fixed_dictionaries({"optimizer": leaf}, optional={"sweep": value, "overrides": value}),
                ),
            },
        )
    )
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(content).replace("NaN", ".nan").replace("Infinity", ".inf"))
    try:
        assert isinstance(suites.load(path), Suite)
    except BadInputError as error:
        assert error.problems


# Changes from the command line


def test_values_can_be_set(write: Write) -> None:
    text = SMALL.replace("w:", "w.1:") + "  A.b: {optimizer: two}\n"
    suite = suites.load(
        write(text),
        overrides=[
            "seeds=[7]",
            "seeds.0=8",
            "workloads.w.1.epochs=4",
            "methods.A.lr=5e-4",
            "methods.A.schedule={name: cosine}",
            "methods.A.b.optimizer=three",
            "methods.A.b.note=a=b",
            "title=Other",
        ],
    )
    a, b = suite.specs
    assert (a.seed, a.epochs, a.optimizer.parameters, a.schedule["lr"].name) == (8, 4, {"lr": 5e-4}, "cosine")
    assert (b.optimizer.target, b.optimizer.parameters) == ("three", {"note": "a=b"})
    assert suite.title == "Other"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("methods.A.lr", "--set: must have the form path.to.key=value (got methods.A.lr)"),
        ("=3", "--set: must have the form path.to.key=value (got =3)"),
        ("", "--set: must have the form path.to.key=value"),
        ("methods.\udcff=1", "--set: must be UTF-8 text (got methods.\\udcff=1)"),
        ("method.A.lr=1", "--set: there is no method (got method.A.lr=1); did you mean 'methods'?"),
        ("seeds.2=1", "--set: there is no seeds.2 (got seeds.2=1)"),
        ("name.x=1", "--set: there is no name.x (got name.x=1)"),
        ("methods.A.lr=[1", "--set: methods.A.lr: not valid YAML: "),
        ("methods.A.lr=.nan", "--set: methods.A.lr: must be a finite number (got NaN)"),
        ("methods.A.lr={a: 1, a: 2}", "--set: methods.A.lr: duplicate key"),
        ("workloads.w.epochs=0", "--set: workloads.w.epochs: must be at least 1 (got 0)"),
        ("workloads.w.epochs=", "--set: workloads.w.epochs: is required"),
        ("titel=x", "--set: titel: unknown key; allowed: name, title, "),
        ("seeds=[0, -1]", "--set: seeds.1: must be at least 0 (got -1)"),
    ],
)
def test_values_that_cannot_be_set(write: Write, change: str, problem: str) -> None:
    (found,) = problems(write(SMALL), change)
    assert found.startswith(problem)


SWEPT = SMALL + "  B, C: {optimizer: two, sweep: {rho: [1, 2]}}\n  B (d): {optimizer: two}\n"


@pytest.mark.parametrize(
    ("only", "runs"),
    [
        ([], 8),
        (["method=A"], 2),
        (["method=A", "seed=1"], 1),
        (["method=A,seed=1"], 1),
        (["method=A,method=B, C (rho=1),seed=0"], 2),
        (["method=B, C"], 4),
        (["method=B, C (rho=2)", "workload=w"], 2),
        (["seed=0,seed=1"], 8),
    ],
)
def test_parts_can_be_selected(write: Write, only: list[str], runs: int) -> None:
    suite = suites.select(suites.load(write(SWEPT)), only)
    assert len(suite.specs) == runs
    assert len(suite.specs) == len(suite.methods) * len(suite.workloads) * len(suite.seeds)
    assert suite.origin.find(method="A").line == 6


@pytest.mark.parametrize(
    ("only", "problem"),
    [
        ("method=Aa", "--only: method: the suite has no such method; it has A, B, C (rho=1), "),
        ("method=Aa", "(got Aa); did you mean 'A'?"),
        ("workload=v", "--only: workload: the suite has no such workload; it has w (got v)"),
        ("seed=9", "--only: seed: the suite has no such seed; it has 0, 1 (got 9)"),
        (
            "metod=A",
            "must have the form method=LABEL, workload=LABEL or seed=NUMBER (got metod=A); did you mean",
        ),
        ("A", "--only: must have the form"),
        ("", "--only: must have the form"),
    ],
)
def test_parts_that_are_not_there(write: Write, only: str, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        suites.select(suites.load(write(SWEPT)), [only])
    assert problem in str(caught.value)


# Bundled suites


def test_bundled_suites_load() -> None:
    assert "digits" in suites.bundled()
    for name, path in suites.bundled().items():
        assert suites.find(name) == path
        assert suites.load(name).name == name


def test_an_unknown_suite_names_the_bundled_ones() -> None:
    with pytest.raises(BadInputError, match=r"one of .*digits.*got digit.*did you mean 'digits'"):
        suites.load("digit")
    assert suites.find("some/where.yml") == Path("some/where.yml")
    assert suites.find(Path("some/where")) == Path("some/where")


def test_the_schema_for_editors_knows_both_forms_of_a_schedule() -> None:
    schema = suites.json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert list(schema["patternProperties"]) == ["^x-"]
    assert len(schema["$defs"]["MethodEntry"]["properties"]["schedule"]["anyOf"]) == 2


def test_reading_a_suite_loads_no_torch() -> None:
    code = "import sys, benchbench.suite as s; s.load('digits'); print({'torch', 'mlflow'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_targets_and_held_out_variants_are_read(write: Write) -> None:
    text = SMALL.replace(
        "workloads:",
        "workloads:\n  base: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.9}\n"
        "  variant: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.8, held_out_of: base}",
    )
    suite = suites.load(write(text))
    assert suite.targets == {"base": 0.9, "variant": 0.8}
    assert suite.held_out == {"variant": "base"}


@pytest.mark.parametrize(
    ("variant", "problem"),
    [
        ("target: 0.8, held_out_of: bas", "did you mean 'base'?"),
        ("target: 0.8, held_out_of: variant", "must be a workload that is not held out itself"),
        ("held_out_of: base", "must both have a target, or neither"),
        ("target: .nan", "target"),
    ],
)
def test_a_held_out_variant_needs_a_base_with_a_target(write: Write, variant: str, problem: str) -> None:
    text = SMALL.replace(
        "workloads:",
        "workloads:\n  base: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.9}\n"
        f"  variant: {{workload: digits-mlp, epochs: 1, batch_size: 8, {variant}}}",
    )
    (found,) = problems(write(text))
    assert problem in found


def test_a_part_of_a_suite_has_the_targets_of_its_workloads(write: Write) -> None:
    text = SMALL.replace(
        "workloads:",
        "workloads:\n  base: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.9}\n"
        "  variant: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.8, held_out_of: base}",
    )
    part = suites.select(suites.load(write(text)), ["workload=variant"])
    assert (part.targets, part.held_out) == ({"variant": 0.8}, {})
