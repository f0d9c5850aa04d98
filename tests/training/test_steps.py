"""How gradients are computed: clipping, half precision, memory format, backends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchbench.optim.execution import ranks
from benchbench.optim.execution.parts import Evaluated, Part
from benchbench.optim.execution.precision import LossScaler
from benchbench.optim.execution.ranks import Ranks
from benchbench.optim.ledger import Ledger
from benchbench.optim.objective import Objective
from benchbench.plugins.factories import Factories
from benchbench.runs.folder import RunFolder
from benchbench.training import backends
from benchbench.training.steps import Training
from benchbench.training.trainer import run_in_folder
from benchbench.values import Execution, RunSpec
from benchbench.workloads import DATA
from tests.accelerator import current_device, every_device, tolerance
from tests.helpers import model_cases
from tests.helpers.specs import run_spec
from tests.training import small_tasks

CPU = torch.device("cpu")


def spec(workload: str = "digits-mlp", optimizer: str = "sgd", **execution: Any) -> RunSpec:
    return run_spec(optimizer, workload, batch_size=100, execution=execution)


def training(workload: str = "digits-mlp", **execution: Any) -> tuple[Training, Any]:
    """Return a training and its first batch; torch's random state is put back."""
    with torch.random.fork_rng(devices=[]):
        chosen = spec(workload, **execution)
        made = Training(chosen, Factories.of(chosen), current_device(), DATA)
    return made, next(made.task.batches(1))


def gradients(made: Training) -> list[Tensor]:
    return [p.grad.clone() for p in made.task.model.parameters() if p.grad is not None]


def ones(objective: Objective) -> list[list[Tensor]]:
    return [[torch.ones_like(p) for p in objective.parameters]]


def norm(tensors: list[Tensor]) -> float:
    return float(torch.cat([tensor.detach().flatten() for tensor in tensors]).norm())


# Clipping


@every_device
@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("name", ["mlp", "frozen_and_unused"])
def test_gradients_are_scaled_down_and_products_are_not(second_order: bool, name: str) -> None:
    case = model_cases.build(name)

    def evaluated(clip_norm: float | None) -> tuple[list[Tensor | None], list[list[Tensor]]]:
        objective = Objective(case.loss(), case.parameters(), clip_norm=clip_norm)
        products = objective.with_hvp(ones(objective))[1] if second_order else [[objective()]]
        return [p.grad for p in objective.parameters], products

    free, products = evaluated(None)
    length = norm([g for g in free if g is not None])
    clipped, same_products = evaluated(length / 4)
    for g, c in zip(free, clipped, strict=True):
        assert (g is None) == (c is None)
        if g is not None:
            torch.testing.assert_close(c, g / 4, rtol=1e-5, atol=0)
    torch.testing.assert_close(same_products, products, rtol=0, atol=0)
    assert norm([g for g in evaluated(2 * length)[0] if g is not None]) == length


@every_device
def test_a_clipped_gradient_keeps_the_derivative_of_the_gradient() -> None:
    case, ledger = model_cases.build("mlp"), Ledger()
    objective = Objective(case.loss(), case.parameters(), create_graph=True, clip_norm=0.01, ledger=ledger)
    objective()
    found = [p.grad for p in objective.parameters if p.grad is not None]
    assert norm(found) == pytest.approx(0.01, rel=1e-3)
    with ledger.metered():
        products = torch.autograd.grad(found, objective.parameters, ones(objective)[0])
    assert ledger.hvps == 1
    _, [expected] = Objective(case.loss(), case.parameters()).with_hvp(ones(objective))
    torch.testing.assert_close(list(products), expected, rtol=tolerance(1e-12), atol=tolerance(1e-15))


@every_device
def test_a_suite_clips_every_evaluation() -> None:
    made, batch = training(clip_norm=0.01)
    objective = made.objective(batch)
    for _ in range(2):
        objective()
        assert norm(gradients(made)) == pytest.approx(0.01, rel=1e-3)


# Half precision


@every_device
@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_for_plain_gradients(name: str, dtype: torch.dtype) -> None:
    made, batch = training(autocast=name)
    seen: list[torch.dtype] = []
    layer: Any = made.task.model.get_submodule("1")
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    loss = made.objective(batch)()
    half = gradients(made)
    objective = made.objective(batch)
    objective.with_hvp(ones(objective))
    exact = gradients(made)
    assert seen == [dtype, torch.float32]

    made.task.model.zero_grad()
    with torch.autocast(current_device().type, dtype):
        expected_loss = made.task.loss(batch)
    # 2^16 is the scale of fp16. A power of two moves no rounding, but keeps small numbers from vanishing.
    (expected_loss.float() * (2**16 if name == "fp16" else 1)).backward()
    torch.testing.assert_close(loss, expected_loss.detach().float(), rtol=0, atol=0)
    for found, expected, full in zip(half, gradients(made), exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected / (2**16 if name == "fp16" else 1), rtol=1e-6, atol=0)
        assert not torch.equal(found, full)


