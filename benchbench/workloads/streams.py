"""Named random streams of a run: drawing from one never moves another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Streams:
    """The random streams of one run, all derived from its seed.

    A stream is a name (`init`, `order`, `augmentation`, `dropout`, `probes`, ...) and an optional index (an epoch, a
    step). The same seed, name and index always give the same numbers, so an optimizer that draws more numbers than
    another still sees the same initial weights and the same batches, and a resumed run needs no saved generator state.
    """

    root: int

    def seed(self, name: str, index: int = 0) -> int:
        """Return the seed of a stream: 63 bits of a hash of root, name and index."""
        digest = hashlib.blake2b(f"{self.root}:{name}:{index}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    def short_seed(self, name: str) -> int:
        """Return a seed of 32 bits, as an optimizer gets it: NumPy's generators, for one, take no longer ones."""
        return self.seed(name) >> 31

    def generator(self, name: str, index: int = 0) -> torch.Generator:
        """Return a fresh generator of a stream, on the CPU: those of GPUs give other numbers on another model."""
        import torch

        return torch.Generator().manual_seed(self.seed(name, index))

    def reseed_global(self, name: str, index: int, device: torch.device) -> None:
        """Seed torch's global generators of the CPU and of `device` from a stream."""
        import torch

        from benchbench.devices import use

        seed = self.seed(name, index)
        torch.default_generator.manual_seed(seed)
        use.seed(device, seed)
