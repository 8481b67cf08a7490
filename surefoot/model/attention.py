"""Attention over rows, bands and documents; no path but the plain one makes a [time, time] mask.

Shapes: q [batch, heads, queries, head_dim], k and v [batch, kv_heads, keys, head_dim]. There are at
least as many keys as queries, and the queries are the last of them. Query head h reads key head
h // (heads / kv_heads).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from torch.utils.weak import WeakIdKeyDictionary

CHUNK = 128  # queries of one step along the band; twice as many where the window is over 256
KEPT = 4096  # widest window whose mask is kept: 1 MiB
FEW = 16  # documents of a row that are worth a call each
DEEP = 2048  # keys from which capped chunks are computed again rather than kept


@dataclass(frozen=True, slots=True)
class Scoring:
    """How products of queries and keys become scores: scale, then s <- cap tanh(s / cap)."""

    scale: float
    softcap: float = 0.0
    plain: bool = False


def attend(
    q: Tensor, k: Tensor, v: Tensor, window: int, begins: Tensor | None, scoring: Scoring
) -> Tensor:
    """Let each query see its `window` latest keys, itself included, from its document's begin on.

    begins [batch, queries] is the index of the first key that belongs to each query's document.
    """
    queries, keys = q.shape[2], k.shape[2]
    window = min(window, keys)
    if scoring.plain:
        return formula(q, k, v, dense_mask(q, k, window, begins), scoring)
    if begins is None and window == keys == queries and not scoring.softcap:
        return fused(q, k, v, None, scoring.scale, causal=True)
    if q.is_cuda and queries == keys:
        from surefoot.model import flex

        if flex.usable(q):
            return flex.attend(q, k, v, window, begins, scoring)
    if begins is not None:
        return by_document(q, k, v, window, begins, scoring)
    return banded(q, k, v, window, None, scoring)


def by_document(
    q: Tensor, k: Tensor, v: Tensor, window: int, begins: Tensor, scoring: Scoring
) -> Tensor:
    """Attend within documents: each by itself where they are few, else along the band."""
    queries, keys = q.shape[2], k.shape[2]
    own = torch.arange(keys - queries, keys, device=q.device)
    longest = int((own - begins).max()) + 1
    borders = begins[:, 1:] != begins[:, :-1]
    few = int(borders.sum(dim=1).max()) < FEW if queries > 1 else True
    if window < longest or queries != keys or not few:
        return banded(q, k, v, min(window, longest), begins, scoring)
    rows: list[Tensor] = []
    for row in range(q.shape[0]):
        edges = [0, *(borders[row].nonzero().flatten() + 1).tolist(), queries]
        parts: list[Tensor] = []
        for low, high in pairwise(edges):
            own_q, own_k, own_v = (t[row : row + 1, :, low:high] for t in (q, k, v))
            parts.append(attend(own_q, own_k, own_v, high - low, None, scoring))
        rows.append(torch.cat(parts, dim=2))
    return torch.cat(rows)


def banded(
    q: Tensor, k: Tensor, v: Tensor, window: int, begins: Tensor | None, scoring: Scoring
) -> Tensor:
    """Walk along the diagonal in chunks of queries, each with the keys that it can see."""
    slopes = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    if slopes and not torch.compiler.is_compiling():
        return cast("Tensor", Band.apply(q, k, v, window, begins, scoring))
    steps = walk(q, k, window, scoring)
    parts = [scored(*step.cut(q, k, v), step.mask(q, begins), scoring) for step in steps]
    return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One step along the band: its queries, and the keys that any of them can see."""

    window: int
    step: int  # queries of a whole step
    left: int  # the first query's first key, below 0 where the row has not so many yet
    queries: tuple[int, int]  # first, count
    keys: tuple[int, int]

    def cut(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut out the step's queries, keys and values, without copying them."""
        return q.narrow(2, *self.queries), k.narrow(2, *self.keys), v.narrow(2, *self.keys)

    def mask(self, q: Tensor, begins: Tensor | None) -> Tensor | None:
        """Give what is added to the scores: all steps share one band, of which some see less."""
        (first, rows), (low, keys) = self.queries, self.keys
        mask = None  # one query, with just the keys that it sees, needs none
        if rows > 1:
            make = band if self.window <= KEPT else band.__wrapped__
            whole = make(self.window, self.step, q.device, q.dtype)
            mask = whole.narrow(0, 0, rows).narrow(1, low - self.left, keys)
        if begins is None:
            return mask
        return within(mask, begins.narrow(1, first, rows), (low, low + keys), q.dtype)


def walk(q: Tensor, k: Tensor, window: int, scoring: Scoring) -> list[Chunk]:
    """Cut the band into steps."""
    queries, past = q.shape[2], k.shape[2] - q.shape[2]
    # the formula's scores stay in the cache: at 2,048 tokens wider steps cost it a fifth more
    step = CHUNK if scoring.softcap or window <= 2 * CHUNK else 2 * CHUNK
    steps: list[Chunk] = []
    for first in range(0, queries, step):
        count = min(step, queries - first)
        left = past + first - window + 1
        low = max(0, left)
        steps.append(Chunk(window, step, left, (first, count), (low, past + first + count - low)))
    return steps


class Band(torch.autograd.Function):
    """The walk with gradients that are added in place.

    Autograd would make a row of zeros for the slice of each step: O(time^2) of memory traffic,
    which at 2,048 tokens and a window of 128 takes longer than the attention.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, *given: Any) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.given = given
        ctx.parts = Band.parts(q, k, v, *given)
        return torch.cat([y.detach() for _, _, y in ctx.parts], dim=2)

    @staticmethod
    def parts(
        q: Tensor, k: Tensor, v: Tensor, window: int, begins: Tensor | None, scoring: Scoring
    ) -> list[tuple[Chunk, tuple[Tensor, ...], Tensor]]:
        """Attend from each step, with a graph of its own that ends at the step's slices."""
        told: list[tuple[Chunk, tuple[Tensor, ...], Tensor]] = []
        with torch.enable_grad():
            for step in walk(q, k, window, scoring):
                a, b, c = (t.detach().requires_grad_() for t in step.cut(q, k, v))
                told.append((step, (a, b, c), scored(a, b, c, step.mask(q, begins), scoring)))
        return told

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] (the base takes any number)
        q, k, v = ctx.saved_tensors
        # dropped as they are used, for the memory; a second pass over a kept graph does them again
        parts, ctx.parts = ctx.parts or Band.parts(q, k, v, *ctx.given), None
        slopes = [torch.zeros_like(t) for t in (q, k, v)]
        while parts:
            step, slices, y = parts.pop()
            told = torch.autograd.grad(y, slices, slope.narrow(2, *step.queries))
            for whole, own in zip(step.cut(*slopes), told, strict=True):
                whole.add_(own)
        return (*slopes, None, None, None)


