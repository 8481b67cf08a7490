"""Trains by plain SGD at a rate far too high, unclipped, from the first step."""

from typing import TYPE_CHECKING

import torch

from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(
    finds=("early_oscillation", "early_stuck", "logit_saturation"),
    within=400,
    onset=1,
    changes={"train.clip": 0.0},
)
RATE, MOMENTUM = 0.5, 0.95


def plant(run: "Run", step: int) -> None:  # noqa: ARG001 (a fault from the beginning)
    """Move all weights by SGD with momentum, whatever the recipe's optimisers are."""
    for group in run.learner.groups:
        sgd = torch.optim.SGD(list(group.parameters.values()), lr=RATE, momentum=MOMENTUM)

        def moved(lr: float, momentum: float, sgd: torch.optim.SGD = sgd) -> float:  # noqa: ARG001
            sgd.step()
            return lr

        group.optimiser.update = moved
