"""Differentiates an output by the embeddings of later positions.

Leak = max_{s >= c} |dL/de_s| / max_{s < c} |dL/de_s|, L = <r, out[c-1]>, r random. Blind to hard
choices and detached paths, which the perturbation probe sees.
"""

import torch
from torch import Tensor

from surefoot.audit.measure import Measure
from surefoot.audit.subject import Subject, random_tokens


def probe(subject: Subject, time: int, cuts: list[int]) -> Measure:
    """Measure how much an output depends on what comes after it."""
    tokens = random_tokens(subject, len(cuts), time, seed=0)
    leaves: list[Tensor] = []

    def tap(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        del module, inputs
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    hook = subject.embedding().register_forward_hook(tap)
    try:
        with torch.enable_grad():
            out = subject.forward(tokens).flatten(2)
            source = torch.Generator().manual_seed(2)
            r = torch.randn(out.shape[2], generator=source, dtype=out.dtype)
            rows = torch.arange(len(cuts))
            watched = (out[rows, torch.tensor(cuts) - 1] * r).sum()
            (grad,) = torch.autograd.grad(watched, leaves[0])
    finally:
        hook.remove()
    size = grad.abs().flatten(2).amax(dim=2)
    later = torch.arange(time) >= torch.tensor(cuts)[:, None]
    past = size.masked_fill(later, 0.0).amax(dim=1).clamp(min=1e-30)
    seen = size.masked_fill(~later, 0.0)
    value = float((seen.amax(dim=1) / past).max())
    return Measure(probe="gradient", value=value, ahead=reach(seen, past, cuts))


def reach(seen: Tensor, past: Tensor, cuts: list[int]) -> int:
    """Give how far ahead of its own position an output looks."""
    worst = 0
    for row, scale, cut in zip(seen, past, cuts, strict=True):
        reached = torch.nonzero(row > 1e-9 * scale)
        if len(reached):
            worst = max(worst, int(reached[-1]) - (cut - 1))
    return worst
