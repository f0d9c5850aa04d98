"""Which memory an exception says to have run out."""

from __future__ import annotations

import errno

import pytest
import torch

from benchbench.training.shortage import shortage_of
from benchbench.values import Shortage


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "device"),
        (RuntimeError("CUDA error: out of memory"), "device"),
        (RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"), "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "device"),
        (MemoryError(), "host"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "host"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you"), "host"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "host"),
        (caused(ValueError("the optimizer gave up"), torch.OutOfMemoryError("CUDA out of memory.")), "device"),
        (RuntimeError("CUDA error: device-side assert triggered"), ""),
        (OSError(errno.ENOSPC, "No space left on device"), ""),
        (ValueError("CUDA out of memory"), ""),
    ],
)
def test_it_is_known_which_memory_has_run_out(error: Exception, expected: Shortage) -> None:
    assert shortage_of(error) == expected


def test_a_real_allocation_that_is_too_large_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert shortage_of(caught.value) == "host"
