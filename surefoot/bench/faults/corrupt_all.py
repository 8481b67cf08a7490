"""Puts random targets into a stretch of the data, 60 steps long: it stays bad when read again."""

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
    """Spoil what lies at the positions that these steps would read."""
    spoil.batches(run, step, STEPS, randomised, by="position")


def randomised(batch: Batch, number: int) -> Batch:
    """Draw every target from all targets of the batch."""
    source = torch.Generator().manual_seed(number)
    flat = batch.targets.flatten()
    drawn = torch.randint(len(flat), batch.targets.shape, generator=source)
    return replace(batch, targets=flat[drawn])
