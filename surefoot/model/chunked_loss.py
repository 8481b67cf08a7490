"""Cross-entropy over a large vocabulary without ever holding all logits in fp32.

Rows are taken a chunk at a time: logits in the compute dtype, then cap, log-sum-exp, losses and
the gradient in fp32 (fp64 for fp64 inputs), so that nothing of [rows, vocab] is alive but one
chunk. The gradient is written during forward; backward only scales it.

loss = sum over valid rows of ( (1-e) ce + e u + z lse^2 ) / valid,   u = lse - mean(f)
d loss / d logits = ( p (1 + 2 z lse) - (1-e) onehot - e/V ) cap' / valid
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surefoot.model.logit_cap import cap_in_place, slope_in_place

CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Terms:
    """What is summed up into the loss."""

    logit_cap: float = 0.0
    logit_cap_kind: str = "tanh"
    label_smoothing: float = 0.0
    z_loss: float = 0.0


class Rows(NamedTuple):
    """What is known of each row, detached; 0 where the target is ignored."""

    ce: Tensor
    entropy: Tensor
    z2: Tensor
    smooth: Tensor  # the cross-entropy against the smoothed target
    top: Tensor  # the largest |capped logit|


def chunk_rows(vocab: int) -> int:
    """Give the largest power of two of rows whose fp32 logits fit into 32 MiB."""
    return 1 << max(0, (CHUNK_BYTES // (4 * vocab)).bit_length() - 1)


def chunked_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, valid: int, terms: Terms, chunk: int = 0
) -> tuple[Tensor, Rows]:
    """Give the loss of [rows, dim] against targets [rows] (negative: ignored), and facts by row."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and hidden.dtype == torch.float32:
        hidden = hidden.to(torch.get_autocast_dtype(device))
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    chunk = chunk or chunk_rows(weight.shape[0])
    with torch.autocast(device, enabled=False):
        loss, rows = _ChunkedLoss.apply(hidden, weight, targets, (valid, terms, chunk, wanted))
    return loss, Rows(*rows)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, how: tuple[int, Terms, int, bool]
    ) -> tuple[Tensor, Tensor]:
        valid, terms, chunk, wanted = how
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        cast = weight.to(hidden.dtype)
        rows = torch.empty(len(Rows._fields), len(targets), dtype=exact, device=hidden.device)
        d_hidden = torch.empty_like(hidden) if wanted else None
        d_weight = torch.zeros_like(weight, dtype=exact) if wanted else None
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            slope = chunk_slope(
                hidden[part] @ cast.t(), targets[part], rows[:, part], terms, wanted
            )
            if d_hidden is None or d_weight is None:
                continue
            slope = slope.div_(valid).to(hidden.dtype)
            torch.mm(slope, cast, out=d_hidden[part])
            if exact == hidden.dtype:
                d_weight.addmm_(slope.t(), hidden[part])
            else:
                d_weight += slope.t() @ hidden[part]  # each chunk's product is rounded, the sum not
        ctx.gradients = d_hidden, None if d_weight is None else d_weight.to(weight.dtype)
        ctx.mark_non_differentiable(rows)
        return (rows[3].sum() + terms.z_loss * rows[2].sum()) / valid, rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert ctx.gradients is not None, "the chunked loss can be differentiated once only"
        d_hidden, d_weight = ctx.gradients
        ctx.gradients = None  # scaled in place: a copy would double the largest gradient
        return d_hidden.mul_(scale), d_weight.mul_(scale), None, None


def chunk_slope(
    logits: Tensor, targets: Tensor, rows: Tensor, terms: Terms, wanted: bool
) -> Tensor:
    """Write one chunk's facts into rows; give the loss's slope by the uncapped logits, unscaled."""
    logits = logits.to(rows.dtype)
    if terms.logit_cap:
        cap_in_place(logits, terms.logit_cap, terms.logit_cap_kind)
    counted = targets >= 0
    index = targets.clamp(min=0).unsqueeze(1)
    most = logits.amax(1, keepdim=True)
    p = (logits - most).exp_()
    total = p.sum(1, keepdim=True)
    p.div_(total)
    lse = most + total.log_()
    ce = lse - logits.gather(1, index)
    share = terms.label_smoothing
    smooth = ce if not share else (1 - share) * ce + share * (lse - logits.mean(1, keepdim=True))
    entropy = lse - (p * logits).sum(1, keepdim=True)
    top = torch.maximum(most, -logits.amin(1, keepdim=True))
    torch.stack([t.squeeze(1) for t in (ce, entropy, lse.square(), smooth, top)], out=rows)
    rows.mul_(counted)
    if not wanted:
        return logits
    p.mul_(1 + 2 * terms.z_loss * lse)
    if share:
        p.sub_(share / logits.shape[1])
    p.scatter_add_(1, index, torch.full_like(ce, share - 1))
    if terms.logit_cap:
        p.mul_(slope_in_place(logits, terms.logit_cap, terms.logit_cap_kind))
    return p.mul_(counted.unsqueeze(1))
