"""What a suite file means, and the files that come with the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench import suite as suites
from benchbench.problems import BadInputError
from benchbench.values import Execution, Linear, MultiStep, RunSpec, Suite
from tests.suite.smallest_suite import SMALL, Write, problems


def one(suite: Suite, method: str, workload: str = "w") -> RunSpec:
    """Return the first run of a method on a workload."""
    return next(spec for spec in suite.specs if (spec.method, spec.workload_label) == (method, workload))


def test_the_memory_of_a_run_is_stated_like_its_budget_and_is_no_part_of_its_key(write: Write) -> None:
    plain = suites.load(write(SMALL))
    text = SMALL.replace("batch_size: 8", "batch_size: 8, memory: 1.5") + "  B: {optimizer: two, memory: 4}\n"
    suite = suites.load(write(text + "  C: {optimizer: two, memory: 4, overrides: {w: {memory: 0.5}}}\n"))
    assert [one(suite, method).memory for method in "ABC"] == [1.5, 4.0, 0.5]
    assert one(suite, "A").memory_stated == 1.5 * 2**30
    assert one(suite, "A").key == one(plain, "A").key


def test_a_setting_that_came_later_is_part_of_the_key_where_it_is_used(write: Write) -> None:
    """The keys written out are those of before there were these settings."""
    plain = suites.load(write(SMALL))
    older = suites.load(write(SMALL.replace("batch_size: 8", "batch_size: 8, autocast: bf16, deterministic: true")))
    assert (one(plain, "A").key, one(older, "A").key) == ("401bc1aab2b2e398", "227e68ee79af4231")
    keys = {
        one(suites.load(write(SMALL.replace("batch_size: 8", f"batch_size: 8, autocast: bf16, {said}"))), "A").key
        for said in ("tf32: false", "cudnn_benchmark: false", "cudnn_benchmark: true", "autocast_evaluation: true")
    }
    assert len(keys) == 3


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


@pytest.mark.parametrize(
    ("missing", "counts"),
    [([], "of v"), (["of v"], "of A"), (["of v", "of A"], "of w"), (["of v", "of A", "of w"], "of methods")],
)
def test_of_several_schedules_of_one_value_the_most_specific_one_counts(
    write: Write, missing: list[str], counts: str
) -> None:
    """By workload for a method, by method, by workload, by default for methods, by default for workloads."""
    ends = {"of workloads": 0.1, "of methods": 0.2, "of w": 0.3, "of A": 0.4, "of v": 0.5}
    said = {
        name: "" if name in missing else f"schedule: {{lr: {{name: linear, end_factor: {end}}}}}"
        for name, end in ends.items()
    }
    suite = suites.load(
        write(f"""\
name: small
seeds: [0]
defaults:
  workloads: {{batch_size: 16, epochs: 5, {said["of workloads"]}}}
  methods: {{optimizer: one, {said["of methods"]}}}
workloads:
  w: {{{said["of w"]}}}
methods:
  A: {{lr: 0.1, {f"{said['of A']}, " if said["of A"] else ""}overrides: {{w: {{{said["of v"]}}}}}}}
""")
    )
    assert suite.specs[0].schedule == {"lr": Linear(end_factor=ends[counts])}


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
    assert suite.source.find(method="B", name="momentum").line == 1


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
    source = suites.load(path, overrides=["methods.A.momentum=1"]).source

    def line(name: str, method: str = "A (rho=2)") -> int | None:
        return source.find(method=method, workload="w", name=name).line

    names = ["optimizer", "weight_decay", "lr", "rho", "schedule.lr", ""]
    assert [line(name) for name in names] == [10, 4, 13, 17, 7, 9]
    assert source.find(method="A (rho=1)", name="rho").line == 16
    assert source.find(workload="w", name="epochs").line == 6
    found = source.find(method="A (rho=1)", name="momentum")
    assert (found.file, found.line, found.field) == ("--set", None, "methods.A.momentum")


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


def test_targets_and_held_out_variants_are_read(write: Write) -> None:
    text = SMALL.replace(
        "workloads:",
        "workloads:\n  base: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.9}\n"
        "  variant: {workload: digits-mlp, epochs: 1, batch_size: 8, target: 0.8, held_out_of: base}",
    )
    suite = suites.load(write(text))
    assert suite.targets == {"base": 0.9, "variant": 0.8}
    assert suite.held_out == {"variant": "base"}


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


def at(**said: str) -> str:
    """A suite with texts at its levels, from the most general to the most specific one."""
    defaults = ", ".join(f"{kind}: {{{said[kind]}}}" for kind in ("all_workloads", "all_methods") if kind in said)
    defaults = defaults.replace("all_", "")
    workload = f", {said['workload']}" if "workload" in said else ""
    method = f", {said['method']}" if "method" in said else ""
    override = f", overrides: {{w: {{{said['override']}}}}}" if "override" in said else ""
    return (
        f"name: x\nseeds: [0]\ndefaults: {{{defaults}}}\nworkloads:\n  w: {{batch_size: 8{workload}}}\n"
        f"methods:\n  A: {{optimizer: one{method}{override}}}\n"
    )


ORDER = ("all_workloads", "all_methods", "workload", "method", "override")


@pytest.mark.parametrize("number", range(1, 6))
def test_of_the_schedules_of_a_hyperparameter_the_most_specific_one_counts(number: int, write: Write) -> None:
    said = {
        level: f"schedule: {{name: linear, end_factor: {place}}}" for place, level in enumerate(ORDER[:number], start=1)
    }
    said["workload"] = ", ".join(filter(None, ("epochs: 1", said.get("workload"))))
    assert one(suites.load(write(at(**said))), "A").schedule == {"lr": Linear(end_factor=number)}


@pytest.mark.parametrize(
    ("levels", "epochs"),
    [
        (("all_workloads",), 1),
        (("all_workloads", "workload"), 3),
        (("all_methods", "workload"), 2),  # a budget of the method's own, wherever it says so
        (("workload", "method"), 4),
        (("workload", "method", "override"), 5),
    ],
)
def test_a_budget_is_the_methods_own_before_it_is_the_workloads(
    levels: tuple[str, ...], epochs: int, write: Write
) -> None:
    said = {level: f"epochs: {1 + ORDER.index(level)}" for level in levels}
    assert one(suites.load(write(at(**said))), "A").epochs == epochs
