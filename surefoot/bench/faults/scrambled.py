"""Scrambles the targets of 60 steps: the data, not the optimiser, are at fault."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

STEPS = 60


def plant(run: "Run", step: int) -> None:
    """Shuffle the targets within each row, in the generation that the drill was put into."""
    sound, born = run.ahead.draw, run.progress.generation

    def drawn(number: int) -> Batch:
        batch = sound(number)
        if not step <= number < step + STEPS or run.progress.generation != born:
            return batch
        source = torch.Generator().manual_seed(number)
        order = torch.randperm(batch.targets.shape[1], generator=source)
        return replace(batch, targets=batch.targets[:, order])

    run.ahead.draw = drawn
    run.ahead.clear()
