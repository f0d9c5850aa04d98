"""What can be wrong with a suite file, and what is said about it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench import suite as suites
from benchbench.problems import BadInputError
from benchbench.values import Suite
from tests.suite.smallest_suite import SMALL, Write, problems


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
        (
            "lr: 0.1",
            "tuned: {w: {budget: {trials: 1}, trials: {run: 1}, sampler: tpe}}",
            "tuned.w.trials.run: unknown key; allowed: runs, gc, unit, assumed, seconds; did you mean 'runs'?",
        ),
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
        (
            "A:",
            '"a\\u202eb":',
            "methods.a\\u202eb: a label must not have direction marks or other invisible characters",
        ),
        (
            "A:",
            '"a\\u200bb":',
            "methods.a\\u200bb: a label must not have direction marks or other invisible characters",
        ),
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
