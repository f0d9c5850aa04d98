"""Every routed function, over its arguments: values, first, second and third derivatives in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchbench.optim.second_order import FastSecondDerivatives
from benchbench.optim.second_order.routing import _ROUTES
from tests.accelerator import current_device, every_device, needs, tolerance

pytestmark = every_device

Call = Callable[..., Tensor]
Shape = tuple[int, ...] | None

X, W, B = (3, 4, 5, 6), (2, 4, 3, 2), (2,)
ROWS, QKV = (3, 4, 6), ((2, 3, 4, 2), (2, 3, 5, 2), (2, 3, 5, 3))
SQUARE = ((2, 4, 3),) * 3


def conv(function: Call = F.conv2d, **keywords: Any) -> Call:
    return lambda x, w, b: function(x, w, b, **keywords)


def bn(**keywords: Any) -> Call:
    return lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, **keywords)


def attention(**keywords: Any) -> Call:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **keywords)


def masked_attention(allowed: Tensor) -> Call:
    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        given = allowed.to(q.device, allowed.dtype if allowed.dtype == torch.bool else q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=given)

    return call


def ln(*shape: int) -> Call:
    return lambda x, w, b: F.layer_norm(x, shape, w, b)


def mask(rows: int, columns: int, kind: torch.dtype) -> Tensor:
    allowed = torch.rand(rows, columns, generator=torch.Generator().manual_seed(5)) < 0.7
    allowed[0] = kind != torch.bool  # a row of which nothing may be attended to gives zeros
    return allowed if kind == torch.bool else allowed.to(kind) * 3


CASES: dict[str, tuple[Call, tuple[Shape, ...]]] = {
    "conv": (conv(), (X, W, B)),
    "conv without bias": (conv(), (X, W, None)),
    "conv stride": (conv(stride=2, padding=1), (X, W, B)),
    "conv uneven": (conv(stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (X, W, B)),
    "conv dilation": (conv(padding=2, dilation=2), (X, W, B)),
    "conv groups": (conv(padding=1, groups=2), (X, (4, 2, 3, 3), (4,))),
    "conv depthwise": (conv(padding=1, groups=4), (X, (8, 1, 3, 3), (8,))),
    "conv same": (conv(padding="same"), (X, (2, 4, 3, 3), B)),
    "conv same dilated": (conv(padding="same", dilation=(2, 1)), (X, (2, 4, 2, 3), B)),
    "conv valid": (conv(padding="valid", stride=[2]), (X, W, B)),
    "conv pointwise": (conv(stride=2), (X, (3, 4, 1, 1), None)),
    "conv1d": (conv(F.conv1d, stride=2, padding=1), ((2, 3, 7), (4, 3, 3), (4,))),
    "conv3d": (conv(F.conv3d, padding=1), ((2, 2, 3, 2, 3), (2, 2, 2, 2, 2), (2,))),
    "batch norm": (bn(), (X, (4,), (4,))),
    "batch norm plain": (bn(), (X, None, None)),
    "batch norm without bias": (bn(eps=0.1), (X, (4,), None)),
    "batch norm of rows": (bn(), ((6, 3), (3,), (3,))),
    "batch norm 1d": (bn(), ((3, 2, 4), (2,), (2,))),
    "batch norm 3d": (bn(), ((2, 2, 2, 3, 2), (2,), (2,))),
    "layer norm": (ln(6), (ROWS, (6,), (6,))),
    "layer norm plain": (ln(6), (ROWS, None, None)),
    "layer norm without bias": (ln(6), (ROWS, (6,), None)),
    "layer norm of two": (ln(4, 6), (ROWS, (4, 6), (4, 6))),
    "attention": (attention(), QKV),
    "attention causal": (attention(is_causal=True), QKV),
    "attention causal square": (attention(is_causal=True, scale=0.3), SQUARE),
    "attention boolean mask": (masked_attention(mask(4, 5, torch.bool)), QKV),
    "attention added mask": (masked_attention(mask(4, 5, torch.float64)), QKV),
    "linear": (F.linear, (ROWS, (5, 6), (5,))),
    "linear without bias": (F.linear, ((4, 6), (5, 6), None)),
    "gelu": (F.gelu, (ROWS,)),
    "relu": (F.relu, (ROWS,)),
    "relu in place": (lambda x: F.relu(x * 2, inplace=True), (ROWS,)),
}
every_case = pytest.mark.parametrize("name", CASES)


def build(name: str, dtype: torch.dtype = torch.float64) -> tuple[Call, list[Tensor | None]]:
    needs(dtype)
    function, shapes = CASES[name]
    return function, tensors(shapes, dtype)


def tensors(shapes: tuple[Shape, ...], dtype: torch.dtype = torch.float64) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(7)
    inputs = [
        None
        if shape is None
        else torch.randn(shape, generator=generator, dtype=torch.float64).to(current_device(), dtype)
        for shape in shapes
    ]
    return [None if x is None else x.requires_grad_() for x in inputs]


def routed(function: Call) -> Call:
    def call(*inputs: Tensor | None) -> Tensor:
        with FastSecondDerivatives():
            return function(*inputs)

    return call


def by_torch(function: Call) -> Call:
    def call(*inputs: Tensor | None) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return function(*inputs)

    return call


def derivatives(function: Call, inputs: list[Tensor | None], order: int = 2) -> list[list[Tensor | None]]:
    """Return the output, its gradients, and so on: each time those of the sum of squares plus sines."""
    inputs = [None if x is None else x.detach().requires_grad_(x.requires_grad) for x in inputs]
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    values: list[list[Tensor | None]] = [[function(*inputs)]]
    for _ in range(order):
        scalar = sum((y * y).sum() + y.sin().sum() for y in values[-1] if y is not None)
        values.append(list(torch.autograd.grad(scalar, wanted, create_graph=True, allow_unused=True)))
    return values


def assert_same(
    found: list[list[Tensor | None]],
    expected: list[list[Tensor | None]],
    on_the_cpu: float,
    dtype: torch.dtype = torch.float64,
) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert a.shape == b.shape and a.dtype == b.dtype
                # What is left of a sum that cancels is known as well as its terms, which are of order one.
                assert (a - b).abs().max() <= tolerance(on_the_cpu, dtype) * max(b.abs().max(), 0.01)


@every_case
def test_is_routed(name: str) -> None:
    function, inputs = build(name)
    node = routed(function)(*inputs).grad_fn
    assert type(node).__name__.startswith("_")


@every_case
def test_agrees_with_finite_differences(name: str) -> None:
    function, inputs = build(name)
    assert gradcheck(routed(function), inputs)
    assert gradgradcheck(routed(function), inputs)


@pytest.mark.parametrize(
    ("function", "shapes"), [(bn(), (X, None, (4,))), (ln(6), (ROWS, None, (6,)))], ids=["batch norm", "layer norm"]
)
def test_a_bias_may_come_without_a_weight(function: Call, shapes: tuple[Shape, ...]) -> None:
    """Torch's own second derivatives fail there, or forget the bias."""
    inputs = tensors(shapes)
    assert gradcheck(routed(function), inputs)
    assert gradgradcheck(routed(function), inputs)


