"""Multiplies the head's weights by 10 at a step: the logits meet their cap."""

from typing import TYPE_CHECKING, Any

import torch

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("logit_saturation", "loss_gap"), within=32, sudden=True, curable=True)


def plant(run: "Run", step: int) -> None:
    """Scale them once."""
    head: Any = run.learner.model.head

    @torch.no_grad()
    def scaled() -> None:
        head.unembedding().mul_(10.0)

    spoil.once(run, step, scaled)
