"""Norms, turns and squared ReLU with their gradients by hand: a CPU takes half as long for them.

torch's rms_norm has a kernel on a GPU only; elsewhere autograd walks through its parts, and through
those of a turn and of a square, with a pass over memory for each.

n = x r, r = 1/sqrt(mean x² + e);   dx = r (dn - n mean(n dn));   a turn's slope is turned back.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-6  # unless a model's own norms have another (model.norm_eps)


def by_hand(x: Tensor) -> bool:
    """Say whether these forms are the faster ones."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def normed(x: Tensor, weight: Tensor | None, eps: float = EPS) -> Tensor:
    """Bring the last axis to rms 1, then to the gain that was learned."""
    if by_hand(x):
        return cast("Tensor", Normed.apply(x, weight, eps))
    return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, eps)


def squared_relu(x: Tensor) -> Tensor:
    """Give relu(x)²."""
    return cast("Tensor", SquaredRelu.apply(x)) if by_hand(x) else torch.relu(x).square()


def inverse_rms(x: Tensor, eps: float = EPS) -> Tensor:
    """Give 1 over the root mean square of the last axis."""
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class Normed(torch.autograd.Function):
    """The norm over the last axis."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        scale = inverse_rms(x, eps)
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit if weight is None else unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] (the base takes any number)
        unit, scale, weight = ctx.saved_tensors
        both = slope * unit
        if weight is None:
            own, share, inner = None, both.mean(-1, keepdim=True), slope
        else:
            own = both.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
            share, inner = (both @ weight).unsqueeze(-1).div_(unit.shape[-1]), slope * weight
        return torch.addcmul(inner, unit, share, value=-1).mul_(scale), own, None


class Turned(torch.autograd.Function):
    """Heads brought to rms 1, if asked for, and turned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, norm: bool) -> Tensor:
        scale = inverse_rms(x) if norm else None
        turned = turn(x if scale is None else x * scale, cos, sin)
        ctx.save_for_backward(turned if norm else None, scale, cos, sin)
        return turned

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        turned, scale, cos, sin = ctx.saved_tensors
        if scale is not None:  # a turn changes no product, so this may come before turning back
            share = (slope * turned).mean(-1, keepdim=True)
            slope = torch.addcmul(slope, turned, share, value=-1).mul_(scale)
        return turn(slope, cos, -sin), None, None, None


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + n/2) of the first n features."""
    half = cos.shape[-1]
    rest = x.shape[-1] - 2 * half
    heads = x.shape[-2]
    parts = (cos, cos, cos.new_ones(()).expand(*cos.shape[:-1], rest)) if rest else (cos, cos)
    along = torch.cat(parts, -1).expand(*cos.shape[:-2], heads, -1).flatten(-2)
    parts = (-sin, sin, sin.new_zeros(()).expand(*sin.shape[:-1], rest)) if rest else (-sin, sin)
    across = torch.cat(parts, -1).expand(*sin.shape[:-2], heads, -1).flatten(-2)
    other = torch.cat([x[..., half : 2 * half], x[..., :half], x[..., 2 * half :]], -1)
    flat = x.flatten(-2) * along
    return flat.addcmul_(other.flatten(-2), across).view(x.shape)


class SquaredRelu(torch.autograd.Function):
    """The square of what is above 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        above = torch.relu(x)
        ctx.save_for_backward(above)
        return above * above

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (above,) = ctx.saved_tensors
        return torch.addcmul(above.new_zeros(()), slope, above, value=2.0)
