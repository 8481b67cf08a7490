"""Causal Haar wavelets: averages over 2, 4, 8 ... 2^J tokens, each weighed by a learned gain.

a_0 = u = W_v x [batch, time, dim];   a_{j+1}[t] = (a_j[t] + a_j[t - 2^j]) / 2, 0 before a document
d_{j+1} = a_j - a_{j+1};   core(u) = g_J a_J + sum_j g_j d_{j+1};   y = W_o( sigmoid(W_g x) * core )

The undecimated (a trous) Haar transform, made causal. Summed by parts here, core = g_0 a_0 +
sum_{j>=1} (g_j - g_{j-1}) a_j: the same, without the differences, and exactly u where all g are 1.
Reach is 2^J tokens; the state of decoding is the last 2^j values of each a_j, 2^J - 1 in all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from surefoot.model.context import Context, State
from surefoot.model.parameters import Declared, Linear, parameter
from surefoot.recipe.choice import Choice
from surefoot.recipe.facts import Facts, Shape

Delay = Callable[[Tensor, int], Tensor]  # (a_j [batch, time, dim], 2^j) -> a_j[t - 2^j]


class Options(Choice):
    """How many scales, and whose gains they are."""

    kind: str = "haar"
    levels: Annotated[int, Field(ge=1, le=16)] = 6
    """Scales; the mixer reaches 2^levels tokens back"""
    gains: Literal["head", "channel"] = "head"
    """One gain a scale and head, or a scale and channel"""
    init_out: Literal["zero", "normal"] = "zero"
    """First values of the output map; zero makes the layer start as the identity"""


@dataclass
class Rings(State):
    """The last 2^j values of each a_j, that of time t at slot t mod 2^j of the level's stretch."""

    values: Tensor  # [batch, 2^levels - 1, dim]


class Mixer(nn.Module):
    """Mixes tokens by averages of growing length."""

    causal = True
    gains: Tensor

    def __init__(self, shape: Shape, options: Options, layer: int) -> None:
        super().__init__()
        self.dim, self.levels = shape.dim, options.levels
        self.value = Linear(shape.dim, shape.dim)
        self.gate = Linear(shape.dim, shape.dim)
        spread = 1 / math.sqrt(2 * shape.layers * shape.dim)
        self.out = Linear(shape.dim, shape.dim, zero=options.init_out == "zero", std=spread)
        owners = shape.heads if options.gains == "head" else shape.dim
        parameter(self, "gains", (owners, options.levels + 1), Declared("filter", mean=1.0))

    def forward(self, x: Tensor, ctx: Context) -> Tensor:  # (batch, time, dim) -> same
        return self.mixed(x, ctx, delayed)

    def start(self, batch: int, max_len: int, device: torch.device, dtype: torch.dtype) -> Rings:
        """Begin with nothing seen: what is before the first token counts as 0."""
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        shape = (batch, 2**self.levels - 1, self.dim)
        return Rings(length=0, values=torch.zeros(shape, device=device, dtype=kept))

    def extend(self, x: Tensor, ctx: Context, state: Rings) -> tuple[Tensor, Rings]:
        """Read new tokens, the same sums in the same order as in training."""
        y = self.mixed(x, ctx, lambda a, step: turned(state, a, step))
        return y, Rings(length=state.length + x.shape[1], values=state.values)

    def mixed(self, x: Tensor, ctx: Context, delay: Delay) -> Tensor:
        """Give the mixer's output, the past being what `delay` says."""
        u = self.value(x)
        # fp32 at least: averages of averages would lose bits at each level
        mixed = self.core(u if u.dtype == torch.float64 else u.float(), ctx, delay)
        return self.out(torch.sigmoid(self.gate(x)) * mixed.to(u.dtype))

    def core(self, u: Tensor, ctx: Context, delay: Delay) -> Tensor:
        """Give the weighed sum of all scales."""
        steps = self.gains.diff(dim=1, prepend=torch.zeros_like(self.gains[:, :1]))
        weights = steps.repeat_interleave(self.dim // len(steps), dim=0).to(u.dtype)
        average, total = u, u * weights[:, 0]
        for level in range(self.levels):
            past = delay(average, 2**level)
            if ctx.doc is not None:
                past = past.where(ctx.positions.unsqueeze(-1) >= 2**level, 0)
            average = (average + past) * 0.5
            total = total + average * weights[:, level + 1]
        return total


def delayed(a: Tensor, step: int) -> Tensor:
    """Shift by so many tokens; there is nothing before the first."""
    return nn.functional.pad(a, (0, 0, step, 0))[:, : a.shape[1]]


def turned(state: Rings, a: Tensor, step: int) -> Tensor:
    """Give a level's delayed values out of its ring, and put the new ones in."""
    ring = state.values[:, step - 1 : 2 * step - 1]
    if a.shape[1] == 1:  # a new value takes the place of the one that it is averaged with
        slot = state.length % step
        past = ring[:, slot : slot + 1].clone()
        ring[:, slot] = a[:, 0].detach()
        return past
    slots = torch.arange(state.length, state.length + step, device=a.device) % step
    known = torch.cat([ring[:, slots], a], dim=1)  # oldest first
    time = a.shape[1]
    ends = torch.arange(state.length + time, state.length + time + step, device=a.device) % step
    ring[:, ends] = known[:, -step:].detach()
    return known[:, :time]


def facts(shape: Shape, options: Options) -> Facts:
    """Count what one layer costs."""
    owners = shape.heads if options.gains == "head" else shape.dim
    return Facts(
        parameters={"matrix": 3 * shape.dim**2, "filter": owners * (options.levels + 1)},
        flops=6.0 * shape.dim**2 + 4.0 * shape.dim * (options.levels + 1),
        activations=shape.dim * (5.0 + options.levels),
        state=shape.dim * (2.0**options.levels - 1),
    )


def examples() -> list[Options]:
    """Give options that show the range of what this mixer can be."""
    return [Options(), Options(levels=3, gains="channel", init_out="normal")]
