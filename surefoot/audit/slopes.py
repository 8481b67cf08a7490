"""Differentiates outputs by the vectors that ids become, or by the floats that went in."""

import torch
from torch import Tensor

from surefoot.audit.subject import Subject
from surefoot.audit.watched import leaves_of


def slopes(subject: Subject, inputs: Tensor, outputs: list[Tensor]) -> list[Tensor] | None:
    """Give |dL/de| by (row, time) for L = <r, out at each row's place>; one for each places."""
    with torch.enable_grad(), leaves_of(subject.module, inputs) as leaves:
        if not subject.vocab:
            inputs = inputs.detach().requires_grad_()
            leaves.append(inputs)
        out = subject.forward(inputs).flatten(2)
        if not leaves:
            return None
        source = torch.Generator().manual_seed(2)
        told: list[Tensor] = []
        for places in outputs:
            r = torch.randn(out.shape[2], generator=source, dtype=torch.float64).to(out.dtype)
            watched = (out[torch.arange(len(places)), places] * r).sum()
            told.append(size_of(watched, leaves, inputs))
        return told


def size_of(watched: Tensor, leaves: list[Tensor], inputs: Tensor) -> Tensor:
    """Give the gradient's size by (row, time), over all leaves; nothing where no path leads."""
    total = torch.zeros(inputs.shape[:2], dtype=torch.float64)
    if not watched.requires_grad:
        return total
    for grad in torch.autograd.grad(watched, leaves, retain_graph=True, allow_unused=True):
        if grad is not None:
            total = total + grad.abs().flatten(2).amax(dim=2).to(torch.float64)
    return total
