"""Causal attention over a window: each token reads the latest tokens of its document, and itself.

y[t] = W_o sum_{t - w < s <= t} softmax_s( q[t] . k[s] scale ) v[s]        x, y [batch, time, dim]

Beltagy et al. 2020 (arXiv 2004.05150). Costs O(time w); the state is a ring of the latest keys and
values, as long as the widest window that the recipe can reach. A window of the whole row is `full`.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from surefoot.model.attention import attend, begins_of
from surefoot.model.attention_layer import AttentionLayer, AttentionOptions, attention_facts
from surefoot.model.cache import KvRing, room
from surefoot.model.context import Context
from surefoot.recipe.choice import Knob
from surefoot.recipe.facts import Facts, Shape


class Options(AttentionOptions):
    """Attention over a window, which a knob may move."""

    kind: str = "windowed"
    window: Annotated[int, Field(ge=1)] | Knob = 256
    """Tokens that a token sees, itself included; or {knob = "window"}"""


class Mixer(AttentionLayer):
    """Reads the latest tokens."""

    options: Options

    def window(self, ctx: Context) -> int:
        """Give this pass's window."""
        return int(ctx.knob(self.options.window))

    def forward(self, x: Tensor, ctx: Context) -> Tensor:  # (batch, time, dim) -> same
        q, k, v = self.project(x, ctx, x.shape[1])
        self.sample(q, k)
        begins = None if ctx.doc is None else begins_of(ctx.doc)
        return self.joined(attend(q, k, v, self.window(ctx), begins, self.scoring))

    def start(self, batch: int, max_len: int, device: torch.device, dtype: torch.dtype) -> KvRing:
        """Begin with nothing seen, and room for the widest window of the run."""
        tokens = min(max_len, reach(self.shape, self.options))
        size = (batch, self.shape.kv_heads, tokens, self.head_dim)
        return KvRing(length=0, **room(size, device, dtype))

    def extend(self, x: Tensor, ctx: Context, state: KvRing) -> tuple[Tensor, KvRing]:
        """Read new tokens after those in the ring."""
        window, new = self.window(ctx), x.shape[1]
        q, k, v = self.project(x, ctx, state.length + new)
        size = state.keys.shape[2]
        assert min(window, state.length + new) <= size, f"a ring of {size} holds no {window} tokens"
        if new == 1 and ctx.doc is None:  # one query sees all it is given, in any order
            state = state.put(k, v)
            keys, values = (t.to(q.dtype) for t in state.latest(window, ordered=False))
            return self.joined(attend(q, keys, values, window, None, self.scoring)), state
        old_keys, old_values = state.latest(window - 1)
        keys, values = (
            torch.cat([old_keys.to(k.dtype), k], 2),
            torch.cat([old_values.to(v.dtype), v], 2),
        )
        begins = None
        if ctx.doc is not None:  # a position counts from its document's begin
            begins = (
                torch.arange(keys.shape[2] - new, keys.shape[2], device=x.device) - ctx.positions
            )
        y = attend(q, keys, values, window, begins, self.scoring)
        return self.joined(y), state.put(k, v)


def reach(shape: Shape, options: Options) -> int:
    """Give the widest window that the recipe can reach."""
    if isinstance(options.window, Knob):
        return int(shape.reach.get(options.window.knob, shape.seq_len))
    return options.window


def facts(shape: Shape, options: Options) -> Facts:
    """Count what one layer costs at its widest window."""
    return attention_facts(shape, options, reach(shape, options))


def examples() -> list[Options]:
    """Give options that show the range of what this mixer can be."""
    return [
        Options(window=5),
        Options(window=2),
        Options(window=16, attn_softcap=2.0, qk_norm=False, init_out="normal"),
        Options(window=Knob(knob="window"), qk_gain=True, rope_fraction=0.5),
    ]
