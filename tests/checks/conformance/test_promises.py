"""The report of `benchbench check`: who keeps the promises, and that each line catches what it is about."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from benchbench.checks import conformance
from benchbench.checks.conformance import PROMISES, WORKS, nan, verdicts
from benchbench.values import Component
from tests.conftest import BROKEN_OPTIMIZERS

BUILT_IN = [
    "sassha:SASSHA",
    "sassha:MSASSHA",
    "baselines.sam:SAM",
    "baselines.adahessian:AdaHessian",
    "baselines.sophia_h:SophiaH",
    "baselines.shampoo:Shampoo",
    "baselines.shampoo_grafted:GraftedShampoo",
    "sgd",
    "adamw",
]
NAN = "survives NaN without harm to the process"
SECOND_ORDER = ("SASSHA", "MSASSHA", "AdaHessian", "SophiaH")


@pytest.fixture
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conformance.PROMISES, NAN, lambda subject: "not tried")


def grades(target: str, **options: bool) -> dict[str, str]:
    return {each.promise: each.grade for each in verdicts(Component(target=target), **options)}


def reason(target: str, promise: str) -> str:
    [found] = [each.reason for each in verdicts(Component(target=target)) if each.promise == promise]
    return found


@pytest.mark.usefixtures("without_processes")
@pytest.mark.parametrize("target", BUILT_IN)
def test_our_own_keep_every_promise(target: str) -> None:
    found = list(verdicts(Component(target=target)))
    assert [each.promise for each in found] == [WORKS, *PROMISES]
    assert not [each for each in found if each.grade == "FAIL"]
    skipped = [each.promise for each in found if each.grade == "unknown"]
    assert skipped == ([] if target.endswith(SECOND_ORDER) else ["lets its Hessian-vector products have an effect"])


@pytest.mark.slow
@pytest.mark.parametrize("target", BUILT_IN)
def test_our_own_survive_nan(target: str) -> None:
    assert reason(target, NAN).endswith("a fresh optimizer works")


@pytest.mark.usefixtures("without_processes")
@pytest.mark.parametrize(
    ("name", "promise"),
    [
        ("Climbing", "makes progress on a quadratic and on a small network"),
        ("Unseeded", "is deterministic under a seed"),
        ("DrawsFromPython", "leaves other random streams alone"),
        ("Forgetful", "continues bit by bit from its state_dict"),
        ("OneRateForAll", "honours parameter groups"),
        ("DeadHessian", "lets its Hessian-vector products have an effect"),
        ("FrozenHessian", "lets its Hessian-vector products have an effect"),
        ("NeedlessGraph", "declares what is metered"),
        ("SilentNeed", "declares what is metered"),
        ("IntolerantOfIdleParameters", "tolerates frozen and unused parameters"),
        ("MovesFrozenParameters", "tolerates frozen and unused parameters"),
    ],
)
def test_a_broken_promise_is_one_line(name: str, promise: str) -> None:
    failed = [each for each, grade in grades(f"{BROKEN_OPTIMIZERS}:{name}").items() if grade == "FAIL"]
    assert failed == [promise]


@pytest.mark.usefixtures("without_processes")
@pytest.mark.parametrize(
    ("target", "promise", "grade"),
    [
        (f"{BROKEN_OPTIMIZERS}:DrawsFromTorch", "leaves other random streams alone", "differs"),
        (f"{BROKEN_OPTIMIZERS}:DeafToGroups", "honours parameter groups", "differs"),
        ("schedulefree:SGDScheduleFree", "honours parameter groups", "ok"),
        ("schedulefree:RAdamScheduleFree", "honours parameter groups", "ok"),  # its first steps move nothing
        ("pytorch_optimizer:RAdam", "tolerates frozen and unused parameters", "ok"),  # likewise
        ("pytorch_optimizer:Prodigy", "honours parameter groups", "differs"),
        (f"{BROKEN_OPTIMIZERS}:TooFast", "makes progress on a quadratic and on a small network", "unknown"),
    ],
)
def test_a_method_that_is_made_otherwise_is_not_broken(target: str, promise: str, grade: str) -> None:
    found = grades(target)
    assert "FAIL" not in found.values()
    assert found[promise] == grade


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Aborting", "dies of signal 6"),
        ("Exiting", ""),
        ("Poisoning", "then a fresh optimizer fails"),
        ("Hanging", "hangs"),
    ],
)
def test_harm_done_by_nan_is_one_line(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nan, "TIMEOUT", 60.0 if name != "Hanging" else 15.0)
    found = list(verdicts(Component(target=f"{BROKEN_OPTIMIZERS}:{name}")))
    assert [each.promise for each in found if each.grade == "FAIL"] == [NAN]
    assert message in found[-1].reason


@pytest.mark.slow
def test_refusing_is_allowed() -> None:
    target = f"{BROKEN_OPTIMIZERS}:Refusing"
    found = {each.promise: each for each in verdicts(Component(target=target))}
    assert not [each for each in found.values() if each.grade == "FAIL"]
    assert "matrices alone" in found[WORKS].reason
    assert found["honours parameter groups"].grade == "unknown"
    assert "FloatingPointError: not a number" in found[NAN].reason


@pytest.mark.usefixtures("without_processes")
def test_a_declared_need_is_no_broken_promise() -> None:
    assert "FAIL" not in grades(f"{BROKEN_OPTIMIZERS}:SilentNeed", create_graph=True).values()


def test_one_that_makes_no_steps_is_checked_no_further() -> None:
    found = list(verdicts(Component(target=f"{BROKEN_OPTIMIZERS}:Idle")))
    assert (found[0].promise, found[0].grade) == (WORKS, "FAIL")
    assert "did not call the objective" in found[0].reason
    assert {each.grade for each in found[1:]} == {"unknown"}


@pytest.mark.usefixtures("without_processes")
@pytest.mark.parametrize("draw", [lambda: torch.rand(1).item(), random.random])
def test_the_report_leaves_global_generators_alone(draw: Callable[[], float]) -> None:
    torch.manual_seed(1)
    random.seed(1)
    expected = draw()
    torch.manual_seed(1)
    random.seed(1)
    grades(f"{BROKEN_OPTIMIZERS}:DrawsFromPython")
    assert draw() == expected
