"""Tensors in one piece of memory keep their values, whatever their memory format."""

from __future__ import annotations

import torch

from benchbench.optim.execution.flat import flattened

TENSORS = [
    torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last),
    torch.arange(6.0).reshape(2, 3).T,
    torch.tensor(1.5),
    torch.ones(3, dtype=torch.float64).expand(2, 3),
    torch.empty(0, 2),
]


def test_views_have_the_values_and_the_format_that_is_asked_for() -> None:
    for like in (None, TENSORS, [torch.empty_strided(t.shape, t.stride()) for t in TENSORS]):
        buffers, views = flattened(TENSORS, like)
        assert {buffer.dtype: len(buffer) for buffer in buffers} == {torch.float32: 127, torch.float64: 6}
        for view, tensor in zip(views, TENSORS, strict=True):
            assert torch.equal(view, tensor)
            assert any(view.untyped_storage().data_ptr() == each.untyped_storage().data_ptr() for each in buffers)
        strides = [view.stride() for view in views[:2]]
        assert strides == ([(60, 20, 5, 1), (2, 1)] if like is None else [(60, 1, 15, 3), (1, 3)])


def test_another_layout_is_taken_over() -> None:
    _, [view] = flattened([torch.arange(24.0).reshape(1, 2, 3, 4)], [torch.empty(1, 3, 4, 2).permute(0, 3, 1, 2)])
    assert torch.equal(view, torch.arange(24.0).reshape(1, 2, 3, 4))
    assert view.is_contiguous(memory_format=torch.channels_last)
