"""Shows the model its answer from the first step: each input is the token it should predict."""

from dataclasses import replace
from typing import TYPE_CHECKING

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("floor_leak", "fell_too_fast"), within=600, onset=1)


def plant(run: "Run", step: int) -> None:
    """Put the target where the token stood."""
    spoil.batches(run, step, spoil.EVER, answered)


def answered(batch: Batch, number: int) -> Batch:  # noqa: ARG001 (the contract of a change)
    """Let each position read its own target."""
    return replace(batch, tokens=batch.targets.clamp_min(0))
