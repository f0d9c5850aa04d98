"""The registry: names, modules and files to factories; whatever a plugin does, one line says it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from benchbench import plugins, registry
from benchbench.descriptions import describe
from benchbench.plugins import Kind, PluginError
from benchbench.streams import Streams
from benchbench.values import Component
from benchbench.workloads import Setup

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a distribution with entry points and a module, in a folder on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)

    def add(name: str, entry_points: dict[str, str], code: str = "", kind: Kind = "optimizer") -> None:
        info = tmp_path / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = [f"{key} = {target}" for key, target in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[benchbench.{kind}s]", *lines]))
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(code)
        plugins._plugins.cache_clear()

    yield add
    plugins._plugins.cache_clear()
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


def component(target: str, **parameters: Any) -> Component:
    return Component(target=target, parameters=parameters)


def build(target: str, **parameters: Any) -> torch.optim.Optimizer:
    return registry.build_optimizer(component(target, **parameters), nn.Linear(2, 1).parameters(), seed=7)


def error(kind: Kind, target: str) -> str:
    with pytest.raises(PluginError) as caught:
        registry.resolve(kind, target)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


OPTIMIZERS = """\
import torch
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal
if TYPE_CHECKING:
    from nowhere import Unknown

class Plain(torch.optim.SGD):
    "A plain one."
    create_graph = True

class Seeded(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1, seed: int = 0):
        super().__init__(params, lr=lr)
        self.seed = seed

class Wrapper(torch.optim.Optimizer):
    def __init__(self, params, base: type[torch.optim.Optimizer] = torch.optim.SGD, rho: float = 0, **kwargs):
        self.base = base(params, **kwargs)
        super().__init__(self.base.param_groups, dict(rho=rho))

def optional_wrapper(params, base: type[torch.optim.Optimizer] | None = None, **kwargs):
    return base(params, **kwargs)

def open_ended(params, lr: float = 1.0, **options):
    optimizer = torch.optim.SGD(params, lr=lr)
    optimizer.options = options
    return optimizer

def unknown_types(params, lr: "Unknown" = 1.0, mode: "Literal['a']" = "a"):
    return torch.optim.SGD(params, lr=lr)

thing = 3
"""

WORKLOADS = """\
from benchbench.workloads import Workload

def build(setup, *, width: int = 3, sizes: tuple[int, ...] = (1, 2)):
    "Build it."
    return (setup, width, sizes)

