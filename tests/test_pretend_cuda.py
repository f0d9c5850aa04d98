"""The pretended GPU: what it counts, and that it leaves nothing behind."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.pretend_cuda import CUDA, PretendCuda


def test_a_kernel_is_counted_and_a_view_is_not() -> None:
    with PretendCuda() as cuda:
        x = torch.ones(4, 6, device="cuda")
        with cuda.counted() as counts:
            y = x.t().reshape(3, 8)[1:] + 1
    assert y.shape == (2, 8)
    # The transposed matrix has to be copied to be reshaped.
    assert counts.kernels == {"clone": 1, "add": 1}
    assert not counts.waits


def test_lists_of_tensors_take_as_many_launches_as_torch_has_room_for() -> None:
    with PretendCuda() as cuda:
        tensors = [torch.ones(3, device="cuda") for _ in range(65)]
        with cuda.counted() as counts:
            torch._foreach_add_(tensors, 1.0)
            torch._foreach_add_(tensors, tensors)
    assert counts.kernels == {"_foreach_add_": 3}


def test_whatever_the_host_waits_for_is_counted() -> None:
    with PretendCuda() as cuda:
        x = torch.ones(3).to("cuda")
        with cuda.counted() as counts:
            float(x.sum())
            x.cpu()
            torch.arange(2).to("cuda", non_blocking=True)
            x[torch.arange(2)]
            torch.tensor(1.0, device="cuda")
            torch.cuda.synchronize()
    assert counts.waits == {
        "_local_scalar_dense": 1,
        "_to_copy to the host": 1,
        "_to_copy to the device": 2,
        "index by an index on the host": 1,
        "synchronize": 1,
    }


def test_copies_of_pinned_memory_need_no_wait() -> None:
    with PretendCuda() as cuda:
        pinned = torch.arange(6).pin_memory()
        with cuda.counted() as counts:
            pinned[2:].to("cuda", non_blocking=True)
            torch.empty(6, dtype=torch.long, device="cuda").copy_(pinned, non_blocking=True)
        assert pinned.is_pinned() and torch.equal(pinned, torch.arange(6))
    assert counts.copies == {"_to_copy to the device": 1, "copy_ to the device": 1}
    assert not counts.waits


def test_gradients_are_on_the_device_too() -> None:
    with PretendCuda() as cuda:
        layer = nn.Linear(4, 3).to("cuda")
        with cuda.counted() as counts:
            layer(torch.ones(2, 4, device=CUDA)).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.device == layer.weight.grad.device == CUDA
        assert counts.kernels["addmm"] == 1


def test_the_cpu_is_real_meanwhile_and_cuda_is_gone_afterwards() -> None:
    before = torch.cuda.is_available()
    with PretendCuda() as cuda:
        assert torch.cuda.is_available()
        assert torch.ones(3).sum().item() == 3
        assert not cuda.counts.kernels
    assert torch.cuda.is_available() == before
    assert torch.empty(1, device="meta").device.type == "meta"
