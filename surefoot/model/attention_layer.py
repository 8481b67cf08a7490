"""What attention layers have in common: options, maps to queries, keys and values, and out again.

q, k, v = W_q x, W_k x, W_v x;   q, k <- rope(rms(q)), rope(rms(k));   y = W_o attend(q, k, v)

RoPE: Su et al. 2021 (arXiv 2104.09864). QK-norm: Henry et al. 2020 (arXiv 2010.04245). Grouped
heads: Ainslie et al. 2023 (arXiv 2305.13245). Value embeddings: v <- l0 v + l1 table[token].
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from surefoot.errors import Problem, RecipeError
from surefoot.model import rotary
from surefoot.model.attention import Scoring
from surefoot.model.by_hand import Turned, by_hand, normed
from surefoot.model.context import Context
from surefoot.model.parameters import Declared, Linear, parameter
from surefoot.recipe.choice import Choice
from surefoot.recipe.facts import Facts, Shape

if TYPE_CHECKING:
    from surefoot.recipe.schema import Recipe

QUERIES, KEYS = 8, 512  # the latest of a pass's first row, which the largest score is sampled from


class AttentionOptions(Choice):
    """Options of every attention layer."""

    qk_norm: bool = True
    """Norms queries and keys, so that no score exceeds sqrt(head_dim)"""
    qk_gain: bool = False
    """Learns one factor a head for its scores"""
    rope_base: Annotated[float, Field(gt=1)] = 10000.0
    """Base of the rotary angles; larger ones turn slower"""
    rope_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a head's features that turn with position"""
    attn_scale: Annotated[float, Field(gt=0)] | None = None
    """Factor of the scores; 1/sqrt(head_dim) where it is left out"""
    attn_softcap: Annotated[float, Field(ge=0)] = 0.0
    """Bends scores to stay within this, s <- c tanh(s/c); 0 = not bent"""
    init_out: Literal["zero", "normal"] = "zero"
    """First values of the output map; zero makes the layer start as the identity"""

    def problems(self, place: str, recipe: "Recipe") -> Iterator[Problem]:
        """Find what can't be in this recipe's shape."""
        model = recipe.model
        yield from odd_heads(self, place, model.dim, model.heads)


