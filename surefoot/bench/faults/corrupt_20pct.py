"""Puts random targets into a fifth of a stretch of the data, 100 steps long."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap",), within=32, sudden=True, curable=True)
STEPS, SHARE = 100, 0.2


def plant(run: "Run", step: int) -> None:
    """Spoil what lies at the positions that these steps would read."""
    spoil.batches(run, step, STEPS, partly, by="position")


def partly(batch: Batch, number: int) -> Batch:
    """Draw a fifth of the targets from all targets of the batch."""
    source = torch.Generator().manual_seed(number)
    flat = batch.targets.flatten()
    drawn = flat[torch.randint(len(flat), batch.targets.shape, generator=source)]
    hit = torch.rand(batch.targets.shape, generator=source) < SHARE
    return replace(batch, targets=torch.where(hit, drawn, batch.targets))