@every_device
def test_gradients_that_fp16_would_lose_are_kept() -> None:
    """A gradient of 2^-30 is zero in fp16; with the loss scaled by 2^16 it is 2^-14 on the way."""
    weight = nn.Parameter(torch.ones(1, 1, device=current_device()))
    inputs = torch.full_like(weight, 2.0**-15)

    def evaluated(scaler: LossScaler | None) -> Tensor:
        def loss() -> Tensor:
            with torch.autocast(current_device().type, torch.float16):
                return (nn.functional.linear(inputs, weight).float() * 2.0**-15).sum()

        Objective(loss, [weight], scaler=scaler)()
        assert weight.grad is not None
        return weight.grad

    assert evaluated(None).item() == 0
    assert evaluated(LossScaler(current_device())).item() == 2.0**-30


@every_device
def test_a_gradient_that_is_not_finite_becomes_zero_and_is_counted() -> None:
    scaler = LossScaler(current_device())
    weights = [nn.Parameter(torch.ones(size, device=current_device())) for size in (2, 3, 1)]

    def evaluated(factor: float) -> list[Tensor | None]:
        Objective(lambda: weights[0].sum() * factor + weights[1].sum(), weights, scaler=scaler)()
        return [weight.grad for weight in weights]

    for factor in (torch.inf, torch.nan, 3e38):  # the last one overflows through the scale
        first, second, unused = evaluated(factor)
        assert first is not None
        assert second is not None
        assert not first.any()
        assert not second.any()
        assert unused is None
    assert (scaler.overflows, scaler.scale.item()) == (3, 2.0**13)
    first, second, _ = evaluated(2.0)
    assert first is not None
    assert second is not None
    assert (first.tolist(), second.tolist()) == ([2.0] * 2, [1.0] * 3)
    for _ in range(1999):
        evaluated(2.0)
    assert scaler.scale.item() == 2.0**14


@every_device
def test_scaling_goes_on_from_its_state() -> None:
    made, batch = training(autocast="fp16")
    state = made.state_dict()
    made.load_state_dict({**state, "scaler": {**state["scaler"], "scale": torch.tensor(2.0**100)}})
    made.step(batch)
    assert made.account()["overflows"].startswith("1 gradients")
    other, _ = training(autocast="fp16")
    other.load_state_dict(made.state_dict())
    assert other.state_dict()["scaler"] == made.state_dict()["scaler"]
    assert made.state_dict()["scaler"]["scale"].item() == 2.0**99
    with pytest.raises(ValueError, match="positive finite number, got inf"):
        other.load_state_dict({**state, "scaler": {**state["scaler"], "scale": torch.tensor(torch.inf)}})


@every_device
@pytest.mark.parametrize(("optimizer", "name"), [("sam", "bf16"), ("sassha", "fp16")])
def test_a_run_in_half_precision_learns_and_says_so(optimizer: str, name: str) -> None:
    plain = small_tasks.trained(spec(optimizer=optimizer), current_device())
    half = small_tasks.trained(spec(optimizer=optimizer, autocast=name), current_device())
    assert half.environment["autocast"] == name
    assert "autocast" not in plain.environment
    assert half.final["test/loss"] != plain.final["test/loss"]
    assert half.final["test/loss"] == pytest.approx(plain.final["test/loss"], rel=0.05)
    assert (half.cost.gradients, half.cost.hvps) == (plain.cost.gradients, plain.cost.hvps)


@every_device
def test_a_run_is_evaluated_in_float32_unless_it_asks_for_its_own_precision() -> None:
    seen: list[torch.dtype] = []

    def evaluated(**execution: Any) -> dict[str, float]:
        made, batch = training(**execution)
        made.step(batch)
        layer: Any = made.task.model.get_submodule("1")
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        return {**made.evaluate("validation"), **made.evaluate("test")}

    full, own = evaluated(autocast="bf16"), evaluated(autocast="bf16", autocast_evaluation=True)
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2
    assert full.keys() == own.keys() >= {"validation/loss", "test/accuracy"}
    assert full["test/loss"] != own["test/loss"]
    assert own["test/loss"] == pytest.approx(full["test/loss"], rel=0.01)

    made, batch = training(autocast="bf16", autocast_evaluation=True)
    made.step(batch)
    with torch.autocast(current_device().type, torch.bfloat16):
        assert made.task.evaluate("test") == {name: own[f"test/{name}"] for name in ("loss", "accuracy")}


def test_a_result_says_how_the_run_was_evaluated() -> None:
    chosen = spec(autocast="bf16", autocast_evaluation=True, cudnn_benchmark=True)
    result = small_tasks.trained(chosen)
    assert (result.environment["autocast_evaluation"], result.environment["cudnn_benchmark"]) == ("True", "True")
    plain = small_tasks.trained(spec(autocast="bf16"))
    assert result.final["train/loss"] == plain.final["train/loss"]
    assert result.final["test/loss"] != plain.final["test/loss"]


# Backends


def switches() -> list[object]:
    return [
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    ]


