"""Full causal attention: each token reads all earlier tokens of its document, and itself.

y[t] = W_o sum_{s <= t} softmax_s( q[t] . k[s] scale ) v[s]        x, y [batch, time, dim]

Vaswani et al. 2017 (arXiv 1706.03762). Costs O(time^2); the state is every key and value.
"""

import torch
from torch import Tensor

from surefoot.model.attention import attend, begins_of
from surefoot.model.attention_layer import AttentionLayer, AttentionOptions, attention_facts
from surefoot.model.cache import KvCache, room
from surefoot.model.context import Context
from surefoot.recipe.facts import Facts, Shape


class Options(AttentionOptions):
    """Attention over everything before."""

    kind: str = "full"


class Mixer(AttentionLayer):
    """Reads all tokens so far."""

    def forward(self, x: Tensor, ctx: Context) -> Tensor:  # (batch, time, dim) -> same
        q, k, v = self.project(x, ctx, x.shape[1])
        self.sample(q, k)
        begins = None if ctx.doc is None else begins_of(ctx.doc)
        return self.joined(attend(q, k, v, k.shape[2], begins, self.scoring))

    def start(self, batch: int, max_len: int, device: torch.device, dtype: torch.dtype) -> KvCache:
        """Begin with nothing seen, and room for max_len tokens."""
        size = (batch, self.shape.kv_heads, max_len, self.head_dim)
        return KvCache(length=0, **room(size, device, dtype))

    def extend(self, x: Tensor, ctx: Context, state: KvCache) -> tuple[Tensor, KvCache]:
        """Read new tokens after those in the cache."""
        begun = state.length
        q, k, v = self.project(x, ctx, begun + x.shape[1])
        state = state.put(k, v)
        begins = None if ctx.doc is None else own_indices(ctx, begun) - ctx.positions
        keys, values = (t.to(q.dtype) for t in state.held())
        return self.joined(attend(q, keys, values, state.length, begins, self.scoring)), state


def own_indices(ctx: Context, begun: int) -> Tensor:
    """Give each new token's index among all keys; its position counts from its document's begin."""
    return torch.arange(begun, begun + ctx.positions.shape[1], device=ctx.positions.device)


def facts(shape: Shape, options: Options) -> Facts:
    """Count what one layer costs."""
    return attention_facts(shape, options, shape.seq_len)


def examples() -> list[Options]:
    """Give options that show the range of what this mixer can be."""
    return [
        Options(),
        Options(attn_softcap=2.0, qk_norm=False, init_out="normal"),
        Options(qk_gain=True, rope_fraction=0.5, attn_scale=0.3),
    ]
