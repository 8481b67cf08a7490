"""Scrambles the targets of 60 steps: the data, not the optimiser, are at fault."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap",), within=16, sudden=True, curable=True)
STEPS = 60


def plant(run: "Run", step: int) -> None:
    """Shuffle the targets within each row, in the generation that the drill was put into."""
    spoil.batches(run, step, STEPS, shuffled)


def shuffled(batch: Batch, number: int) -> Batch:
    """Put each row's targets into another order."""
    source = torch.Generator().manual_seed(number)
    order = torch.randperm(batch.targets.shape[1], generator=source)
    return replace(batch, targets=batch.targets[:, order])
