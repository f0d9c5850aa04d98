"""Everything that can be known before a run is said before it, at the line where it stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchbench import checks
from benchbench import suite as suites
from benchbench.problems import BadInputError

Write = Callable[..., Path]

CODE = """\
import sys
import warnings
from pathlib import Path
import torch
from benchbench.workloads import Workload

class Needy(torch.optim.SGD):
    def __init__(self, params, needed: float, lr: float = 0.1):
        super().__init__(params, lr=lr)

class Wrapper(torch.optim.Optimizer):
    def __init__(self, params, base: type[torch.optim.Optimizer], rho: float = 0.1, **kwargs):
        if rho < 0:
            raise ValueError(f"negative radius {rho}")
        self.base = base(params, **kwargs)
        super().__init__(self.base.param_groups, dict(rho=rho))

class Open(torch.optim.SGD):
    def __init__(self, params, **options):
        super().__init__(params, lr=0.1)

def exits(params):
    sys.exit("enough")

def raises(params):
    class Odd(BaseException):
        pass
    raise Odd("first\\\\nsecond")

def interrupted(params):
    raise KeyboardInterrupt

def warns(params):
    warnings.warn("careful")
    torch.rand(3)
    return torch.optim.SGD(params, lr=0.1)

class Matrices(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        if any(p.dim() != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("matrices only")

class Flagged(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1):
        for group in params:
            if "flag" not in group:
                raise ValueError("every group needs a flag")
        super().__init__(params, lr=lr)

class Curious(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        parameters = self.param_groups[0]["params"]
        torch.autograd.grad(parameters[0].grad.sum(), parameters[0])
        return loss

class OfModel(torch.optim.SGD):
    def __init__(self, model: torch.nn.Module, lr: float = 0.1):
        super().__init__(model.parameters(), lr=lr)

def not_one(params):
    return 3

def build(setup, *, width: int = 3, root: str = "data", rate: float):
    pass

def missing(data, *, width=3, root="data", rate=0.0):
    if root == "raise":
        sys.exit(root)
    if not Path(root).exists():
        return f"no folder {root}: bring the data there"

class Small:
    def __init__(self, model):
        self.model = model

matrices = Workload(lambda setup: Small(torch.nn.Linear(2, 2, bias=False)))
mixed = Workload(lambda setup: Small(torch.nn.Linear(2, 2)))
def prepare(data, *, width=3, root="data", rate=0.0):
    if root == "raise":
        raise OSError("no network")
    (data / root).mkdir(parents=True)

mine = Workload(build, missing, prepare)
inventive = Workload(build, missing, prepare, synthetic=True)
simple = Workload(lambda setup: None)
"""

SUITE = """\
name: small
seeds: [0, 1]
workloads:
  w: {workload: code.py:simple, epochs: 2, batch_size: 8}
methods:
  A: {optimizer: adamw}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "code.py").write_text(CODE)

    def write_file(old: str = "", new: str = "") -> Path:
        assert old in SUITE
        path = tmp_path / "suite.yaml"
        path.write_text(SUITE.replace(old, new) if old else SUITE)
        return path

    return write_file


def problems(path: Path, *overrides: str) -> list[str]:
    found = checks.problems(suites.load(path, overrides=overrides))
    texts = [str(problem).replace(f"{path}:", "").replace(str(path.parent), "") for problem in found]
    assert all(len(text.splitlines()) == 1 for text in texts)
    return texts


def test_a_good_suite_has_no_problems(write: Write) -> None:
    assert problems(write("{optimizer: adamw}", "{optimizer: AdamW, lr: 1, betas: [0, 0.9], foreach: null}")) == []


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("optimizer: adamv", "6: methods.A.optimizer: unknown optimizer 'adamv'; allowed: adadelta, "),
        (
            "optimizer: 'no.where:One'",
            "6: methods.A.optimizer: module no.where cannot be imported: ModuleNotFound",
        ),
        ("optimizer: code.py:Nedy", "has no attribute 'Nedy'; did you mean 'Needy'?"),
        (
            "optimizer: adamw, lrr: 1",
            "6: methods.A.lrr: unknown parameter of adamw; allowed: lr, betas, eps, ",
        ),
        ("optimizer: adamw, lrr: 1", "; did you mean 'lr'?"),
        ("optimizer: adamw, categry: x", "; did you mean 'category'?"),
        ("optimizer: adamw, shedule: {}", "; did you mean 'schedule'?"),
        ("optimizer: adamw, seed: 1", "6: methods.A.seed: unknown parameter of adamw"),
        ("optimizer: adamw, lr: '0.1'", '6: methods.A.lr: must be float | torch.Tensor (got "0.1")'),
        ("optimizer: adamw, lr: true", "6: methods.A.lr: must be float | torch.Tensor (got true)"),
        ("optimizer: adamw, lr: null", "6: methods.A.lr: must be float | torch.Tensor (got null)"),
        (
            "optimizer: adamw, betas: [0.9]",
            "6: methods.A.betas: must be tuple[float | torch.Tensor, float | torch",
        ),
        ("optimizer: adamw, amsgrad: 1", "6: methods.A.amsgrad: must be bool (got 1)"),
        (
            "optimizer: adamw, lr: -0.1",
            "6: methods.A.lr: adamw cannot be constructed: ValueError: Invalid learning",
        ),
        (
            "optimizer: adamw, betas: [0.9, 1.5]",
            "6: methods.A.betas: adamw cannot be constructed: ValueError: ",
        ),
        (
            "optimizer: adamw, weight_decay: -1",
            "6: methods.A.weight_decay: adamw cannot be constructed: ValueErr",
        ),
        (
            "optimizer: sgd, nesterov: true",
            "6: methods.A: sgd cannot be constructed: ValueError: Nesterov momentum",
        ),
        ("optimizer: code.py:Needy", "6: methods.A: /code.py:Needy needs the parameter 'needed'"),
        (
            "optimizer: code.py:exits",
            "6: methods.A: /code.py:exits cannot be constructed: SystemExit: enough",
        ),
        ("optimizer: code.py:raises", "6: methods.A: /code.py:raises cannot be constructed: Odd: first"),
        (
            "optimizer: code.py:not_one",
            "6: methods.A.optimizer: /code.py:not_one gives no torch.optim.Optimizer",
        ),
        ("optimizer: code.py:Wrapper", "6: methods.A: /code.py:Wrapper needs the parameter 'base'"),
        ("optimizer: code.py:Wrapper, base: sgdd", "6: methods.A.base: unknown optimizer 'sgdd'; allowed"),
        (
            "optimizer: code.py:Wrapper, base: 3",
            "6: methods.A.base: must be the name of an optimizer (got 3)",
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, betas: 3",
            "6: methods.A.betas: unknown parameter of /code.py:Wr",
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, lr: a",
            '6: methods.A.lr: must be float | torch.Tensor (got "a")',
        ),
        (
            "optimizer: code.py:Wrapper, base: sgd, rho: -0.5",
            "6: methods.A.rho: /code.py:Wrapper cannot be constr",
        ),
        (
            "optimizer: adamw, schedule: {rho: {name: linear}}",
            "6: methods.A.schedule.rho: adamw has no such number",
        ),
        ("optimizer: adamw, schedule: {betas: {name: linear}}", "allowed: lr, eps, weight_decay"),
        ("optimizer: adamw, schedule: {weight: {name: linear}}", "did you mean 'weight_decay'?"),
        (
            "optimizer: adamw, sweep: {lr: [1, -1]}",
            "6: methods.A.sweep.lr.1: adamw cannot be constructed: Value",
        ),
        (
            "optimizer: adamw, overrides: {w: {lr: -1}}",
            "6: methods.A.overrides.w.lr: adamw cannot be constructed",
        ),
    ],
)
def test_a_method_that_cannot_be_set_up(write: Write, method: str, problem: str) -> None:
    (found,) = problems(write("optimizer: adamw", method))
    assert problem in found


