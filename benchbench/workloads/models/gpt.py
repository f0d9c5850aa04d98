"""Decoder-only transformers: GPT-1, with layer norm after each residual sum, and GPT-2, with layer norm before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.problems import nearest_name

_DEVIATION = 0.02
"""Standard deviation of the initial weights (Radford et al. 2018, section 4.1)."""


@dataclass(frozen=True)
class GPTConfig:
    """An architecture; vocabulary and context length are those of the data.

    Attributes:
        layers: Transformer blocks.
        width: Features per token, a multiple of `heads`.
        heads: Attention heads.
        norm: `post`: x <- norm(x + f(x)), as in GPT-1; `pre`: x <- x + f(norm(x)) and a last norm, as in GPT-2.
        gelu: The exact GELU, or its approximation by tanh.
        bias: Whether linear maps and layer norms have biases.
        dropout: Probability of dropping: embeddings, attention weights and the output of every sublayer.
        scale_by_layer: Whether the attention logits of layer l = 1, 2, ... are also divided by l.
    """

    layers: int
    width: int
    heads: int
    norm: Literal["pre", "post"] = "pre"
    gelu: Literal["exact", "tanh"] = "exact"
    bias: bool = True
    dropout: float = 0.0
    scale_by_layer: bool = False

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads) < 1:
            raise ValueError("layers, width and heads must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads (got {self.width} and {self.heads})")
        if self.norm not in ("pre", "post"):
            raise ValueError(f"norm must be pre or post (got {self.norm!r})")
        if self.gelu not in ("exact", "tanh"):
            raise ValueError(f"gelu must be exact or tanh (got {self.gelu!r})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")


PRESETS: Mapping[str, GPTConfig] = {
    "gpt-tiny": GPTConfig(layers=2, width=64, heads=4),
    "gpt1-mini": GPTConfig(layers=4, width=256, heads=4, norm="post", gelu="tanh", dropout=0.1),
    "gpt2-small": GPTConfig(layers=12, width=768, heads=12, gelu="tanh", bias=False, scale_by_layer=True),
}
"""Architectures by name. `gpt1-mini`: GPT-1, fewer and narrower layers; `gpt2-small`: as the SASSHA authors have it."""


def configuration(choice: str | Mapping[str, Any]) -> GPTConfig:
    """Return the architecture of a name, or of a mapping with a name at `preset` and fields that differ from it.

    Raises:
        ValueError: There is no such preset or field, or a value is out of range.
    """
    changes = {"preset": choice} if isinstance(choice, str) else dict(choice)
    preset = str(changes.pop("preset", ""))
    if preset not in PRESETS:
        raise ValueError(_unknown("model", preset, PRESETS))
    fields = {field.name: type(getattr(PRESETS[preset], field.name)) for field in dataclasses.fields(GPTConfig)}
    for name, value in changes.items():
        if name not in fields:
            raise ValueError(_unknown("field of a model", name, fields))
        if type(value) is not fields[name] and not (fields[name] is float and type(value) is int):
            raise ValueError(f"{name} of a model must be of type {fields[name].__name__} (got {value!r})")
    return dataclasses.replace(PRESETS[preset], **changes)


def _unknown(what: str, name: str, allowed: Mapping[str, Any]) -> str:
    nearest = nearest_name(name, allowed)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    return f"unknown {what} {name!r}; allowed: {', '.join(allowed)}{hint}"


class GPT(nn.Module):
    """A decoder-only transformer with learned positions, whose output layer is the token embedding.

    Weights are drawn from N(0, 0.02^2); those of the projections that are added to the residual stream, two per
    layer, from N(0, 0.02^2 / (2 layers)) (Radford et al. 2019, section 2.3). Biases begin at zero.

    Args:
        config: The architecture.
        vocabulary: Number of different tokens.
        context: Largest number of tokens in a sequence.
    """

    def __init__(self, config: GPTConfig, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Embedding(context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(Block(config, layer) for layer in range(1, config.layers + 1)))
        self.norm = nn.LayerNorm(config.width, bias=config.bias) if config.norm == "pre" else nn.Identity()
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith("project.weight"):
                nn.init.normal_(parameter, std=_DEVIATION / math.sqrt(2 * config.layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens of shape (n, length) to logits of the next token, of shape (n, length, vocabulary)."""
        positions = self.positions.weight[: tokens.shape[1]]
        hidden: Tensor = self.norm(self.blocks(self.dropout(self.tokens(tokens) + positions)))
        logits: Tensor = F.linear(hidden, self.tokens.weight)
        return logits


class Block(nn.Module):
    """Attention and a perceptron, each added to its input, with layer norms as the configuration says."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.attention = CausalAttention(config, layer)
        self.perceptron_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.perceptron = Perceptron(config)
        self._norm_first = config.norm == "pre"

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, length, width) to the same shape."""
        if self._norm_first:
            x = x + self.attention(self.attention_norm(x))
            x = x + self.perceptron(self.perceptron_norm(x))
        else:
            x = self.attention_norm(x + self.attention(x))
            x = self.perceptron_norm(x + self.perceptron(x))
        return x


class CausalAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens before it."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.queries_keys_values = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.project = nn.Linear(config.width, config.width, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)
        self._heads = config.heads
        self._scale = 1 / math.sqrt(config.width // config.heads) / (layer if config.scale_by_layer else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, length, width) to the same shape."""
        split = self.queries_keys_values(x).unflatten(-1, (3, self._heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width / heads)
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, dropout_p=dropout, is_causal=True, scale=self._scale
        )
        projected: Tensor = self.dropout(self.project(mixed.transpose(1, 2).flatten(2)))
        return projected


class Perceptron(nn.Module):
    """A hidden layer of four times the width, applied to each token alone."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, 4 * config.width, bias=config.bias)
        self.gelu = nn.GELU("tanh" if config.gelu == "tanh" else "none")
        self.project = nn.Linear(4 * config.width, config.width, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, length, width) to the same shape."""
        hidden: Tensor = self.dropout(self.project(self.gelu(self.expand(x))))
        return hidden


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_DEVIATION)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def next_token_loss(logits: Tensor, targets: Tensor, reduction: Literal["mean", "sum"] = "mean") -> Tensor:
    """Return the cross-entropy in nats of logits (n, length, vocabulary) and targets (n, length)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def decay_linear_weights(model: nn.Module) -> list[dict[str, Any]]:
    """Return parameter groups in which only weights of linear layers are decayed.

    Embeddings (the tied output layer is one), layer norms and biases form the second group, with `weight_decay` 0.
    """
    decayed = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    chosen = {id(weight) for weight in decayed}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