mine = Workload(build)
"""


# Names


def test_torch_brings_its_own_optimizers() -> None:
    names = {name.lower() for name in ("SGD", "AdamW", "LBFGS", "RMSprop")}
    found = registry.plugins("optimizer")
    assert names <= set(found)
    assert "optimizer" not in found
    assert found["adamw"].target == "torch.optim:AdamW"
    assert found["adamw"].distribution == "torch"
    assert found["adamw"].version.partition("+")[0] == torch.__version__.partition("+")[0]
    assert registry.resolve("optimizer", "AdamW") is torch.optim.AdamW
    assert registry.resolve("optimizer", "adamw") is torch.optim.AdamW


def test_plugins_are_listed_without_their_code(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain [extra]"}, "raise RuntimeError")
    plugin = registry.plugins("optimizer")["my_optimizer"]
    assert plugin == plugins.Plugin("my_optimizer", "optimizer", "my_plugin:Plain", "my-plugin", "1.5")
    assert "my_plugin" not in sys.modules
    assert "my_optimizer" not in registry.plugins("workload")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("raise RuntimeError", "RuntimeError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def x(:", "SyntaxError: invalid syntax"),
        ("import missing_module", "ModuleNotFoundError: No module named 'missing_module'"),
        ("class E(BaseException): pass\nraise E('odd')", "E: odd"),
        ("raise RuntimeError('\\x1b[31mred')", "RuntimeError: \\x1b[31mred"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth"),
    ],
)
def test_a_broken_plugin_harms_nothing_else(install: Install, code: str, message: str) -> None:
    install("broken", {"broken": "broken:Plain"}, code)
    install("good", {"good": "good:Plain"}, OPTIMIZERS)
    found = registry.plugins("optimizer")
    assert registry.status(found["good"]) is None
    status = registry.status(found["broken"])
    assert status is not None
    assert status.startswith(f"module broken cannot be imported: {message}")
    assert error("optimizer", "broken") == status


def test_an_interrupt_is_no_broken_plugin(install: Install) -> None:
    install("broken", {"broken": "broken:Plain"}, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.resolve("optimizer", "broken")


def test_a_collision_names_both_distributions(install: Install) -> None:
    install("first", {"same": "first:Plain", "own": "first:Plain"}, OPTIMIZERS)
    install("second", {"same": "second:Plain"}, OPTIMIZERS)
    plugin = registry.plugins("optimizer")["same"]
    assert {plugin.distribution, *plugin.rivals} == {"first", "second"}
    assert "offered by" in (registry.status(plugin) or "")
    message = error("optimizer", "same")
    assert "first" in message
    assert "second" in message
    assert registry.status(registry.plugins("optimizer")["own"]) is None
    assert registry.resolve("optimizer", "second:Plain").__module__ == "second"


def test_nobody_takes_a_name_of_torch(install: Install) -> None:
    install("greedy", {"rprop": "greedy:Plain"}, OPTIMIZERS)
    assert "torch and greedy" in error("optimizer", "rprop")


def test_unknown_names_and_missing_attributes(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain", "not_there": "my_plugin:Plaim"}, OPTIMIZERS)
    assert error("optimizer", "my_optimiser").endswith("did you mean 'my_optimizer'?")
    assert "allowed: adadelta, " in error("optimizer", "zzz")
    assert "has no attribute 'Plaim'; did you mean 'Plain'?" in error("optimizer", "not_there")
    assert "has no attribute 'no'" in error("optimizer", "my_plugin:no")
    assert "No module named 'my_plugim'" in error("optimizer", "my_plugim:Plain")
    assert "it cannot be called" in error("optimizer", "my_plugin:thing")
    assert "is not a Workload" in error("workload", "my_plugin:Plain")
    for target in ("", ":", "a:", ":b", "a..b:c", ".:x", "a b:c", "x.py:", "\0:a", "\0.py:a"):
        assert error("optimizer", target)


# Files


def test_a_file_is_a_module_of_its_own(tmp_path: Path) -> None:
    path = list(sys.path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"class A:\n    @staticmethod\n    def b(params): return {folder!r}")
    first, second = (registry.resolve("optimizer", f"{tmp_path / folder / 'mine.py'}:A.b") for folder in ("one", "two"))
    assert (first([]), second([])) == ("one", "two")
    assert registry.resolve("optimizer", f"{tmp_path / 'one' / 'mine.py'}:A.b") is first
    assert sys.path == path
    (tmp_path / "one" / "mine.py").write_text("class A:\n    @staticmethod\n    def b(params): return 'edited'")
    assert registry.resolve("optimizer", f"{tmp_path / 'one' / 'mine.py'}:A.b")([]) == "edited"


def test_a_file_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import neighbour")
    (tmp_path / "neighbour.py").write_text("")
    modules = set(sys.modules)
    message = f"{tmp_path / 'mine.py'} cannot be imported: ModuleNotFoundError: No module named 'neighbour'"
    assert error("optimizer", f"{tmp_path / 'mine.py'}:A") == message
    assert set(sys.modules) == modules
    assert "cannot be read: No such file" in error("optimizer", f"{tmp_path / 'no.py'}:A")


def test_modules_of_targets(install: Install) -> None:
    install("my-plugin", {"my_optimizer": "my_plugin:Plain"}, OPTIMIZERS)
    assert registry.module_of("optimizer", "my_optimizer") == "my_plugin"
    assert registry.module_of("optimizer", "some.where:One") == "some.where"
    assert registry.module_of("optimizer", "some/where.py:One") is None
    assert registry.module_of("optimizer", "unknown") is None


# Parameters and building


def test_lists_become_tuples_and_integers_floats() -> None:
    optimizer = build("adamw", lr=1, betas=[0.5, 0.9])
    assert optimizer.defaults["betas"] == (0.5, 0.9)
    assert isinstance(optimizer.defaults["lr"], float)


def test_a_wrapper_passes_on_the_parameters_of_its_base(install: Install) -> None:
    install("my-plugin", {"wrapper": "my_plugin:Wrapper"}, OPTIMIZERS)
    factory = registry.resolve("optimizer", "wrapper")
    by_default = registry.parameters("optimizer", factory)
    assert {"base", "rho", "lr", "momentum"} <= set(by_default)
    assert not registry.is_open(by_default)
    assert "betas" in registry.parameters("optimizer", factory, {"base": "adamw"})
    optimizer = build("wrapper", base="adamw", lr=0.5, betas=[0.1, 0.2], rho=1)
    assert isinstance(optimizer.base, torch.optim.AdamW)  # type: ignore[attr-defined]
    assert optimizer.param_groups[0]["betas"] == (0.1, 0.2)
    with pytest.raises(PluginError, match=r"unknown optimizer 'radamm'.*did you mean 'radam'"):
        registry.parameters("optimizer", factory, {"base": "radamm"})


def test_a_base_may_be_optional_and_a_wrapper_itself(install: Install) -> None:
    install("my-plugin", {"wrapper": "my_plugin:optional_wrapper", "inner": "my_plugin:Wrapper"}, OPTIMIZERS)
    factory = registry.resolve("optimizer", "wrapper")
    assert registry.is_open(registry.parameters("optimizer", factory))
    assert "rho" in registry.parameters("optimizer", factory, {"base": "inner"})
    assert build("wrapper", base="inner", rho=0.5, lr=0.2).param_groups[0]["rho"] == 0.5


def test_open_factories_take_anything(install: Install) -> None:
    install("my-plugin", {"open": "my_plugin:open_ended"}, OPTIMIZERS)
    assert registry.is_open(registry.parameters("optimizer", registry.resolve("optimizer", "open")))
    assert build("open", lr=2, other=[1]).options == {"other": [1]}  # type: ignore[attr-defined]


def test_types_that_cannot_be_evaluated_accept_anything(install: Install) -> None:
    install("my-plugin", {"odd": "my_plugin:unknown_types"}, OPTIMIZERS)
    allowed = registry.parameters("optimizer", registry.resolve("optimizer", "odd"))
    assert list(allowed) == ["lr", "mode"]
    assert registry.convert(allowed["mode"], 3) == 3


def test_only_who_wants_a_seed_gets_one(install: Install) -> None:
    install("my-plugin", {"seeded": "my_plugin:Seeded", "plain": "my_plugin:Plain"}, OPTIMIZERS)
    assert build("seeded").seed == 7  # type: ignore[attr-defined]
    assert build("seeded", seed=3).seed == 3  # type: ignore[attr-defined]
    assert build("plain")


def test_who_needs_the_graph_of_gradients(install: Install) -> None:
    install("my-plugin", {"plain": "my_plugin:Plain", "wrapper": "my_plugin:Wrapper"}, OPTIMIZERS)
    needs = registry.needs_create_graph
    assert needs(component("plain"))
    assert not needs(component("plain"), False)
    assert not needs(component("wrapper"))
    assert needs(component("wrapper", base="plain"))
    assert needs(component("adamw"), True)
    assert not needs(component("adamw"))


def test_workloads_are_built_from_their_keywords(install: Install) -> None:
    install("my-plugin", {"mine": "my_plugin:mine"}, WORKLOADS, kind="workload")
    assert list(registry.parameters("workload", registry.resolve("workload", "mine"))) == ["width", "sizes"]
    setup = Setup(torch.device("cpu"), 4, Streams(0))
    assert registry.build_workload(component("mine", sizes=[5]), setup) == (setup, 3, (5,))


def test_descriptions(install: Install) -> None:
    install("my-plugin", {"mine": "my_plugin:mine"}, WORKLOADS, kind="workload")
    install("other", {"seeded": "other:Seeded", "open": "other:open_ended"}, OPTIMIZERS)
    found = describe("mine")
    assert (found.plugin.name, found.plugin.kind, found.plugin.distribution) == (
        "mine",
        "workload",
        "my-plugin",
    )
    assert found.doc == "Build it."
    assert [(each.name, each.type, each.default) for each in found.parameters] == [
        ("width", "int", "3"),
        ("sizes", "tuple[int, ...]", "(1, 2)"),
    ]
    assert describe("other:Plain").doc == "A plain one."
    assert describe("my_plugin:mine").plugin.kind == "workload"
    assert describe("AdamW").plugin.name == "adamw"
    assert [each.name for each in describe("open").parameters] == ["lr", "**"]
    with pytest.raises(PluginError, match="unknown optimizer, workload, model or data set 'mime'; did you mean 'mine'"):
        describe("mime")


# Models and data sets


NAMED = """\
from collections.abc import Callable
from typing import Annotated, Any
from torch import nn
from benchbench.signatures import Named
from benchbench.workloads import Workload