@pytest.mark.parametrize(
    ("method", "schedule"),
    [
        ("optimizer: code.py:Open, anything: 3", ""),
        ("optimizer: code.py:Wrapper, base: adamw, betas: [0, 0]", "rho"),
    ],
)
def test_what_a_factory_passes_on_is_allowed(write: Write, method: str, schedule: str) -> None:
    text = f"{method}, schedule: {{{schedule}: {{name: linear}}}}" if schedule else method
    assert problems(write("optimizer: adamw", text)) == []


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (
            "code.py:Flagged",
            "6: methods.A: /code.py:Flagged cannot be constructed: ValueError: every group needs a flag",
        ),
        ("code.py:Curious", "6: methods.A.optimizer: /code.py:Curious differentiates gradients itself: set `create_gr"),
        ("code.py:Curious, create_graph: true", None),
        ("code.py:Wrapper, base: code.py:Matrices", None),
        ("code.py:OfModel, lr: 0.3", None),
    ],
)
def test_what_an_optimizer_wants_is_found_out_by_trying(write: Write, method: str, problem: str | None) -> None:
    found = problems(write("optimizer: adamw", f"optimizer: {method}"))
    assert not found if problem is None else problem in found[0]


@pytest.mark.parametrize(("workload", "refused"), [("matrices", False), ("mixed", True), ("simple", False)])
def test_only_a_choosy_optimizer_is_tried_on_the_workload(write: Write, workload: str, refused: bool) -> None:
    path = write("optimizer: adamw", "optimizer: code.py:Matrices")
    path.write_text(path.read_text().replace("code.py:simple", f"code.py:{workload}"))
    found = problems(path)
    expected = "6: methods.A.optimizer: /code.py:Matrices refuses the parameters of w: ValueError: matrices only"
    assert expected in found[0] if refused else not found


