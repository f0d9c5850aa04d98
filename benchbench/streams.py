"""Named random streams of a run: drawing from one never moves another."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Streams:
    """The random streams of one run, all derived from its seed.

    A stream is a name (`init`, `order`, `augmentation`, `dropout`, `probes`, `split`, ...) and an optional index
    (an epoch, a step). The same seed, name and index always give the same numbers, so an optimizer that draws
    more numbers than another still sees the same initial weights and the same batches, and a resumed run needs
    no saved generator state.
    """

    root: int

    def seed(self, name: str, index: int = 0) -> int:
        """Return the seed of a stream: 63 bits, from a seed sequence over (root, name, index)."""
        sequence = np.random.SeedSequence([self.root, zlib.crc32(name.encode()), index])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def generator(self, name: str, index: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
        """Return a fresh generator of a stream on `device`."""
        import torch

        return torch.Generator(device).manual_seed(self.seed(name, index))
