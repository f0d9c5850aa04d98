from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from benchbench.optim.roles import ParameterRoles, Role
from benchbench.workloads import models
from benchbench.workloads.models.gpt import GPT, GPTConfig

BLOCKS: dict[str, Role] = {"*.conv?.weight": "filter", "*.norm?.*": "norm", "*.shortcut.1.*": "norm"}
TRANSFORMER: dict[str, Role] = {"*.bias": "bias", "blocks.*.weight": "hidden"}

BY_HAND: dict[str, dict[str, Role]] = {
    "resnet20": {
        "*.bias": "bias",
        "stem.0.weight": "filter",
        "stem.1.*": "norm",
        **BLOCKS,
        "*.shortcut.0.weight": "filter",
        "head.weight": "head",
    },
    "wrn_28_10": {
        "*.bias": "bias",
        "stem.weight": "filter",
        "norm.*": "norm",
        **BLOCKS,
        "*.shortcut.0.weight": "filter",
        "head.weight": "head",
    },
    "vit_s_32": {
        **TRANSFORMER,
        "embed.0.*": "norm",
        "embed.1.weight": "embedding",
        "embed.2.*": "norm",
        "blocks.*.norm.*": "norm",
        "blocks.*.mlp.0.*": "norm",
        "norm.*": "norm",
        "head.weight": "head",
    },
    "mlp": {"1.weight": "hidden", "3.weight": "hidden", "5.weight": "head", "*.bias": "bias"},
    "resnet50": {
        "conv1.weight": "filter",
        "*.conv?.weight": "filter",
        "*.downsample.0.weight": "filter",
        "bn?.*": "norm",
        "*.bn?.*": "norm",
        "*.downsample.1.*": "norm",
        "fc.weight": "head",
        "fc.bias": "bias",
    },
    "convnet": {"[036].weight": "filter", "[147].*": "norm", "11.weight": "head", "11.bias": "bias"},
    "torchvision vit_b_16": {
        "class_token": "embedding",
        "conv_proj.weight": "embedding",
        "encoder.pos_embedding": "embedding",
        "*_bias": "bias",
        "*.bias": "bias",
        "*.in_proj_weight": "hidden",
        "*.out_proj.weight": "hidden",
        "*.mlp.*.weight": "hidden",
        "*.ln*": "norm",
        "heads.head.weight": "head",
    },
    "torchvision convnext_tiny": {
        "*.bias": "bias",
        "features.0.0.weight": "embedding",
        "features.*.block.0.weight": "filter",
        "features.*.block.[35].weight": "hidden",
        "features.[246].1.weight": "filter",
        "*.layer_scale": "other",
        "features.0.1.*": "norm",
        "features.*.block.2.*": "norm",
        "features.[246].0.*": "norm",
        "classifier.0.*": "norm",
        "classifier.2.weight": "head",
    },
    "torchvision vgg11": {
        "features.*.weight": "filter",
        "*.bias": "bias",
        "classifier.[03].weight": "hidden",
        "classifier.6.weight": "head",
    },
    "torchvision squeezenet1_0": {"features.*.weight": "filter", "*.bias": "bias", "classifier.1.weight": "head"},
}
"""Roles by pattern, the last that matches: what a reader of the network would say."""

ALIKE = {"resnet32": "resnet20", "resnet56": "resnet20", "vit_s_16": "vit_s_32"}


def network(name: str) -> nn.Module:
    with torch.device("meta"):
        if name.startswith("torchvision "):
            import torchvision

            return torchvision.models.get_model(name.removeprefix("torchvision "), weights=None)  # type: ignore[no-any-return]
        build = getattr(models, name)
        return build(classes=10, channels=3, image_size=224 if "50" in name else 32)  # type: ignore[no-any-return]


def roles_by_name(model: nn.Module) -> dict[str, Role]:
    roles = ParameterRoles(model)
    return {roles.names[parameter]: role for parameter, role in roles.items()}


@pytest.mark.parametrize("name", [*BY_HAND, *ALIKE])
def test_every_bundled_network_has_the_roles_that_its_reader_would_give(name: str) -> None:
    by_hand = BY_HAND[ALIKE.get(name, name)]
    for parameter, role in roles_by_name(network(name)).items():
        said = [expected for pattern, expected in by_hand.items() if fnmatchcase(parameter, pattern)]
        assert said, f"{parameter} is not written down"
        assert role == said[-1], parameter


