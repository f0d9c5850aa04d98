"""Streams of tokens, and which blocks of them are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchbench.workloads.transfer import moved, prefetched

_COUNTED_AT_ONCE = 1 << 24


class TokenStream(Protocol):
    """The tokens of a split, one after the other."""

    def __len__(self) -> int:
        """Return the number of tokens."""
        ...

    def batches(self, starts: Tensor, size: int, length: int) -> Iterator[Tensor]:
        """Yield the `length` tokens from each start, `size` starts at a time.

        Args:
            starts: On the CPU.
            size: Starts per batch; the last one may have fewer.
            length: Tokens from each start.

        Returns:
            Integers of shape (size, length), on the model's device.
        """
        ...

    def counts(self, vocabulary: int) -> NDArray[np.int64]:
        """Return how often each token occurs after the first position, as an array of shape (vocabulary,)."""
        ...


class ResidentTokens:
    """Tokens that lie on the device: a batch is one gather.

    Args:
        tokens: Tokens of shape (length,).
        device: Where they are wanted.
    """

    def __init__(self, tokens: NDArray[Any], device: torch.device) -> None:
        self._tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self._tokens)

    def batches(self, starts: Tensor, size: int, length: int) -> Iterator[Tensor]:
        """Yield the `length` tokens from each start; all starts go to the device at once."""
        device = self._tokens.device
        [on_device] = moved([starts], device)
        offsets = torch.arange(length, device=device)
        for part in torch.split(on_device, size):
            yield self._tokens[part[:, None] + offsets]

    def counts(self, vocabulary: int) -> NDArray[np.int64]:
        """Return how often each token occurs after the first position."""
        return np.bincount(self._tokens[1:].cpu().numpy(), minlength=vocabulary)


class MappedTokens:
    """Tokens in a file of 16-bit numbers, of which only what is looked at is read.

    Args:
        tokens: The mapped file, or a part of it.
        device: Where batches are wanted.
    """

    def __init__(self, tokens: NDArray[np.uint16], device: torch.device) -> None:
        self._tokens = tokens
        self._device = device

    def __len__(self) -> int:
        return len(self._tokens)

    def batches(self, starts: Tensor, size: int, length: int) -> Iterator[Tensor]:
        """Yield the `length` tokens from each start; they are read while the batch before is computed with."""
        return prefetched((self._read(part, length) for part in torch.split(starts, size)), self._device)

    def _read(self, starts: Tensor, length: int) -> Tensor:
        chosen = self._tokens[(starts[:, None] + torch.arange(length)).numpy()]
        return torch.from_numpy(chosen.astype(np.int64))

    def counts(self, vocabulary: int) -> NDArray[np.int64]:
        """Return how often each token occurs after the first position, by reading the whole file once."""
        total = np.zeros(vocabulary, np.int64)
        for begin in range(1, len(self._tokens), _COUNTED_AT_ONCE):
            total += np.bincount(self._tokens[begin : begin + _COUNTED_AT_ONCE], minlength=vocabulary)
        return total


def map_shard(path: Path) -> NDArray[np.uint16]:
    """Map a file of unsigned 16-bit tokens in the machine's byte order, such as nanoGPT's scripts write."""
    return np.memmap(path, np.uint16, mode="r")


def block_count(tokens: int, block: int) -> int:
    """Return how many blocks of an epoch fit into a stream, wherever the first one begins."""
    return max(0, (tokens - block) // block)


def shuffled_blocks(tokens: int, block: int, generator: torch.Generator) -> Tensor:
    """Return the starts of blocks that do not overlap, in random order: a pass over the stream.

    The first block begins at a random one of the first `block` tokens, so that epochs cut the text differently. As the
    target of a block's last token follows the block, every token between the ends of the first and the last block is a
    target once. Fewer than `2 * block` tokens at the ends are left out.

    Args:
        tokens: Length of the stream.
        block: Tokens per block.
        generator: Source of offset and order, on the CPU.

    Returns:
        Starts of shape (`block_count`,).
    """
    offset = torch.randint(block, (), generator=generator)
    return offset + block * torch.randperm(block_count(tokens, block), generator=generator)


def random_crops(tokens: int, block: int, count: int, generator: torch.Generator) -> Tensor:
    """Return the starts of `count` blocks that are drawn with replacement, anywhere in the stream."""
    return torch.randint(tokens - block, (count,), generator=generator)


def markov_chain(vocabulary: int, length: int, stream: int) -> NDArray[np.int64]:
    """Make up text that can be learnt: a Markov chain in which four tokens can follow each token.

    At most 64 tokens occur, spread over the vocabulary, so that a short text shows every transition.

    Args:
        vocabulary: Number of different tokens.
        length: Number of tokens to make, rounded up to a multiple of 64.
        stream: Which text of the same chain: 0, 1, 2, ...
    """
    chain = np.random.default_rng(0)
    states = min(64, vocabulary)
    successors = chain.integers(states, size=(states, 4))
    draws = np.random.default_rng([1, stream])
    steps = -(-length // 64)
    choices = draws.choice(4, p=[0.6, 0.2, 0.15, 0.05], size=(steps, 64))
    walks = np.empty((64, steps), np.int64)
    state = draws.integers(states, size=64)
    for step in range(steps):  # 64 walks side by side
        state = successors[state, choices[step]]
        walks[:, step] = state
    return walks.ravel() * (vocabulary // states)
