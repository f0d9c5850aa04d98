"""The task of predicting the next token of a text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchbench.values import Metrics
from benchbench.workloads import Setup, evaluation_mode, fixed_order
from benchbench.workloads.models.gpt import GPT, decay_linear_weights, next_token_loss
from benchbench.workloads.text.tokens import (
    TokenStream,
    block_count,
    random_crops,
    shuffled_blocks,
)

_EVALUATED_TOKENS = 8192
"""Tokens whose logits are held at once in an evaluation."""


@dataclass(frozen=True)
class Text:
    """The tokens of all splits.

    Attributes:
        splits: Tokens by split.
        vocabulary: Number of different tokens.
        identity: What the text is known by, or empty.
    """

    splits: Mapping[str, TokenStream]
    vocabulary: int
    identity: str = ""


class LanguageModelling:
    """The task of predicting each token from those before it in its block (`Task`).

    Blocks do not overlap, and the target of a block's last token is the first one of the next. So in an evaluation
    every token of a split but the very first is predicted once, from at most `block` tokens before it.

    Args:
        setup: Device, batch size and random streams.
        model: Maps tokens (n, length) to logits (n, length, vocabulary).
        text: The tokens.
        block: Tokens per block.
        blocks_per_epoch: Blocks of an epoch, drawn with replacement; `None`: all blocks of the text, shuffled.
        decay: Which parameters are decayed.

    Raises:
        ValueError: The training text is shorter than two blocks.
    """

    selection_metric = "perplexity"
    higher_is_better = False

    def __init__(
        self,
        setup: Setup,
        model: GPT,
        text: Text,
        *,
        block: int,
        blocks_per_epoch: int | None = None,
        decay: Literal["all", "linear"] = "all",
    ) -> None:
        self.model: nn.Module = model.to(setup.device)
        self.environment = {"corpus": text.identity} if text.identity else {}
        self._setup = setup
        self._text = text
        self._block = block
        self._crops = blocks_per_epoch
        self._decay = decay
        available = block_count(len(text.splits["train"]), block)
        if not available:
            raise ValueError(f"the training text has {len(text.splits['train'])} tokens, fewer than two blocks")
        blocks = blocks_per_epoch or available
        self.examples_per_epoch = blocks
        self.steps_per_epoch = setup.steps(blocks)
        self.tokens_per_epoch = min(blocks, self.steps_per_epoch * setup.batch_size) * block

    def parameters(self) -> Any:
        """Return what goes to the optimizer: parameters, or groups of which one is not decayed."""
        return decay_linear_weights(self.model) if self._decay == "linear" else self.model.parameters()

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield batches of shape (n, block + 1): the last `block` columns are the targets of the first ones."""
        train = self._text.splits["train"]
        # Drawn on the CPU, so that every device sees the same blocks.
        generator = self._setup.streams.generator("order", epoch)
        if self._crops is None:
            starts = shuffled_blocks(len(train), self._block, generator)
        else:
            starts = random_crops(len(train), self._block, self._crops, generator)
        return train.batches(self._setup.kept(starts), self._setup.batch_size, self._block + 1)

    def fixed_batches(self, examples: int | None) -> Iterator[Tensor]:
        """Yield the blocks of the training text in the same order for every run (`Task`)."""
        train = self._text.splits["train"]
        starts = self._block * fixed_order(block_count(len(train), self._block))[:examples]
        return train.batches(starts, self._setup.batch_size, self._block + 1)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy per token, in nats."""
        return next_token_loss(self.model(batch[:, :-1]), batch[:, 1:])

    @torch.no_grad()
    def evaluate(self, split: str) -> Metrics:
        """Return `loss` (nats per token) and `perplexity` = exp(loss) of a whole split.

        For the test split also `unigram_perplexity`, for comparison: that of predicting each token by its frequency in
        the training text.
        """
        stream = self._text.splits[split]
        total = torch.zeros((), dtype=torch.float64, device=self._setup.device)
        with evaluation_mode(self.model):
            for windows in _covering(stream, self._block):
                total += next_token_loss(self.model(windows[:, :-1]), windows[:, 1:], reduction="sum")
        loss = total.item() / (len(stream) - 1)
        metrics = {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else loss * math.inf}
        return {**metrics, "unigram_perplexity": self._unigram_perplexity} if split == "test" else metrics

    @cached_property
    def _unigram_perplexity(self) -> float:
        train, test = (self._text.splits[split].counts(self._text.vocabulary) for split in ("train", "test"))
        return unigram_perplexity(train, test)


def _covering(stream: TokenStream, block: int) -> Iterator[Tensor]:
    """Yield windows of which all tokens but the first of the stream are targets once; the last one is shorter."""
    whole = (len(stream) - 1) // block
    if whole:
        yield from stream.batches(block * torch.arange(whole), max(1, _EVALUATED_TOKENS // block), block + 1)
    rest = len(stream) - whole * block
    if rest > 1:
        yield from stream.batches(torch.tensor([whole * block]), 1, rest)


def unigram_perplexity(train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    """Return the perplexity of text under the frequencies of the training text, add-one smoothed.

    exp(-sum_w n(w) log p(w) / sum_w n(w)) with p(w) = (m(w) + 1) / (sum_v m(v) + vocabulary).

    Args:
        train: Counts m of each token in the training text, of shape (vocabulary,).
        test: Counts n of each token in the text.
    """
    logarithms = np.log(train + 1.0) - math.log(train.sum() + len(train))
    return math.exp(-float(test @ logarithms) / float(test.sum()))
