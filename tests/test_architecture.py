"""Design decisions as failing tests: who may import whom, and what must stay light."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MODULES = sorted((REPOSITORY / "benchbench").rglob("*.py"))
ACCELERATORS = "cuda|hip|rocm|xpu|mps|nccl|xccl"
OPTIMIZER_NAMES = r"sassha|msassha|adahessian|sophia\w*|shampoo|sgd|adamw?|samw?|lbfgs|muon|lion|rmsprop|adagrad"


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_keep_the_contracts_of_the_project() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout


def test_the_page_on_architecture_names_every_room_on_its_layer() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    layers = [set(layer.split(" | ")) for layer in project["tool"]["importlinter"]["contracts"][0]["layers"]]
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Rooms")[2].partition("\n## ")[0]
    rows = [re.findall(r"`(.+?)`", row.split("|")[1]) for row in re.findall(r"^\| `.*$", table, flags=re.MULTILINE)]
    assert [set(names) for names in rows] == layers


def test_one_package_imports_mlflow() -> None:
    importers = {path.parent.name for path in MODULES if any(name.split(".")[0] == "mlflow" for name in imports(path))}
    assert importers == {"tracking"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_harness_knows_no_optimizer(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"sassha", "baselines"}
    text = path.read_text(encoding="utf-8")
    # Examples in docstrings and help texts may name a method of a suite; code may not.
    code = re.sub(r'"""[\s\S]*?"""', "", text)
    code = "\n".join(line for line in code.splitlines() if "help=" not in line and "e.g." not in line)
    assert not re.findall(rf"\b({OPTIMIZER_NAMES})\b", code, flags=re.IGNORECASE)


def test_one_package_names_kinds_of_accelerators() -> None:
    # Names of torch's settings, and what torch's messages say: no code that asks which kind a device is of.
    others = {"optim/execution/float32.py", "training/shortage.py"}
    naming = set()
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        words += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
        ]
        if any(re.search(rf"(?i)(?<![a-z])({ACCELERATORS})(?![a-z])", word) for word in words):
            naming.add(str(path.relative_to(REPOSITORY / "benchbench")))
    assert {name for name in naming if not name.startswith("devices/")} == others


@pytest.mark.parametrize("package", ["sassha", "baselines"])
def test_an_optimizer_loads_torch_and_the_contract(package: str) -> None:
    rooms = "{name.split('.')[1] for name in sys.modules if name.startswith('benchbench.')}"
    modules = [f"{package}.{path.stem}" for path in (REPOSITORY / package).glob("[!_]*.py")]
    code = f"import sys, {', '.join(modules)}; print(sorted({rooms}), 'pydantic' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['devices', 'optim'] False"


def test_what_is_public_has_a_caller_outside_the_tests() -> None:
    folders = ("benchbench", "sassha", "baselines", "benchmarks", "examples")
    trees = {
        path: ast.parse(path.read_text("utf-8")) for folder in folders for path in (REPOSITORY / folder).rglob("*.py")
    }
    used = {name for tree in trees.values() for node in ast.walk(tree) for name in names_used(node)}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    offered = {target.rpartition(":")[2] for group in project["entry-points"].values() for target in group.values()}
    uncalled = [
        f"{path.relative_to(REPOSITORY)}: {node.name}"
        for path, tree in trees.items()
        if path.relative_to(REPOSITORY).parts[0] not in ("benchmarks", "examples")
        for scope in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef)))
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and node.name not in used | offered
        and not (isinstance(scope, ast.ClassDef) and overrides_foreign(path, scope.name, node.name))
    ]
    assert not uncalled


def names_used(node: ast.AST) -> Iterator[str]:
    """Yield the name that a node uses, if any; texts count, for `getattr` and templates take them."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield node.value


def overrides_foreign(path: Path, class_name: str, method: str) -> bool:
    """Return whether a method is one that the class has from a library, which calls it."""
    module = importlib.import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
    return any(hasattr(base, method) for base in getattr(module, class_name).__mro__[1:])


def test_no_heavy_import_stands_between_a_user_and_the_help() -> None:
    code = (
        "import sys, benchbench.cli; print([m for m in ('torch', 'mlflow', 'pydantic', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["plugins.factories", "reporting", "figures"])
def test_names_and_reports_need_no_torch(module: str) -> None:
    code = f"import sys, benchbench.{module}; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