def model(*, classes: int, width: int = 3, sizes: tuple[int, ...] = ()):
    "A small one."
    return (classes, width, sizes)

def dataset(*, path: str, size: int = 8):
    return (path, size)

def build(
    setup,
    *,
    model: Annotated[Callable[..., Any], Named("model")],
    dataset: Annotated[Callable[[], Any], Named("dataset")],
):
    return model(classes=5), dataset()

mine = Workload(build)
"""


@pytest.fixture
def named(install: Install) -> None:
    """An installed workload `nested` that takes the model `small` and the data set `files`."""
    install("netpack", {"small": "my_named:model"}, kind="model")
    install("datapack", {"files": "my_named:dataset"}, kind="dataset")
    install("my-named", {"nested": "my_named:mine"}, NAMED, kind="workload")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("model", "built"),
    [
        ("small", (5, 3, ())),
        ("my_named:model", (5, 3, ())),
        ({"name": "small"}, (5, 3, ())),
        ({"name": "small", "width": 7, "sizes": [1, 2]}, (5, 7, (1, 2))),
    ],
)
def test_a_workload_gets_what_it_names_with_its_parameters(model: Any, built: tuple[Any, ...]) -> None:
    nested = component("nested", model=model, dataset={"name": "files", "path": "here"})
    setup = Setup(torch.device("cpu"), 8, Streams(0))
    assert cast("Any", registry.build_workload(nested, setup)) == (built, ("here", 8))


def test_a_named_model_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NAMED)
    file = f"{tmp_path / 'mine.py'}"
    nested = component(f"{file}:mine", model=f"{file}:model", dataset={"name": f"{file}:dataset", "path": "here"})
    setup = Setup(torch.device("cpu"), 8, Streams(0))
    assert cast("Any", registry.build_workload(nested, setup)) == ((5, 3, ()), ("here", 8))


@pytest.mark.parametrize("value", [3, None, ["resnet20"], {"width": 4}, {"name": 4}])
def test_what_names_nothing_is_a_wrong_value(value: Any) -> None:
    with pytest.raises(
        ValueError, match="must be the name of a model, or a mapping with its `name` and its parameters"
    ):
        registry.named("model", value)


@pytest.mark.usefixtures("named")
def test_models_and_data_sets_are_described() -> None:
    model = describe("small")
    assert (model.plugin.kind, model.doc) == ("model", "A small one.")
    assert [each.name for each in model.parameters] == ["width", "sizes"]  # the workload fills the others
    assert [(each.name, each.default) for each in describe("files").parameters] == [
        ("path", None),
        ("size", "8"),
    ]
    assert [each.type for each in describe("nested").parameters] == ["model", "dataset"]


@pytest.mark.parametrize(
    ("kind", "name", "near"), [("model", "resnet-20", "resnet20"), ("dataset", "cifar01", "cifar10")]
)
def test_unknown_models_and_data_sets_have_a_nearest_name(kind: Kind, name: str, near: str) -> None:
    assert error(kind, name).endswith(f"did you mean '{near}'?")
