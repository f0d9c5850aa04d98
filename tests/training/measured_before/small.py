"""A workload that never changes: its content is part of the keys of the runs beside it."""

import torch
from torch import nn

from benchbench.workloads import Workload
from benchbench.workloads.classification import Split, TensorClassification


def build_small(setup):
    """Classify noise with one layer of eight weights."""
    noise = torch.Generator().manual_seed(0)
    parts = {
        name: Split(torch.randn(count, 3, generator=noise), torch.randint(0, 2, (count,), generator=noise))
        for name, count in (("train", 20), ("validation", 8), ("test", 8))
    }
    return TensorClassification(setup, nn.Linear(3, 2), parts.pop("train"), parts)


small = Workload(build_small)
