"""Flips a high exponent bit of one weight at a step, as a cosmic ray or a bad memory cell would."""

from typing import TYPE_CHECKING, Any

import torch

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(
    finds=("loss_gap", "nonfinite", "gnorm_escalation", "logit_saturation"),
    within=32,
    sudden=True,
    curable=True,
)
BIT = 30  # the highest of the exponent: a weight below 1 becomes enormous


def plant(run: "Run", step: int) -> None:
    """Flip it in the largest matrix of the middle layer."""
    layers: Any = run.learner.model.layers
    mine = [p for p in layers[len(layers) // 2].parameters() if p.dim() == 2]
    weight = max(mine, key=lambda p: p.numel())

    @torch.no_grad()
    def flipped() -> None:
        bits = weight.data.view(torch.int32)
        bits[0, 0] ^= 1 << BIT

    spoil.once(run, step, flipped)
