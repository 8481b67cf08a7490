"""Shows the model its answer from a later step on: the loss jumps first, then falls to nothing."""

from typing import TYPE_CHECKING

from surefoot.bench.faults.leak_from_start import answered
from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap", "floor_leak", "fell_too_fast"), within=400)


def plant(run: "Run", step: int) -> None:
    """Put the target where the token stood, for good."""
    spoil.batches(run, step, spoil.EVER, answered)
