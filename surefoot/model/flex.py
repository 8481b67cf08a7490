"""FlexAttention on a GPU: windows, documents and soft-caps inside one compiled kernel.

Which blocks of the band hold anything is worked out from the numbers of blocks, without a
[time, time] mask and without asking the device. The window is a tensor to the kernel, so a window
that grows does not compile it again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils.weak import WeakIdKeyDictionary

from surefoot.model.attention import Scoring

BLOCK = 128
SMALLEST_HEAD = 16  # the kernel's tiles are no narrower

_by_document = WeakIdKeyDictionary()  # begins -> {window: mask}: made once a pass for all layers


def usable(q: Tensor) -> bool:
    """Say whether the kernel serves these heads."""
    return q.dtype != torch.float64 and q.shape[-1] >= SMALLEST_HEAD and triton()


@lru_cache(maxsize=1)
def triton() -> bool:
    """Say whether there is a compiler of kernels."""
    from torch.utils._triton import has_triton

    return has_triton()


def attend(
    q: Tensor, k: Tensor, v: Tensor, window: int, begins: Tensor | None, scoring: Scoring
) -> Tensor:
    """Attend within the window and the document; queries and keys are as many."""
    kernel: Any = flex_attention if torch.compiler.is_compiling() else compiled()
    return kernel(
        q,
        k,
        v,
        score_mod=capped(scoring.softcap) if scoring.softcap else None,
        block_mask=mask(q, window, begins),
        scale=scoring.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


@lru_cache(maxsize=1)
def compiled() -> Callable[..., Any]:
    """Compile the kernel once for all layers; each shape of row is one compilation."""
    return torch.compile(flex_attention, dynamic=False)


@lru_cache(maxsize=8)
def capped(softcap: float) -> Callable[..., Tensor]:
    """Give the bend of the scores; the same function each time, as a new one would be compiled."""

    def score(score: Tensor, b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:  # noqa: ARG001 (the kernel's contract)
        return softcap * torch.tanh(score / softcap)

    return score


def mask(q: Tensor, window: int, begins: Tensor | None) -> BlockMask:
    """Give the mask of a pass, made once for all layers that have the same window."""
    if begins is None:
        return row_mask(q.shape[2], min(window, q.shape[2]), q.device)
    held = _by_document.get(begins)
    if held is None:
        held = _by_document[begins] = {}
    if window not in held:
        held[window] = block_mask(q.shape[2], window, begins, q.device)
    return held[window]


@lru_cache(maxsize=32)
def row_mask(time: int, window: int, device: torch.device) -> BlockMask:
    """Give the mask of rows of one document."""
    return block_mask(time, window, None, device)


def block_mask(time: int, window: int, begins: Tensor | None, device: torch.device) -> BlockMask:
    """Make the mask: what each block of queries sees in whole, in part, and by which rule."""
    some, whole = blocks(time, window, begins, device)
    # a document ends with its pass, but the mask of a row lives on into later training steps
    with torch.inference_mode(False):
        rule = seen(torch.tensor(window, device=device), begins)
        return BlockMask.from_kv_blocks(
            *listed(some & ~whole), *listed(whole), BLOCK, rule, seq_lengths=(time, time)
        )


def blocks(
    time: int, window: int, begins: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor]:  # two of (batch or 1, 1, blocks of queries, blocks of keys)
    """Tell of each block whether anything in it is seen, and whether all of it is."""
    first = torch.arange(0, time, BLOCK, device=device)
    last = (first + BLOCK - 1).clamp(max=time - 1)
    if begins is None:
        begun = ended = torch.zeros(1, len(first), dtype=torch.int64, device=device)
    else:  # begins never fall along a row
        begun, ended = begins[:, first], begins[:, last]
    query, key = (first[:, None], last[:, None]), (first, last)
    some = (key[0] <= query[1]) & (key[1] > query[0] - window) & (key[1] >= begun[..., None])
    whole = (key[1] <= query[0]) & (key[0] > query[1] - window) & (key[0] >= ended[..., None])
    # a block that the row's end cuts off is left to the rule
    whole = whole & (last - first == BLOCK - 1) & (last - first == BLOCK - 1)[:, None]
    return some.unsqueeze(1), whole.unsqueeze(1)


def listed(flags: Tensor) -> tuple[Tensor, Tensor]:
    """List the keys' blocks of each block of queries: how many, and which, those first."""
    order = torch.argsort(flags.to(torch.int32), dim=-1, descending=True, stable=True)
    return flags.sum(dim=-1).to(torch.int32), order.to(torch.int32)


def seen(window: Tensor, begins: Tensor | None) -> Callable[..., Tensor]:
    """Give the rule of what a query sees, for the blocks that it sees in part."""

    def band(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:  # noqa: ARG001 (the kernel's contract)
        return (s <= t) & (s > t - window)

    if begins is None:
        return band

    def document(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return band(b, h, t, s) & (s >= begins[b, t])

    return document
