"""GPT: what it can see, how it begins, how large it is, and its second derivatives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.optim.objective import Objective
from benchbench.workloads.models.gpt import (
    GPT,
    PRESETS,
    GPTConfig,
    configuration,
    decay_linear_weights,
    next_token_loss,
)

VOCABULARY, CONTEXT = 11, 6


def made(seed: int = 0, **changes: Any) -> GPT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT(GPTConfig(**{"layers": 2, "width": 8, "heads": 2, **changes}), VOCABULARY, CONTEXT).double()


def text(rows: int = 3, length: int = CONTEXT) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


VARIANTS = [{}, {"norm": "post", "gelu": "tanh"}, {"bias": False, "scale_by_layer": True}]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_token_changes_the_logits_from_its_place_on_and_none_before(changes: dict[str, Any]) -> None:
    model, tokens = made(**changes), text()
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % VOCABULARY
    before, after = model(tokens), model(changed)
    assert before.shape == (3, CONTEXT, VOCABULARY)
    assert torch.equal(before[:, :3], after[:, :3])
    assert all((before[:, place] != after[:, place]).any() for place in range(3, CONTEXT))


def test_a_shorter_text_has_the_logits_of_its_part() -> None:
    model, tokens = made(), text()
    torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, :4], rtol=1e-12, atol=1e-14)


def test_attention_is_that_of_the_formula() -> None:
    """Against softmax(q k / (sqrt(d) l)) v with a mask, written out, in the second layer."""
    attention = made(scale_by_layer=True).blocks[1].attention
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    queries, keys, values = attention.queries_keys_values(x).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = queries[..., head] @ keys[..., head].mT / (math.sqrt(4) * 2)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ values[..., head])
    torch.testing.assert_close(attention(x), attention.project(torch.cat(heads, -1)), rtol=1e-12, atol=1e-14)


def test_the_output_layer_is_the_embedding() -> None:
    model = made()
    assert not any(parameter.shape[0] == VOCABULARY for name, parameter in model.named_parameters() if name[0] != "t")
    with torch.no_grad():
        model.tokens.weight[5] = 0
    assert (model(text())[..., 5] == 0).all()


def test_initial_weights_have_the_stated_deviations() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT(GPTConfig(layers=2, width=128, heads=2), 512, 128)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            expected = torch.ones_like(parameter) if name.endswith("weight") else torch.zeros_like(parameter)
            assert torch.equal(parameter, expected)
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            deviation = 0.02 / math.sqrt(4) if "project" in name else 0.02
            assert parameter.std().item() == pytest.approx(deviation, rel=0.03)
            assert parameter.mean().abs().item() < 5 * deviation / math.sqrt(parameter.numel())


def test_gpt2_small_has_the_parameters_of_its_formula() -> None:
    with torch.device("meta"):
        model = GPT(configuration("gpt2-small"), 50304, 1024)
    width = 768
    per_layer = 12 * width**2 + 2 * width
    expected = (50304 + 1024) * width + 12 * per_layer + width
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 124_373_760


def test_only_weights_of_linear_layers_are_decayed() -> None:
    model = made()
    decayed, others = decay_linear_weights(model)
    assert "weight_decay" not in decayed
    assert others["weight_decay"] == 0.0
    assert {id(p) for p in decayed["params"]} == {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    everything = decayed["params"] + others["params"]
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(list(model.parameters()))


def test_a_configuration_is_a_name_or_a_changed_one() -> None:
    assert configuration("gpt-tiny") == PRESETS["gpt-tiny"]
    assert configuration({"preset": "gpt1-mini", "dropout": 0}).dropout == 0
    assert configuration({"preset": "gpt1-mini", "width": 64}).norm == "post"


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ("gpt-tinny", "unknown model 'gpt-tinny'; allowed: gpt-tiny, .*did you mean 'gpt-tiny'?"),
        ({"width": 8}, "unknown model ''"),
        ({"preset": "gpt-tiny", "witdh": 8}, "unknown field of a model 'witdh'.*did you mean 'width'?"),
        ({"preset": "gpt-tiny", "width": 63}, "width must be a multiple of heads"),
        ({"preset": "gpt-tiny", "width": "8"}, "width of a model must be of type int"),
        ({"preset": "gpt-tiny", "bias": 1}, "bias of a model must be of type bool"),
        ({"preset": "gpt-tiny", "layers": 0}, "must be at least 1"),
        ({"preset": "gpt-tiny", "norm": "middle"}, "norm must be pre or post"),
        ({"preset": "gpt-tiny", "gelu": "sigmoid"}, "gelu must be exact or tanh"),
        ({"preset": "gpt-tiny", "dropout": 1.0}, "dropout must be in"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_one_line(choice: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        configuration(choice)


@pytest.mark.parametrize("changes", [*VARIANTS, {"dropout": 0.3}])
def test_products_are_those_of_the_dense_hessian(changes: dict[str, Any]) -> None:
    """Embeddings (one of them twice in the graph), layer norm, attention, and dropout with fixed masks."""
    model = made(**{"layers": 1, "width": 4, **changes})
    tokens = text(length=CONTEXT + 1)
    parameters = list(model.parameters())

    def loss() -> Tensor:
        torch.manual_seed(3)  # the same masks each time
        return next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])

    generator = torch.Generator().manual_seed(1)
    vector = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    with torch.random.fork_rng(devices=[]):
        for parameter in parameters:  # away from the start, where most of the curvature vanishes
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        _, [product] = Objective(loss, parameters).with_hvp([vector])
        with sdpa_kernel(SDPBackend.MATH):
            gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
        rows = [
            torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
            for entry in torch.cat([gradient.flatten() for gradient in gradients])
        ]
    dense = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    expected = dense @ torch.cat([v.flatten() for v in vector])
    found = torch.cat([p.flatten() for p in product])
    assert expected.norm() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