def test_warnings_and_random_numbers_of_a_constructor_stay_inside(write: Write) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problems(write("optimizer: adamw", "optimizer: code.py:warns")) == []
    assert torch.equal(torch.rand(1), expected)


def test_an_interrupt_ends_the_checks(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        problems(write("optimizer: adamw", "optimizer: code.py:interrupted"))


@pytest.mark.parametrize(
    ("workload", "problem"),
    [
        (
            "workload: digits-mpl",
            "4: workloads.w.workload: unknown workload 'digits-mpl'; allowed: digits-mlp, ",
        ),
        ("workload: code.py:Needy", "4: workloads.w.workload: '/code.py:Needy' is not a Workload"),
        (
            "workload: code.py:simple, widht: 3",
            "4: workloads.w.widht: unknown parameter of /code.py:simple; allowed: none",
        ),
        ("workload: code.py:simple, epoch: 3", "did you mean 'epochs'?"),
        (
            "workload: code.py:mine, rate: 1, root: /, width: 1.5",
            "4: workloads.w.width: must be int (got 1.5)",
        ),
        ("workload: code.py:mine, root: /", "4: workloads.w: /code.py:mine needs the parameter 'rate'"),
        (
            "workload: code.py:mine, rate: 1, root: nowhere",
            "4: workloads.w: no folder nowhere: bring the data there",
        ),
        (
            "workload: code.py:mine, rate: 1, root: raise",
            "4: workloads.w: cannot be checked for missing data: System",
        ),
    ],
)
def test_a_workload_that_cannot_be_set_up(write: Write, workload: str, problem: str) -> None:
    (found,) = problems(write("workload: code.py:simple", workload))
    assert problem in found


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (
            "model: resnet-20, dataset: cifar10",
            "4: workloads.w.model: unknown model 'resnet-20'; allowed: convnet, ",
        ),
        ("model: resnet-20, dataset: cifar10", "; did you mean 'resnet20'?"),
        ("model: {name: resnet-20}, dataset: cifar10", "4: workloads.w.model.name: unknown model 'resnet-20'"),
        ("model: resnet20, dataset: cifar01", "4: workloads.w.dataset: unknown dataset 'cifar01'; allowed: cifar10, "),
        (
            "model: {name: resnet20, widht: 4}, dataset: cifar10",
            "4: workloads.w.model.widht: unknown parameter of resnet20; allowed: width; did you mean 'width'?",
        ),
        (
            "model: {name: resnet20, width: wide}, dataset: cifar10",
            '4: workloads.w.model.width: must be int (got "wide")',
        ),
        (
            "model: {name: resnet20, classes: 4}, dataset: cifar10",
            "4: workloads.w.model.classes: unknown parameter of resnet20; allowed: width",
        ),
        (
            "model: {width: 4}, dataset: cifar10",
            "4: workloads.w.model: must be the name of a model, or a mapping with its `name` and its parameters",
        ),
        (
            "model: resnet20, dataset: {name: image-folder, classes: 2}",
            "4: workloads.w.dataset: image-folder needs the parameter 'path'",
        ),
        (
            "model: code.py:Nedy, dataset: cifar10",
            "4: workloads.w.model: the module of '/code.py:Nedy' has no attribute 'Nedy'; did you mean 'Needy'?",
        ),
        ("model: resnet20", "4: workloads.w: image-classification needs the parameter 'dataset'"),
        (
            "model: resnet20, dataset: cifar10, label_noise: 1.5",
            "4: workloads.w.label_noise: must be less than or equal to 1 (got 1.5)",
        ),
        (
            "model: resnet20, dataset: cifar10, noise_over: some",
            "4: workloads.w.noise_over: must be Literal['all', 'others'] (got \"some\")",
        ),
    ],
)
def test_what_a_workload_names_is_checked_at_its_place(write: Write, named: str, problem: str) -> None:
    (found,) = problems(write("workload: code.py:simple", f"workload: image-classification, {named}"))
    assert problem in found


