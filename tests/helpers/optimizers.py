"""The optimizers of the two packages with settings under which short tests see them work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from baselines.adahessian import AdaHessian
from baselines.sam import SAM
from baselines.shampoo import Shampoo
from baselines.shampoo_grafted import GraftedShampoo
from baselines.sophia_h import SophiaH
from sassha import MSASSHA, SASSHA

Factory = Callable[..., Optimizer]


def sam_adamw(params: Iterable[Any], **settings: Any) -> SAM:
    return SAM(params, torch.optim.AdamW, **settings)


def sam_sgd(params: Iterable[Any], **settings: Any) -> SAM:
    return SAM(params, **({"momentum": 0.9} | settings))


FACTORIES: dict[str, Factory] = {
    "sassha": SASSHA,
    "sassha_signed": lambda params, **settings: SASSHA(params, **({"absolute": False} | settings)),
    "msassha": MSASSHA,
    "sam_sgd": sam_sgd,
    "sam_adamw": sam_adamw,
    "adahessian": lambda params, **settings: AdaHessian(params, **({"lazy_hessian": 3} | settings)),
    "sophia_h": lambda params, **settings: SophiaH(params, **({"gamma": 1.0} | settings)),
    "shampoo": Shampoo,
    "grafted_shampoo": lambda params, **settings: GraftedShampoo(params, **({"update_freq": 3} | settings)),
}
SECOND_ORDER = ["sassha", "msassha", "adahessian", "sophia_h"]

every_optimizer = pytest.mark.parametrize("name", FACTORIES)
every_second_order_optimizer = pytest.mark.parametrize("name", SECOND_ORDER)
