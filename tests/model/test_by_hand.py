"""Norms, turns and squared ReLU by hand: values and slopes are those of torch's own formulas."""

import pytest
import torch
from torch import Tensor

from surefoot.model import rotary
from surefoot.model.by_hand import EPS, SquaredRelu, Turned, normed, squared_relu


def drawn(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=source).requires_grad_()


def angles(time: int, turned: int) -> tuple[Tensor, Tensor]:
    cos, sin = rotary.made(time, turned, 100.0)
    return cos[None, :, None], sin[None, :, None]


@pytest.mark.parametrize("eps", [EPS, 0.3])
@pytest.mark.parametrize("gain", [True, False])
def test_a_norm_is_torchs_norm_in_value_and_slope(gain: bool, eps: float) -> None:
    x = drawn(2, 5, 8)
    weight = drawn(8, seed=1) if gain else None
    theirs = torch.nn.functional.rms_norm(x, (8,), weight, eps)
    assert torch.allclose(normed(x, weight, eps), theirs, atol=1e-12)
    given = (x,) if weight is None else (x, weight)
    assert torch.autograd.gradcheck(lambda x, w=None: normed(x, w, eps), given)


def test_a_norm_of_zeros_is_zeros_and_has_a_finite_slope() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    normed(x, torch.ones(4)).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert not normed(x, None).any()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("turned", [4, 8])
def test_a_turn_is_the_plain_turn_in_value_and_slope(norm: bool, turned: int) -> None:
    x = drawn(2, 5, 3, 8)
    cos, sin = angles(5, turned)
    unit = torch.nn.functional.rms_norm(x, (8,), None, EPS) if norm else x
    found = Turned.apply(x, cos, sin, norm)
    assert torch.allclose(found, rotary.rotate(unit, cos, sin), atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: Turned.apply(x, cos, sin, norm), (x,))


def test_a_turn_takes_what_lies_apart_in_memory() -> None:
    x, (cos, sin) = drawn(2, 3, 5, 8).transpose(1, 2), angles(5, 8)
    wanted = rotary.rotate(x, cos, sin)
    found = Turned.apply(x, cos, sin, False)
    slope = torch.randn(2, 3, 5, 8, dtype=torch.float64).transpose(1, 2)
    ours, theirs = (torch.autograd.grad(y, x, slope)[0] for y in (found, wanted))
    assert torch.allclose(found, wanted) and torch.allclose(ours, theirs)


def test_a_squared_relu_is_the_square_of_relu_in_value_and_slope() -> None:
    x = drawn(4, 6)
    assert torch.equal(squared_relu(x), x.relu().square())
    assert torch.autograd.gradcheck(SquaredRelu.apply, (x,))
