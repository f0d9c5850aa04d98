"""Probes and the diagonal of the Hessian against dense matrices."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from curvlinops import HessianLinearOperator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchbench.optim.hutchinson import hessian_diagonal, rademacher
from benchbench.optim.objective import Objective
from tests.accelerator import current_device, every_device, needs, tolerance
from tests.helpers import model_cases
from tests.helpers.model_cases import dense_hessian, flat, to_array

pytestmark = every_device


@pytest.mark.parametrize("name", model_cases.NAMES)
def test_the_estimate_is_z_times_hz_of_the_dense_hessian(name: str) -> None:
    case = model_cases.build(name)
    hessian, used = dense_hessian(case), case.used()
    objective = Objective(case.loss(), case.parameters())
    _, diagonal = hessian_diagonal(objective, n_samples=3, seed=4, step=2)
    probes = rademacher(case.parameters(), n_samples=3, seed=4, step=2)
    expected = np.zeros(len(hessian))
    for probe in probes:
        z = flat([to_array(z) for z, p in zip(probe, case.parameters(), strict=True) if any(p is q for q in used)])
        expected += z * (hessian @ z) / 3
    found = flat([to_array(diagonal[p]) for p in used])
    assert np.abs(found - expected).max() <= tolerance(1e-12) * np.abs(expected).max()


def test_the_mean_over_all_probes_is_the_diagonal() -> None:
    case = model_cases.build("mlp")
    hessian = dense_hessian(case)
    objective = Objective(case.loss(), case.parameters())
    _, diagonal = hessian_diagonal(objective, n_samples=1000, seed=0, step=0)
    found = flat([to_array(diagonal[p]) for p in case.parameters()])
    off_diagonal = hessian - np.diag(np.diag(hessian))
    standard_error = np.sqrt((off_diagonal**2).sum(1) / 1000)
    assert (np.abs(found - np.diag(hessian)) <= 4.5 * standard_error + 1e-15).all()


def test_agrees_with_curvlinops() -> None:
    case = model_cases.build("conv_bn")
    case.model.eval()  # it differentiates functionally, where running statistics must not move
    used = case.used()
    operator = HessianLinearOperator(
        case.model, nn.CrossEntropyLoss(), list(case.model.parameters()), [case.batches[0]]
    )
    vectors = [torch.randn_like(p) for p in used]
    _, (product,) = Objective(case.loss(), case.parameters()).with_hvp([vectors])
    expected = operator @ torch.cat([v.flatten() for v in vectors])
    found = torch.cat([p.flatten() for p in product])
    torch.testing.assert_close(found, expected, rtol=tolerance(1e-10), atol=tolerance(1e-13))


def test_probes_are_fair_independent_signs() -> None:
    like = [torch.empty(100, 50, device=current_device()), torch.empty(5000, device=current_device())]
    first, second = rademacher(like, n_samples=2, seed=0, step=0)
    assert all(p.shape == t.shape and p.dtype == t.dtype for p, t in zip(first, like, strict=True))
    assert set(torch.cat([p.flatten() for p in first]).tolist()) == {-1.0, 1.0}
    samples = [first[0].flatten(), first[1], second[0].flatten(), second[1]]
    samples += [p.flatten() for p in rademacher(like, n_samples=1, seed=0, step=1)[0]]
    samples += [p.flatten() for p in rademacher(like, n_samples=1, seed=1, step=0)[0]]
    correlation = torch.stack(samples) @ torch.stack(samples).T / 5000
    assert (correlation.cpu() - torch.eye(len(samples))).abs().max() < 4.5 / np.sqrt(5000)
    assert all(abs(s.mean()) < 4.5 / np.sqrt(5000) for s in samples)


def written_out(seed: int, step: int, sample: int, count: int) -> list[int]:
    """Return the first signs of a probe by plain arithmetic on integers."""
    digest = hashlib.blake2b(f"{seed}:{step}:{sample}".encode(), digest_size=8).digest()
    found: list[int] = []
    for counter in range(-(-count // 64)):
        word = (int.from_bytes(digest, "little") >> 2) + counter * 0x9E3779B1
        for _ in range(3):
            word = word * 0xD6E8FEB86659FD93 % 2**64
            word ^= word >> 32
        found += [1 - 2 * (word >> bit & 1) for bit in range(64)]
    return found[:count]


@pytest.mark.parametrize(("seed", "step", "sample"), [(0, 0, 0), (3, 9, 1), (2**62, 10**6, 0)])
def test_probes_are_bits_of_a_hash(seed: int, step: int, sample: int) -> None:
    like = [torch.empty(5), torch.empty(7, 100), torch.empty(1)]
    found = rademacher(like, n_samples=sample + 1, seed=seed, step=step)[sample]
    assert torch.cat([probe.flatten() for probe in found]).tolist() == written_out(seed, step, sample, 706)


def test_known_probes() -> None:
    ((probe,),) = rademacher([torch.empty(16)], n_samples=1, seed=0, step=0)
    assert probe.tolist() == [-1, -1, -1, -1, -1, -1, -1, 1, 1, -1, 1, -1, -1, -1, 1, 1]


def test_probes_are_the_same_in_every_type_and_however_types_are_mixed() -> None:
    sizes, types = (3, 70, 1, 129), (torch.float64, torch.bfloat16, torch.float16, torch.float32)
    ((plain,),) = rademacher([torch.empty(sum(sizes))], n_samples=1, seed=1, step=2)
    (mixed,) = rademacher(
        [torch.empty(size, dtype=dtype) for size, dtype in zip(sizes, types, strict=True)], n_samples=1, seed=1, step=2
    )
    assert [probe.dtype for probe in mixed] == list(types)
    assert torch.equal(torch.cat([probe.float() for probe in mixed]), plain)


def test_probes_are_made_by_arithmetic_on_integers_alone() -> None:
    """Rounding and generators differ between devices; additions, multiplications and bits of integers do not."""
    used = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            used.update((func.overloadpacket.__name__, tensor.dtype) for tensor in tree_leaves(result))
            return result

    with Watch():
        rademacher([torch.empty(1000)], n_samples=1, seed=0, step=0)
    reals = {name for name, dtype in used if dtype.is_floating_point}
    assert reals <= {"empty", "_to_copy", "view", "split", "split_with_sizes"}
    assert not any("rand" in name or "bernoulli" in name for name, _ in used)


def test_neighbouring_signs_steps_seeds_and_samples_are_uncorrelated() -> None:
    """Within five standard errors, which one of a million comparisons exceeds by chance."""
    count = 2**13

    def signs(seed: int, step: int, sample: int = 0) -> Tensor:
        return rademacher([torch.empty(count)], n_samples=sample + 1, seed=seed, step=step)[sample][0]

    rows = [signs(0, step) for step in range(60)] + [signs(seed, 0) for seed in range(1, 60)]
    rows += [signs(seed, 7, 1) for seed in range(60)]
    stacked = torch.stack(rows)
    correlation = stacked @ stacked.T / count - torch.eye(len(rows))
    assert correlation.abs().max() < 5 / np.sqrt(count)
    assert stacked.mean(1).abs().max() < 5 / np.sqrt(count)
    shifted = [(stacked[:, lag:] * stacked[:, :-lag]).mean() for lag in (*range(1, 70), 128, 512, 4096)]
    assert max(map(abs, shifted)) < 5 / np.sqrt(stacked.numel() - 4096 * len(rows))
    # No place within a word is special.
    assert stacked.view(-1, 64).mean(0).abs().max() < 5 / np.sqrt(stacked.numel() / 64)


def test_probes_depend_on_seed_and_step_alone() -> None:
    needs(torch.float64)
    dtypes = {(7,): torch.float32, (2, 3): torch.float64, (5,): torch.bfloat16}
    like = [torch.empty(shape, dtype=dtype, device=current_device()) for shape, dtype in dtypes.items()]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = rademacher(like, n_samples=1, seed=3, step=9)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = rademacher(like, n_samples=1, seed=3, step=9)
    for a, b, t in zip(first[0], again[0], like, strict=True):
        assert torch.equal(a, b)
        assert a.dtype == t.dtype
