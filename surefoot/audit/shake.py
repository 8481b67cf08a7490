"""Shakes a scratch copy of a model, as first values of zero would hide every leak behind them."""

import math

import torch
from torch import Tensor, nn

from surefoot.randomness import fnv1a64, key


@torch.no_grad()
def shake(model: nn.Module, seed: int, scale: float = 1.0) -> None:
    """Fill all-zero parameters with N(0, 1 / fan_in), and gates and biases with less, in place.

    A scale also multiplies every parameter of two dims and more: gates and routers then saturate,
    and show leaks that are small elsewhere. Only for copies that are thrown away: a model in
    training is not ours.
    """
    for name, tensor in model.named_parameters():
        if not tensor.any():
            tensor.copy_(noise(tensor, key(seed, "shake", fnv1a64(name), 0)))
        if scale != 1.0 and tensor.ndim > 1:
            tensor.mul_(scale)


def noise(like: Tensor, seed: int) -> Tensor:
    """Draw N(0, 1 / fan_in), the same on every device and in every precision."""
    source = torch.Generator().manual_seed(seed & (2**63 - 1))
    # a single number may be the gate that a leak hides behind
    spread = 1 / math.sqrt(like[0].numel()) if like.ndim > 1 else 0.25
    return torch.empty(like.shape, dtype=torch.float64).normal_(0, spread, generator=source)
