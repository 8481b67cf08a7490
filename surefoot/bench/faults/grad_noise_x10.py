"""Adds noise of ten times the gradient's norm from a step on: every update is nearly random."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("gnorm_escalation", "loss_gap", "loss_drift"), within=300, curable=True)


def plant(run: "Run", step: int) -> None:
    """Add it, until the run is taken back."""
    source = torch.Generator().manual_seed(step)

    def noised(found: list[Tensor]) -> None:
        for gradient in found:
            noise = torch.randn(gradient.shape, generator=source).to(gradient)
            gradient.add_(noise, alpha=10.0 * float(gradient.norm() / noise.norm()))

    spoil.gradients(run, step, spoil.EVER, noised)