@pytest.mark.parametrize("bias", [True, False])
def test_the_output_layer_of_a_gpt_is_its_embedding_and_so_it_has_no_head(bias: bool) -> None:
    model = GPT(GPTConfig(layers=2, heads=2, width=8, bias=bias), vocabulary=11, context=5)
    counts = Counter(roles_by_name(model).values())
    assert counts["embedding"] == 2
    assert counts["hidden"] == 2 * 4
    assert counts["head"] == 0
    assert counts["bias"] == (2 * 4 if bias else 0)
    assert sum(counts.values()) == len(list(model.parameters()))


class Tied(nn.Module):
    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.lm_head = nn.Linear(4, 7, bias=False)
        self.tokens = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(3))
        if tied:
            self.lm_head.weight = self.tokens.weight


@pytest.mark.parametrize(("tied", "role"), [(True, "embedding"), (False, "head")])
def test_a_head_that_is_tied_to_an_embedding_is_one_wherever_it_is_registered(tied: bool, role: Role) -> None:
    found = roles_by_name(Tied(tied=tied))
    assert found["lm_head.weight"] == role
    assert found["blocks.2.0.weight"] == "hidden"


def test_the_last_of_equal_blocks_is_no_head_but_one_with_other_outputs_is() -> None:
    def block(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, width), nn.ReLU())

    assert "head" not in roles_by_name(nn.Sequential(block(4), block(4), block(4))).values()
    assert roles_by_name(nn.Sequential(block(4), block(4), block(3)))["2.0.weight"] == "head"


def test_layers_that_share_weights_recur_or_are_parametrized_keep_their_roles() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict(
        {
            "norm": nn.GroupNorm(2, 4),
            "recurrent": nn.LSTM(4, 4),
            "first": shared,
            "again": shared,
            "kernel": parametrizations.weight_norm(nn.Conv1d(4, 4, 3)),
            "bounded": parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
            "activation": nn.PReLU(),
            "bag": nn.EmbeddingBag(3, 4),
            "readout": nn.Bilinear(4, 4, 2),
        }
    )
    found = roles_by_name(model)
    assert found["norm.weight"] == found["norm.bias"] == "norm"
    assert found["recurrent.weight_hh_l0"] == found["first.weight"] == "hidden"
    assert found["recurrent.bias_ih_l0"] == found["first.bias"] == "bias"
    assert found["kernel.parametrizations.weight.original0"] == "other"
    assert found["kernel.parametrizations.weight.original1"] == "filter"
    assert found["bounded.parametrizations.weight.original"] == "head"  # the last matrix; its reader would override it
    assert found["activation.weight"] == "other"
    assert found["bag.weight"] == "embedding"


def test_another_librarys_norm_is_known_by_the_end_of_its_name() -> None:
    class LlamaRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

    assert roles_by_name(nn.Sequential(LlamaRMSNorm())) == {"0.weight": "norm"}


def test_bare_parameters_in_a_list_have_roles_too() -> None:
    model = nn.ParameterList([torch.ones(2, 2), torch.ones(2, 2), torch.ones(2)])
    assert roles_by_name(model) == {"0": "hidden", "1": "head", "2": "other"}


def test_a_vector_of_a_class_is_an_embedding_and_a_distilled_output_is_a_head() -> None:
    model = nn.Module()
    model.register_parameter("class_embedding", nn.Parameter(torch.ones(4)))
    model.register_parameter("position_bias", nn.Parameter(torch.ones(4)))
    model.register_module("cls_classifier", nn.Linear(4, 2, bias=False))
    model.register_module("distillation_classifier", nn.Linear(4, 2, bias=False))
    assert roles_by_name(model) == {
        "class_embedding": "embedding",
        "position_bias": "bias",
        "cls_classifier.weight": "head",
        "distillation_classifier.weight": "head",
    }


def test_names_and_patterns_override_the_last_one_last() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    roles = ParameterRoles(model, {"*.weight": "other", "1.weight": "embedding"})
    assert {roles.names[p]: role for p, role in roles.items() if p.dim() == 2} == {
        "0.weight": "other",
        "1.weight": "embedding",
        "2.weight": "other",
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"2.wieght": "head"}, "no parameter has a name like '2.wieght'"),
        ({"*.gain": "head"}, r"no parameter has a name like '\*.gain'"),
        ({"0.weight": "matrix"}, "'matrix' is no role; allowed: hidden, filter, embedding, head, norm, bias, other"),
    ],
)
def test_an_override_that_says_nothing_is_refused(overrides: dict[str, Role], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ParameterRoles(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), overrides)