@every_case
def test_agrees_with_torch(name: str) -> None:
    function, inputs = build(name)
    expected = derivatives(by_torch(function), inputs)
    assert_same(derivatives(routed(function), inputs), expected, 1e-12)


@every_case
def test_agrees_with_torch_in_the_form_for_gpus(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where launches decide the time and not passes over memory, batch norm adds up other terms."""
    monkeypatch.setattr("benchbench.optim.second_order.batch_norm._SecondDerivative._is_on_cpu", False)
    test_agrees_with_torch(name)
    test_agrees_with_torch_in_single_precision(name)
    test_any_part_of_the_second_derivative_may_be_asked_for(name)
    test_memory_layout_does_not_matter(name)


@every_case
def test_third_derivatives_are_torchs(name: str) -> None:
    function, inputs = build(name)
    if name.startswith("batch norm"):
        with pytest.raises(RuntimeError, match="does not support 3rd"):
            derivatives(by_torch(function), inputs, order=3)
        with pytest.raises(RuntimeError, match="does not support 3rd"):
            derivatives(routed(function), inputs, order=3)
        return
    expected = derivatives(by_torch(function), inputs, order=3)
    assert_same(derivatives(routed(function), inputs, order=3), expected, 1e-11)


@every_case
def test_agrees_with_torch_in_single_precision(name: str) -> None:
    function, inputs = build(name, torch.float32)
    expected = derivatives(by_torch(function), inputs)
    assert_same(derivatives(routed(function), inputs), expected, 2e-5, torch.float32)


@every_case
def test_any_input_may_be_a_constant(name: str) -> None:
    function, inputs = build(name)
    places = [i for i, x in enumerate(inputs) if x is not None]
    for kept in range(1, 2 ** len(places) - 1):
        chosen = [None if x is None else x.detach() for x in inputs]
        for bit, place in enumerate(places):
            if kept >> bit & 1:
                chosen[place] = chosen[place].requires_grad_()
        expected = derivatives(by_torch(function), chosen)
        assert_same(derivatives(routed(function), chosen), expected, 1e-12)


@every_case
def test_any_part_of_the_second_derivative_may_be_asked_for(name: str) -> None:
    """Cotangents of some gradients only, derivatives with respect to some arguments only."""
    function, inputs = build(name)
    given = [x for x in inputs if x is not None]

    def parts(call: Call) -> list[list[Tensor | None]]:
        y = call(*inputs)
        seed = y.detach().sin().requires_grad_()
        gradients = torch.autograd.grad(y, given, seed, create_graph=True)
        targets = [seed, *given]
        found: list[list[Tensor | None]] = []
        for gradient in gradients:
            for target in targets:
                cotangent = gradient.detach().cos()
                share = torch.autograd.grad(gradient, target, cotangent, retain_graph=True, allow_unused=True)[0]
                found.append([torch.zeros_like(target) if share is None else share])
        return found

    assert_same(parts(routed(function)), parts(by_torch(function)), 1e-12)


@every_case
def test_memory_layout_does_not_matter(name: str) -> None:
    function, inputs = build(name)
    turned = [
        None if x is None else x.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for x in inputs
    ]
    assert_same(derivatives(routed(function), turned), derivatives(by_torch(function), inputs), 1e-12)
    if inputs[0] is not None and inputs[0].dim() == 4:
        last = [
            None
            if x is None
            else x.detach().clone(memory_format=torch.channels_last).requires_grad_()
            if x.dim() == 4
            else x
            for x in inputs
        ]
        assert_same(derivatives(routed(function), last), derivatives(by_torch(function), inputs), 1e-12)


@every_case
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_batched_cotangents(name: str) -> None:
    function, inputs = build(name)
    given = [x for x in inputs if x is not None]
    y = routed(function)(*inputs)
    gradients = torch.autograd.grad((y * y).sum() + y.sin().sum(), given, create_graph=True)
    cotangents = [torch.stack([g.detach(), g.detach().cos()]) for g in gradients]
    batched = torch.autograd.grad(gradients, given, cotangents, is_grads_batched=True, retain_graph=True)
    for i in range(2):
        single = torch.autograd.grad(gradients, given, [c[i] for c in cotangents], retain_graph=True)
        assert_same([[b[i] for b in batched]], [list(single)], 1e-12)


def test_every_route_is_tested() -> None:
    assert {route for function, route in _ROUTES.items() if function is not torch.relu} == set(_ROUTES.values())


@pytest.mark.parametrize("name", ["gelu", "linear square", "layer norm"])
def test_an_input_may_be_the_cotangent_as_well(name: str) -> None:
    function = {
        "gelu": F.gelu,
        "linear square": lambda x: F.linear(x, weight),
        "layer norm": lambda x: ln(6)(x, weight[0], None),
    }[name]
    needs(torch.float64)
    weight, x = (
        torch.randn(size, 6, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
        .to(current_device())
        .requires_grad_()
        for size in (6, 4)
    )

    def product(call: Call) -> Tensor:
        (gradient,) = torch.autograd.grad(call(x), x, x, create_graph=True)
        return torch.autograd.grad(gradient, x, x.detach().sin(), create_graph=True)[0]

    torch.testing.assert_close(
        product(routed(function)), product(function), rtol=tolerance(1e-12), atol=tolerance(1e-12)
    )