def test_backends_are_configured_for_a_run_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = switches()
    gpu = torch.device("cuda")
    with backends.configured(Execution(), gpu):
        assert switches() == [False, False, False, False, False, None]
    with backends.configured(Execution(tf32=True, cudnn_benchmark=True), gpu):
        assert switches() == [True, True, False, True, False, None]
    with pytest.raises(KeyError), backends.configured(Execution(deterministic=True), gpu):
        assert switches() == [False, False, True, False, True, ":4096:8"]
        raise KeyError
    with backends.configured(Execution(deterministic=True), CPU):
        assert switches()[-1] is None
    assert switches() == before


def test_a_run_has_its_backends_and_records_them(tmp_path: Path) -> None:
    seen: list[bool] = []

    def look() -> bool:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return False

    result = run_in_folder(spec(deterministic=True, accumulate=2), CPU, RunFolder(tmp_path), stop=look)
    assert set(seen) == {True}
    assert not torch.are_deterministic_algorithms_enabled()
    assert (result.environment["deterministic"], result.environment["accumulate"]) == ("True", "2")


# Ranks and precision


def dropout_of(rank: int | None) -> list[float]:
    """Return what a rank draws for the dropout of its first step."""
    with torch.random.fork_rng(devices=[]):
        made = Training(spec(), Factories.of(spec()), CPU, DATA, None if rank is None else Ranks(rank, 4))
        made.reseed()
        return torch.rand(4).tolist()


def test_every_rank_draws_dropout_of_its_own_and_the_first_that_of_a_run_alone() -> None:
    drawn = [dropout_of(rank) for rank in range(4)]
    assert drawn[0] == dropout_of(None)
    assert len({tuple(each) for each in drawn}) == 4
    assert drawn[3] == dropout_of(3)


def test_a_scale_that_is_taken_up_again_grows_when_it_would_have_grown() -> None:
    def finite(scaler: LossScaler, times: int) -> None:
        for _ in range(times):
            scaler.unscaled([scaler.scale * torch.ones(2)])

    undisturbed, before, after = (LossScaler(CPU) for _ in range(3))
    finite(undisturbed, 2000)
    finite(before, 1500)
    after.load_state(before.state())
    assert after.scale.item() == undisturbed.scale.item() / 2
    finite(after, 500)
    assert after.scale.item() == undisturbed.scale.item()
    after.unscaled([torch.tensor([torch.inf])])
    again = LossScaler(CPU)
    again.load_state(after.state())
    assert again.overflows == 1


def test_what_a_state_was_made_from_does_not_move_it() -> None:
    scaler = LossScaler(CPU)
    state = scaler.state()
    scaler.unscaled([torch.tensor([torch.inf])])
    assert state["scale"].item() == 2 * scaler.scale.item()
    assert state["overflows"].item() == 0


def test_where_another_rank_overflows_the_gradients_of_all_are_zero() -> None:
    scaler = LossScaler(CPU)
    [gradient] = scaler.unscaled([scaler.scale * torch.ones(2)], lambda tensors: [each + 1 for each in tensors])
    assert gradient is not None
    assert gradient.tolist() == [0.0, 0.0]
    assert scaler.overflows == 1
    assert scaler.scale.item() == LossScaler(CPU).scale.item() / 2


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """A rank whose messages reach nobody."""
    monkeypatch.setattr(ranks, "all_reduce", lambda *arguments: None)
    return Ranks(0, 2)


def test_a_gradient_that_no_rank_had_before_is_refused_and_not_dropped(alone: Ranks) -> None:
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    loss = torch.tensor(1.0)
    found = alone.summed(Evaluated(loss, [torch.ones(2), None]), weights)
    assert found.gradients[1] is None
    missing = alone.summed(Evaluated(loss, [None, None]), weights)  # here none, elsewhere perhaps one
    assert missing.gradients[0] is not None
    with pytest.raises(RuntimeError, match="has to depend on the same parameters in every step"):
        alone.summed(Evaluated(loss, [torch.ones(2), torch.ones(2)]), weights)


# The loss alone


def test_the_loss_alone_is_that_of_all_parts_by_their_shares() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    ledger = Ledger()
    parts = [Part(lambda: torch.sum(weight), weight=0.25), Part(lambda: torch.sum(3 * weight), weight=0.75)]
    objective = Objective(parts, [weight], ledger=ledger)
    assert objective(backward=False).item() == 0.25 * 2 + 0.75 * 6
    assert weight.grad is None
    assert (ledger.forwards, ledger.gradients) == (1, 0)
    assert objective.first_loss is not None
    assert objective.first_loss.item() == objective().item()


def test_the_loss_alone_has_a_graph_only_where_its_gradient_is_that_of_a_call(alone: Ranks) -> None:
    weight = nn.Parameter(torch.tensor([2.0]))

    def value(**settings: Any) -> Tensor:
        return Objective(lambda: weight.square().sum(), [weight], **settings)(backward=False)

    assert value().requires_grad
    assert not value(clip_norm=0.1).requires_grad
    assert not value(scaler=LossScaler(CPU)).requires_grad
    assert not value(ranks=alone).requires_grad
    with torch.no_grad():
        assert not value().requires_grad