def scored(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scoring: Scoring) -> Tensor:
    """Attend from one chunk; the mask, added to the scores, hides what is outside of the band."""
    if not scoring.softcap:
        return fused(q, k, v, mask, scoring.scale)
    if k.shape[2] > DEEP and torch.is_grad_enabled():
        again = checkpoint(
            formula, q, k, v, mask, scoring, use_reentrant=False, preserve_rng_state=False
        )
        assert isinstance(again, Tensor), "checkpoint gives what its function gives"
        return again
    return formula(q, k, v, mask, scoring)


def fused(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool = False
) -> Tensor:
    """Call torch's kernel; causal only where queries and keys are as many, else it aligns wrong."""
    assert not causal or q.shape[2] == k.shape[2], "a causal call needs as many queries as keys"
    grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )


def formula(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scoring: Scoring) -> Tensor:
    """Compute attention as it is written down: cap, then mask, then softmax in fp32 at least."""
    groups, queries = k.shape[1], q.shape[2]
    stacked = q.unflatten(1, (groups, -1)).flatten(2, 3)  # the heads of a group share its keys
    # scaled before the product, where it costs less by keys / head_dim
    scores = (stacked * (scoring.scale / (scoring.softcap or 1.0))) @ k.transpose(2, 3)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if scoring.softcap:
        scores = scores.tanh_()  # in place: the product's backward pass does not read its result
    scores = scores.unflatten(2, (-1, queries))
    if mask is not None:
        shown = mask.to(scores.dtype).unsqueeze(-3)
        scores = torch.add(shown, scores, alpha=scoring.softcap or 1.0)
    elif scoring.softcap:
        scores = scores * scoring.softcap
    weights = scores.softmax(dim=-1).flatten(2, 3).to(v.dtype)
    return (weights @ v).unflatten(2, (-1, queries)).flatten(1, 2)


@lru_cache(maxsize=32)
def band(window: int, step: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make the mask of `step` queries and the keys that any of them sees: 0, or -inf."""
    # born in inference mode it could never take part in a later training step
    with torch.inference_mode(False):
        seen = torch.ones(step, window + step - 1, dtype=torch.bool, device=device)
        hidden = ~seen.tril(window - 1).triu()
        return torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill(hidden, -torch.inf)


def within(
    mask: Tensor | None, begins: Tensor, span: tuple[int, int], dtype: torch.dtype
) -> Tensor | None:
    """Hide also the keys of earlier documents, where there are any."""
    if int(begins.max()) <= span[0]:
        return mask
    before = torch.arange(*span, device=begins.device) < begins.unsqueeze(-1)
    hidden = torch.zeros(before.shape, dtype=dtype, device=before.device)
    hidden = hidden.masked_fill(before, -torch.inf).unsqueeze(1)
    return hidden if mask is None else mask + hidden


def dense_mask(q: Tensor, k: Tensor, window: int, begins: Tensor | None) -> Tensor:
    """Make the whole mask, for the plain formula."""
    queries, keys = q.shape[2], k.shape[2]
    key = torch.arange(keys, device=q.device)
    query = key[keys - queries :].unsqueeze(-1)
    hidden = (key > query) | (key <= query - window)
    if begins is not None:
        hidden = (hidden | (key < begins.unsqueeze(-1))).unsqueeze(1)
    return torch.zeros(hidden.shape, device=q.device).masked_fill(hidden, -torch.inf)


_begins = WeakIdKeyDictionary()  # doc -> begins: made once a pass, though each layer asks


def begins_of(doc: Tensor) -> Tensor:  # (batch, time) -> same
    """Give the index at which each token's document begins."""
    found = _begins.get(doc)
    if found is None:
        index = torch.arange(doc.shape[1], device=doc.device).expand_as(doc)
        first = pad(doc[:, 1:] != doc[:, :-1], (1, 0), value=True)
        found = _begins[doc] = (index * first).cummax(dim=1).values
    return found