def test_a_workload_whose_data_are_there(write: Write) -> None:
    assert problems(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: /")) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "workload: code.py:simple",
            "workload: code.py:simple, accumulate: 9",
            "4: workloads.w.accumulate: a batch of 8 examples has no 9 parts (got 9)",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, overrides: {w: {accumulate: 9}}",
            "6: methods.A.overrides.w.accumulate: a batch of 8 examples has no 9 parts (got 9)",
        ),
        (
            "optimizer: adamw",
            "optimizer: adamw, ranks: 2, accumulate: 5",
            "6: methods.A.ranks: a batch of 8 examples has no 5 parts for each of 2 ranks (got 2)",
        ),
        (
            "optimizer: adamw",
            "optimizer: code.py:Curious, create_graph: true, ranks: 2",
            "6: methods.A.ranks: gradients that are summed over ranks have no graph, which `create_graph` asks for",
        ),
        (
            "workload: code.py:simple",
            "workload: code.py:simple, batch_norm: synchronised",
            "4: workloads.w.batch_norm: with one rank there is nothing to synchronise: leave it out, or",
        ),
    ],
)
def test_gradients_that_cannot_be_computed_so(write: Write, old: str, new: str, problem: str) -> None:
    (found,) = problems(write(old, new))
    assert found.startswith(problem)


def test_gradients_can_be_computed_in_all_other_ways(write: Write) -> None:
    said = "accumulate: 2, clip_norm: 1, autocast: fp16, channels_last: true, tf32: true, deterministic: true, ranks: 2"
    assert problems(write("optimizer: adamw", f"optimizer: adamw, {said}")) == []


def test_made_up_data_need_no_data(write: Write) -> None:
    able = "workload: code.py:inventive, rate: 1, root: nowhere, synthetic: true"
    assert problems(write("workload: code.py:simple", able)) == []
    unable = "workload: code.py:mine, rate: 1, root: nowhere, synthetic: true"
    message = "4: workloads.w.synthetic: /code.py:mine cannot make up its data (got true)"
    assert problems(write("workload: code.py:simple", unable)) == [message]


@pytest.mark.parametrize(("workload", "made_up"), [("inventive", True), ("mine", False)])
def test_a_rehearsal_makes_up_what_can_be_made_up(write: Write, workload: str, made_up: bool) -> None:
    path = write("workload: code.py:simple", f"workload: code.py:{workload}, rate: 1, root: /")
    real, rehearsal = (checks.load(path, synthetic=synthetic) for synthetic in (False, True))
    assert [spec.synthetic for spec in rehearsal.specs] == [made_up] * 2
    assert ({spec.key for spec in real.specs} & {spec.key for spec in rehearsal.specs} == set()) == made_up


def test_data_are_prepared(write: Write, tmp_path: Path) -> None:
    suite = suites.load(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: deep/down"))
    assert list(checks.prepare(suite, tmp_path)) == ["w"]
    assert (tmp_path / "deep/down").is_dir()


def test_data_that_cannot_be_had_are_one_line(write: Write, tmp_path: Path) -> None:
    suite = suites.load(write("workload: code.py:simple", "workload: code.py:mine, rate: 1, root: raise"))
    with pytest.raises(BadInputError, match=r"workloads.w: data cannot be prepared: OSError: no network$"):
        list(checks.prepare(suite, tmp_path))


def test_a_schedule_of_the_workload_must_fit_every_method(write: Write) -> None:
    path = write("batch_size: 8", "batch_size: 8, schedule: {momentum: {name: linear}}")
    message = "adamw has no such number to schedule; allowed: lr, eps, weight_decay"
    assert problems(path) == [f"4: workloads.w.schedule.momentum: {message}"]


def test_what_the_command_line_sets_is_named(write: Write) -> None:
    (found,) = problems(write(), "methods.A.lr=-1")
    assert found.startswith("--set: methods.A.lr: adamw cannot be constructed: ")


def test_the_file_and_the_plugins_are_checked_at_once(write: Write) -> None:
    path = write("{optimizer: adamw}", "{optimizer: adamw, lrr: 1, betas: .nan}\n  B: {lr: 1}\ntitel: x")
    with pytest.raises(BadInputError) as caught:
        checks.load(path, only=["seed=5"])
    assert [(problem.file, problem.line, problem.field) for problem in caught.value.problems] == [
        ("--only", None, "seed"),
        (str(path), 6, "methods.A.betas"),
        (str(path), 6, "methods.A.lrr"),
        (str(path), 7, "methods.B.optimizer"),
        (str(path), 8, "titel"),
    ]


def test_only_what_is_selected_needs_its_plugins(write: Write) -> None:
    path = write("{optimizer: adamw}", "{optimizer: adamw}\n  B: {optimizer: not_installed}")
    assert len(checks.load(path, only=["method=A"]).specs) == 2
    with pytest.raises(BadInputError, match="unknown optimizer 'not_installed'"):
        checks.load(path)
    with pytest.raises(BadInputError, match="cannot be read"):
        checks.load(path.with_name("no.yaml"))


def test_the_bundled_digits_can_run() -> None:
    assert checks.load("digits").specs