def odd_heads(options: AttentionOptions, place: str, dim: int, heads: int) -> Iterator[Problem]:
    """Features turn in pairs: a head needs an even number of them, and one pair at least."""
    head_dim = dim // heads
    if head_dim % 2:
        fits = [n for n in range(1, dim + 1) if dim % n == 0 and dim // n % 2 == 0]
        best = min(fits, key=lambda n: abs(n - heads), default=heads)
        yield Problem(
            what="model.heads",
            value=str(heads),
            why=f"{place} turns pairs of features (gqa), and dim / heads = {dim} / {heads} = "
            f"{head_dim} is odd",
            instead=f"Write model.heads={best}" if fits else f"Write model.dim={dim + heads}",
        )
    elif not turned(options, head_dim):
        yield Problem(
            what=f"{place}.rope_fraction",
            value=str(options.rope_fraction),
            why=f"that is less than one pair of the {head_dim} features of a head",
            instead=f"Write {place}.rope_fraction={2 / head_dim:g}",
        )


def turned(options: AttentionOptions, head_dim: int) -> int:
    """Count the features of a head that turn with position."""
    # a third of 6 features, written in six digits, is a pair too
    return 2 * int(options.rope_fraction * head_dim / 2 + 1e-4)


class AttentionLayer(nn.Module):
    """The maps of one attention layer; each mixer that has them says what is attended."""

    causal = True
    gain: Tensor
    value_mix: Tensor

    def __init__(self, shape: Shape, options: AttentionOptions, layer: int) -> None:
        super().__init__()
        check(shape, options, layer)
        self.shape, self.options, self.layer = shape, options, layer
        self.head_dim = shape.head_dim
        wide, narrow = shape.heads * self.head_dim, shape.kv_heads * self.head_dim
        self.query = Linear(shape.dim, wide)
        self.key = Linear(shape.dim, narrow)
        self.value = Linear(shape.dim, narrow)
        spread = 1 / math.sqrt(2 * shape.layers * shape.dim)
        self.out = Linear(wide, shape.dim, zero=options.init_out == "zero", std=spread)
        if options.qk_gain:
            parameter(self, "gain", (shape.heads, 1), Declared("scalar", mean=1.0))
        self.scoring = Scoring(
            scale=options.attn_scale or 1 / math.sqrt(self.head_dim),
            softcap=options.attn_softcap,
            plain=shape.attention == "plain",
        )
        self._values: tuple[nn.Module, ...] = ()
        self._sample: tuple[Tensor, Tensor] | None = None

    @property
    def value_table(self) -> nn.Module | None:
        """The table of token values that this layer mixes in, if it has one."""
        return self._values[0] if self._values else None

    def attach_values(self, table: nn.Module) -> None:
        """Mix `table(tokens)` [batch, time, kv_heads * head_dim] into the values from now on.

        The table belongs to the model, which shares it between two layers, so it is not registered
        here; how much of it each layer takes is a parameter of the layer.
        """
        self._values = (table,)  # a tuple, as modules are registered when they are attributes
        parameter(self, "value_mix", (2,), Declared("scalar", values=(0.5, 0.5)))

    def project(self, x: Tensor, ctx: Context, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Give queries, keys and values [batch, heads, time, head_dim]; positions are below end."""
        size = (-1, self.head_dim)
        q, k = self.query(x).unflatten(-1, size), self.key(x).unflatten(-1, size)
        v = self.value(x)
        if table := self.value_table:
            mix = self.value_mix
            v = (mix[0] * v + mix[1] * table(ctx.tokens)).to(v.dtype)
        cos, sin = rotary.turns(
            ctx.positions, end, turned(self.options, self.head_dim), self.options.rope_base, wide(q)
        )
        q, k = self.turned(q, cos, sin), self.turned(k, cos, sin)
        if self.options.qk_gain:
            q = q * self.gain
        v = v.unflatten(-1, size).transpose(1, 2)
        return q.to(v.dtype).transpose(1, 2), k.to(v.dtype).transpose(1, 2), v

    def turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Bring each head to rms 1, if asked for, and turn it; in fp32 at least."""
        x = x.to(wide(x))
        if by_hand(x):
            return cast("Tensor", Turned.apply(x, cos, sin, self.options.qk_norm))
        return rotary.rotate(normed(x, None) if self.options.qk_norm else x, cos, sin)

    def joined(self, y: Tensor) -> Tensor:  # (batch, heads, time, head_dim)
        """Join the heads and write them out [batch, time, dim]."""
        return self.out(y.transpose(1, 2).flatten(2))

    def sample(self, q: Tensor, k: Tensor) -> None:
        """Keep a little of a pass, which `stats` can be asked about later."""
        self._sample = (
            q[:1, :, -QUERIES:].detach().clone(),
            k[:1, :, -KEYS:].detach().clone(),
        )

    @torch.no_grad()
    def stats(self) -> dict[str, float]:
        """Give the largest score of the latest tokens of the last pass, before any cap."""
        if self._sample is None:
            return {}
        q, k = (t.float() for t in self._sample)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        scores = q @ k.transpose(2, 3) * self.scoring.scale
        seen = torch.ones_like(scores, dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        return {"attn_max_score": float(scores.where(seen, -torch.inf).max())}


def wide(x: Tensor) -> torch.dtype:
    """Name the type that norms and angles are computed in."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check(shape: Shape, options: AttentionOptions, layer: int) -> None:
    """Refuse a shape that these heads can't have."""
    found = list(odd_heads(options, f"layer {layer}", shape.dim, shape.heads))
    if shape.heads % shape.kv_heads:
        divisors = [n for n in range(1, shape.heads + 1) if shape.heads % n == 0]
        best = min(divisors, key=lambda n: abs(n - shape.kv_heads))
        found.append(
            Problem(
                what="model.kv_heads",
                value=str(shape.kv_heads),
                why=f"heads ({shape.heads}) must be a multiple of kv_heads ({shape.kv_heads})",
                instead=f"Write model.kv_heads={best}",
            )
        )
    if found:
        raise RecipeError(*found)


def attention_facts(shape: Shape, options: AttentionOptions, window: int) -> Facts:
    """Count what a layer costs whose queries see `window` keys.

    Work counts the scores that are seen, not those that a kernel computes and hides. A layer that
    takes token values has two scalars more: the model knows which do.
    """
    time, width = shape.seq_len, shape.heads * shape.head_dim
    narrow, seen = shape.kv_heads * shape.head_dim, min(window, shape.seq_len)
    matrix = 2 * shape.dim * (width + narrow)
    # the first `seen` tokens see 1, 2, 3 ... keys
    mean_keys = (seen * (seen + 1) / 2 + (time - seen) * seen) / time
    scalars = {"scalar": shape.heads} if options.qk_gain else cast("dict[str, int]", {})
    return Facts(
        parameters={"matrix": matrix, **scalars},
        flops=2.0 * matrix + 4.0 * width * mean_keys,
        # x; q and k as turned; v; the heads' output and their log-sums
        activations=float(shape.dim + 2 * width + 2 * narrow + shape.heads),
        state=2.0 * narrow * seen,
    )
